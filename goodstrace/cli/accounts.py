"""`goodstrace accounts`: accounts of people and programs, for operators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.markup import escape
from rich.table import Table

from goodstrace.accounts import AccountsClient
from goodstrace.cli.display import console
from goodstrace.cli.identity import channel_of, operator_for
from goodstrace.cli.options import json_option, print_json, query_option
from goodstrace.cli.server_side import group_with
from goodstrace.errors import CredentialsError
from goodstrace.query.v1 import login_pb2
from goodstrace.token_sources import NO_TOKEN

Command = TypeVar("Command", bound=Callable[..., Any])
ROLES: Final = ("shopper", "merchant", "auditor", "operator", "platform")
_FIELDS: Final = ("id", "name", "kind", "merchant", "status", "certificate", "created_ms", "totp")
_CERTIFICATE: Final = "The URI or DNS name in the client certificate by which a service account is known."

_token_option = click.option(
    "--operator-token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="GOODSTRACE_OPERATOR_TOKEN_FILE",
    help="The operator's token; GOODSTRACE_OPERATOR_TOKEN may hold it. Else the session of `goodstrace login`; else, of the local stack, its demo operator.",
)


def _common(command: Command) -> Command:
    for option in (json_option, _token_option, query_option):
        command = option(command)
    return command


@click.group(cls=group_with("goodstrace.commands.accounts"))
def accounts() -> None:
    """Keep accounts of people and service accounts of programs.

    \b
      goodstrace accounts add ann --role auditor
      goodstrace accounts add shop-web --service --role platform
      goodstrace accounts set ann --role auditor --role operator
      goodstrace accounts set ann --disable
      goodstrace accounts reset ann              a new password, told once; all its sessions end
      goodstrace accounts bootstrap ann          the first operator of a new installation, in the store itself

    A password is told once and is to be changed at the first sign-in (`goodstrace passwd`). See docs/login.md.
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is


@accounts.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice(ROLES),
    help="What it is; may be given several times.",
)
@click.option("--merchant", default=0, help="For whom it acts, with the role merchant.")
@click.option("--service", is_flag=True, help="A program's: it has a secret, or a certificate.")
@click.option("--certificate", default="", help=_CERTIFICATE)
@_common
def add(
    name: str,
    roles: tuple[str, ...],
    merchant: int,
    certificate: str,
    *,
    query_target: str,
    operator_token_file: Path | None,
    service: bool,
    as_json: bool,
) -> None:
    """Make an account; prints its password or secret, this once."""
    with _client(query_target, operator_token_file) as client:
        kind = "service" if service else "user"
        account, credential = client.add(name, roles, kind=kind, merchant=merchant, certificate=certificate)
    if as_json:
        print_json({**_as_json(account), "credential": credential})
        return
    click.echo(_line(account))
    click.echo(f"{'secret' if service else 'password, to be changed'}: {credential}")


@accounts.command(name="list")
@_common
def list_accounts(query_target: str, operator_token_file: Path | None, *, as_json: bool) -> None:
    """List all accounts by name."""
    with _client(query_target, operator_token_file) as client:
        found = list(client.list())
    if as_json:
        print_json({"accounts": [_as_json(each) for each in found]})
        return
    table = Table("name", "kind", "roles", "merchant", "status", "codes", "certificate")
    for each in found:
        roles, merchant = ", ".join(each.roles), str(each.merchant or "")
        codes = "yes" if each.totp else ""
        told = (each.name, each.kind, roles, merchant, each.status, codes, each.certificate)
        table.add_row(*map(escape, told))
    console().print(table)


@accounts.command()
@click.argument("account")
@_common
def show(account: str, query_target: str, operator_token_file: Path | None, *, as_json: bool) -> None:
    """Show an ACCOUNT by its name or ID."""
    with _client(query_target, operator_token_file) as client:
        _tell(client.show(account), as_json=as_json)


@accounts.command(name="set")
@click.argument("account")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(ROLES),
    help="The roles from now on, in the place of all it has.",
)
@click.option("--merchant", type=int, help="For whom it acts; 0 for nobody.")
@click.option("--enable/--disable", "enabled", default=None, help="Whether it may be used.")
@click.option("--certificate", help=_CERTIFICATE)
@_common
def change(
    account: str,
    roles: tuple[str, ...],
    merchant: int | None,
    certificate: str | None,
    *,
    query_target: str,
    operator_token_file: Path | None,
    enabled: bool | None,
    as_json: bool,
) -> None:
    """Change an ACCOUNT; tokens that it has do not count any more."""
    if not roles and merchant is None and certificate is None and enabled is None:
        raise click.UsageError("say what to change: --role, --merchant, --enable, --disable or --certificate")
    status = "" if enabled is None else "active" if enabled else "disabled"
    with _client(query_target, operator_token_file) as client:
        found = client.change(account, roles=roles, merchant=merchant, status=status, certificate=certificate)
    _tell(found, as_json=as_json)


@accounts.command()
@click.argument("account")
@_common
def reset(account: str, query_target: str, operator_token_file: Path | None, *, as_json: bool) -> None:
    """Make a new password or secret for an ACCOUNT, told this once; its sessions end, and its one-time codes."""
    with _client(query_target, operator_token_file) as client:
        credential = client.reset(account)
    if as_json:
        print_json({"account": account, "credential": credential})
    else:
        click.echo(credential)


@accounts.command()
@click.argument("account")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_common
def remove(
    account: str, query_target: str, operator_token_file: Path | None, *, yes: bool, as_json: bool
) -> None:
    """Remove an ACCOUNT with all that is kept about it; what is sealed stays."""
    if not yes:
        click.confirm(f"Remove the account {account}?", abort=True, err=True)
    with _client(query_target, operator_token_file) as client:
        client.remove(account)
    if as_json:
        print_json({"removed": account})
    else:
        click.echo(f"{account} is removed")


def _client(target: str, token_file: Path | None) -> AccountsClient:
    source = operator_for(target, token_file, query_target=target, as_person=True)
    if source is NO_TOKEN:
        raise CredentialsError(
            "an operator is wanted: goodstrace login, --operator-token-file, or GOODSTRACE_OPERATOR_TOKEN"
        )
    return AccountsClient(target, source, channel_of=channel_of)


def _tell(account: login_pb2.Account, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(account))
    else:
        click.echo(_line(account))


def _as_json(account: login_pb2.Account) -> dict[str, Any]:
    return {field: getattr(account, field) for field in _FIELDS} | {"roles": list(account.roles)}


def _line(account: login_pb2.Account) -> str:
    merchant = f", for merchant {account.merchant}" if account.merchant else ""
    known_by = f", by {account.certificate}" if account.certificate else ""
    codes = ", with one-time codes" if account.totp else ""
    return f"{account.name} ({account.kind}, {account.status}): {', '.join(account.roles)}{merchant}{known_by}{codes}"
