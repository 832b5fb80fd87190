"""`goodstrace merchants`: who may capture, for which goods, with which keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from goodstrace.cli.identity import operator_for
from goodstrace.cli.options import json_option, print_json, url_option
from goodstrace.cli.sign import read_public_key
from goodstrace.cli.tls import tls_for
from goodstrace.errors import CredentialsError
from goodstrace.registry import RegistryClient
from goodstrace.token_sources import NO_TOKEN
from goodstrace.visibility import Visibility

Command = TypeVar("Command", bound=Callable[..., Any])
_DAY_MS: Final = 86_400_000
_UNSAID: Final[dict[str, Any]] = {"default": Visibility.PARTNERS.value, "steps": {}}

token_option = click.option(
    "--operator-token-file",
    type=click.Path(path_type=Path),
    envvar="GOODSTRACE_OPERATOR_TOKEN_FILE",
    help="The operator's token; GOODSTRACE_OPERATOR_TOKEN may hold it. Else the session of `goodstrace login`; else, of the local stack, run/keys/operator-token.",
)


def _common(command: Command) -> Command:
    for option in (json_option, token_option, url_option):
        command = option(command)
    return command


@click.group()
def merchants() -> None:
    """Register merchants with the collector: what they may speak for, their API keys, their limits.

    \b
    A merchant that may commission goods under its GS1 company prefix, and a key for it; NUMBER is the number that `add` printed:
      goodstrace merchants add "Ann's Tea" --prefix 0614141
      goodstrace merchants key new NUMBER --label "back end" > ann.key
      goodstrace capture --api-key-file ann.key document.jsonld

    \b
    A packer, whose number is PACKER, captures for some of Ann's goods until the end of a month:
      goodstrace merchants delegate NUMBER --to PACKER --scope 0614141 --days 30

    \b
    Her production is nobody's business, and everybody may see what she sells:
      goodstrace merchants visibility NUMBER partners --step production=private --step sale=public

    Every change is sealed in the log like an event; keys are not, and are shown once. See docs/merchants.md.
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is


@merchants.command()
@click.argument("name")
@click.option(
    "--prefix", "prefixes", multiple=True, help="A GS1 company prefix that is its own (4 to 12 digits)."
)
@click.option("--gln", "glns", multiple=True, help="A GLN that is its own (13 digits).")
@click.option(
    "--uri", "uris", multiple=True, help="A URI that is its own with all below it; also one GTIN's link."
)
@click.option("--everything", is_flag=True, help="It speaks for all goods: the platform's own back end.")
@click.option("--events-per-s", default=0, help="Events a second, 0: as the collector has it.")
@click.option("--bytes-per-s", default=0, help="Bytes a second, 0: as the collector has it.")
@_common
def add(
    name: str,
    url: str,
    operator_token_file: Path | None,
    *,
    everything: bool,
    as_json: bool,
    events_per_s: int,
    bytes_per_s: int,
    **claims: tuple[str, ...],
) -> None:
    """Register a merchant NAME; prints its number."""
    content = {
        "name": name,
        **{field: list(values) for field, values in claims.items() if values},
        **({"everything": True} if everything else {}),
    }
    if events_per_s or bytes_per_s:
        content["limits"] = {"eventsPerS": events_per_s, "bytesPerS": bytes_per_s}
    with _registry(url, operator_token_file) as registry:
        _tell(registry.add(content), as_json=as_json)


@merchants.command(name="list")
@_common
def list_merchants(url: str, operator_token_file: Path | None, *, as_json: bool) -> None:
    """List all merchants."""
    with _registry(url, operator_token_file) as registry:
        rows = registry.merchants()
    if as_json:
        print_json({"merchants": rows})
    for row in [] if as_json else rows:
        click.echo(_line(row))


@merchants.command()
@click.argument("number", type=int)
@_common
def show(number: int, url: str, operator_token_file: Path | None, *, as_json: bool) -> None:
    """Show merchant NUMBER with all that is registered of it."""
    with _registry(url, operator_token_file) as registry:
        found = registry.merchant(number)
    _tell(found, as_json=as_json)
    if not as_json:
        print_json(found["content"])


@merchants.command()
@click.argument("number", type=int)
@_common
def suspend(number: int, url: str, operator_token_file: Path | None, *, as_json: bool) -> None:
    """Let merchant NUMBER, and whom it delegates to, capture nothing more until it is active again."""
    _change(number, {"status": "suspended"}, url, operator_token_file, as_json=as_json)


@merchants.command()
@click.argument("number", type=int)
@_common
def activate(number: int, url: str, operator_token_file: Path | None, *, as_json: bool) -> None:
    """Let merchant NUMBER capture again."""
    _change(number, {"status": "active"}, url, operator_token_file, as_json=as_json)


@merchants.command()
@click.argument("number", type=int)
@click.option("--to", type=int, required=True, help="The number of the merchant who may speak for it.")
@click.option(
    "--scope", required=True, help="A company prefix, a GLN, or a URI such as a GTIN's link: of NUMBER's own."
)
@click.option("--days", type=float, required=True, help="For how long; 0 takes the delegation back.")
@_common
def delegate(
    number: int,
    url: str,
    operator_token_file: Path | None,
    *,
    to: int,
    scope: str,
    days: float,
    as_json: bool,
) -> None:
    """Let another merchant speak for goods of merchant NUMBER, for some days."""
    with _registry(url, operator_token_file) as registry:
        known = registry.merchant(number)["content"].get("delegations", [])
        kept = [each for each in known if (each["to"], each["scope"]) != (to, scope)]
        if days > 0:
            until_ms = time.time_ns() // 1_000_000 + int(days * _DAY_MS)
            kept.append({"to": to, "scope": scope, "untilMs": until_ms})
        _tell(registry.change(number, {"delegations": kept}), as_json=as_json)


@merchants.command(name="signing-key")
@click.argument("number", type=int)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--remove", is_flag=True, help="Take the key out: nothing more is taken that it signs.")
@_common
def signing_key(
    number: int, file: Path, url: str, operator_token_file: Path | None, *, remove: bool, as_json: bool
) -> None:
    """Let merchant NUMBER sign its events with the public key in FILE (PEM)."""
    jwk = dict(read_public_key(file).jwk)
    with _registry(url, operator_token_file) as registry:
        known = registry.merchant(number)["content"].get("signingKeys", [])
        kept = [each for each in known if each != jwk] + ([] if remove else [jwk])
        _tell(registry.change(number, {"signingKeys": kept}), as_json=as_json)


@merchants.command()
@click.argument("number", type=int)
@click.argument("default", type=click.Choice([each.value for each in Visibility]), required=False)
@click.option(
    "--step",
    "steps",
    multiple=True,
    metavar="STEP=WHO",
    help="Another one for a step, such as production=private; STEP= takes it out. May be given several times.",
)
@_common
def visibility(
    number: int,
    default: str | None,
    steps: tuple[str, ...],
    url: str,
    operator_token_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Say who sees the events of merchant NUMBER: public, partners (whom the event names) or private.

    It counts for all its events, those sealed before too, wherever the query service enforces it. See docs/visibility.md.
    """
    changes = dict(map(_step_of, steps))
    if default is None and not changes:
        raise click.UsageError("say who sees its events, or what holds for a --step")
    with _registry(url, operator_token_file) as registry:
        known = registry.merchant(number)["content"].get("visibility", {})
        told = {
            "default": default or known.get("default", Visibility.PARTNERS.value),
            "steps": {step: who for step, who in {**known.get("steps", {}), **changes}.items() if who},
        }
        found = registry.change(number, {"visibility": None if told == _UNSAID else _patch(told, known)})
        _tell(found, as_json=as_json)
    if not as_json:
        print_json(found["content"].get("visibility", _UNSAID))


def _step_of(text: str) -> tuple[str, str]:
    step, equals, who = text.partition("=")
    if not equals or who not in ("", *Visibility):
        raise click.UsageError(f"--step wants STEP=WHO, WHO one of {', '.join(Visibility)}, not {text!r}")
    return step, who


def _patch(told: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Write a merge patch: what a step is not said of any more is taken out by null."""
    gone = dict.fromkeys(known.get("steps", {}).keys() - told["steps"].keys())
    return {"default": told["default"], "steps": {**gone, **told["steps"]}}


@merchants.group()
def key() -> None:
    """Make, list and revoke API keys."""


@key.command(name="new")
@click.argument("number", type=int)
@click.option("--label", default="", help="What it is for.")
@_common
def new_key(number: int, label: str, url: str, operator_token_file: Path | None, *, as_json: bool) -> None:
    """Make an API key for merchant NUMBER and print it: it is never shown again."""
    with _registry(url, operator_token_file) as registry:
        made = registry.new_key(number, label)
    if as_json:
        print_json(made)
    else:
        click.echo(made["apiKey"])


@key.command(name="list")
@click.argument("number", type=int)
@_common
def list_keys(number: int, url: str, operator_token_file: Path | None, *, as_json: bool) -> None:
    """List the API keys of merchant NUMBER by their IDs."""
    with _registry(url, operator_token_file) as registry:
        rows = registry.keys(number)
    if as_json:
        print_json({"keys": rows})
    for row in [] if as_json else rows:
        click.echo(f"{row['id']}  {'revoked' if row['revokedMs'] else 'good':<8} {row['label']}".rstrip())


@key.command(name="revoke")
@click.argument("number", type=int)
@click.argument("key_id")
@_common
def revoke_key(
    number: int, key_id: str, url: str, operator_token_file: Path | None, *, as_json: bool
) -> None:
    """Take an API key of merchant NUMBER back for good, by its ID: the part of the key behind `gst_`."""
    with _registry(url, operator_token_file) as registry:
        registry.revoke_key(number, key_id)
    if as_json:
        print_json({"revoked": key_id})
    else:
        click.echo(f"{key_id} is revoked; every collector notices within seconds")


def _change(number: int, patch: dict[str, Any], url: str, token_file: Path | None, *, as_json: bool) -> None:
    with _registry(url, token_file) as registry:
        _tell(registry.change(number, patch), as_json=as_json)


def _registry(url: str, token_file: Path | None) -> RegistryClient:
    source = operator_for(url, token_file)
    if source is NO_TOKEN:
        raise CredentialsError(
            "an operator is wanted: --operator-token-file, GOODSTRACE_OPERATOR_TOKEN, or goodstrace login"
        )
    return RegistryClient(url, source, tls=tls_for(url, "--url"))


def _tell(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        click.echo(_line(found))


def _line(row: dict[str, Any]) -> str:
    content = row["content"]
    claims = [*content.get("prefixes", []), *content.get("glns", []), *content.get("uris", [])]
    told = ["everything"] if content.get("everything") else claims
    return f"{row['merchant']:<8}{content.get('status', 'active'):<11}{content['name']}  {' '.join(told)}".rstrip()
