"""`goodstrace watch alerts`: what the watch found, asked of the audit service as an operator, which records that it was asked."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import grpc
from google.protobuf.json_format import MessageToDict

from goodstrace.audit.v1 import watch_pb2, watch_pb2_grpc
from goodstrace.call_failures import call_error
from goodstrace.cli.identity import default_query, source_for
from goodstrace.cli.options import api_key_option, json_option, print_json
from goodstrace.cli.tls import tls_for, tls_options
from goodstrace.connections import channel, local_target
from goodstrace.paging import pages

_PORT: Final = 50052
_TIMEOUT_S: Final = 30.0
_PAGE: Final = 1000


@click.command()
@click.option("--rule", default="", help="Only those of this rule.")
@click.option("--about-user", default="", metavar="NAME", help="Only those about this user.")
@click.option("--subject", default="", help="Only those with this subject: a pseudonym, a network, a key.")
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="How many at the most."
)
@click.option("--purpose", default="", envvar="GOODSTRACE_PURPOSE", help="Why, for the record.")
@click.option(
    "--audit",
    "audit_target",
    default=partial(local_target, _PORT),
    show_default="https://127.0.0.1:50052 of the local stack",
    envvar="GOODSTRACE_AUDIT_TARGET",
    help="The audit service.",
)
@api_key_option
@tls_options
@json_option
def alerts(
    rule: str,
    about_user: str,
    subject: str,
    limit: int,
    *,
    purpose: str,
    audit_target: str,
    api_key_file: Path | None,
    as_json: bool,
) -> None:
    """List alerts, those stored last first.

    They have pseudonyms in the place of users, other ones each day; operators are told who is behind one for as long as that is known, two days by default.
    The listing is recorded as a look.
    """
    source = source_for(audit_target, api_key_file, query_target=default_query(), role="operator")
    request = watch_pb2.ListAlertsRequest(rule=rule, user=about_user, subject=subject, purpose=purpose)
    found: list[dict[str, Any]] = []
    with channel(audit_target, tls_for(audit_target, "--audit"), source=source) as opened:
        service = watch_pb2_grpc.WatchServiceStub(opened)
        for alert, user in _listed(service, request, limit):
            found.append({**MessageToDict(alert, preserving_proto_field_name=True), "user": user})
            if not as_json:
                who = f"{alert.subject} ({user})" if user else alert.subject
                click.echo(
                    f"{when(alert.start_ms)}  {_severity(alert):<9}{alert.rule:<20}{alert.about} {who}  {_figures(alert)}"
                )
    if as_json:
        print_json(found)


def when(time_ms: int) -> str:
    """Write a time, Unix milliseconds, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms / 1000))


def _listed(
    service: watch_pb2_grpc.WatchServiceStub, request: watch_pb2.ListAlertsRequest, limit: int
) -> Iterator[tuple[watch_pb2.Alert, str]]:
    """Give alerts page by page, each with the name of its user where that is told. Raises: CallError."""

    def ask(request: watch_pb2.ListAlertsRequest) -> watch_pb2.ListAlertsResponse:
        request.page_size = min(left, _PAGE)
        try:
            return service.ListAlerts(request, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            raise call_error(error) from error

    left = limit
    for page in pages(request, ask):
        names = {each.pseudonym: each.name for each in page.users}
        yield from ((alert, names.get(alert.subject, "")) for alert in page.alerts)
        left -= len(page.alerts)
        if left <= 0:
            return


def _severity(alert: watch_pb2.Alert) -> str:
    return watch_pb2.AlertSeverity.Name(alert.severity).removeprefix("ALERT_SEVERITY_").lower()


def _figures(alert: watch_pb2.Alert) -> str:
    return ", ".join(f"{each.name} {each.value}" for each in alert.figures)
