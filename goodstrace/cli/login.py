"""`goodstrace login`, `logout`, `token`, `whoami`, `sessions`: who the command line is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from goodstrace.cli.asking import code_option, password_of, password_option, with_code, work_shown
from goodstrace.cli.display import console, id_columns
from goodstrace.cli.identity import login_client, session_name, session_source, sessions, source_for
from goodstrace.cli.options import api_key_option, json_option, print_json, query_option
from goodstrace.credentials import host_of
from goodstrace.errors import CallError, CredentialsError, SignedOutError
from goodstrace.query.v1 import login_pb2


@click.command()
@click.option("--name", default="", help="Your account's name; asked for where it is not given.")
@query_option
@password_option
@code_option
@click.option(
    "--also",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="Another host of the same installation (collector, audit) to which this session may be shown.",
)
@json_option
def login(
    name: str,
    query_target: str,
    password_file: Path | None,
    code: str,
    hosts: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Sign in: the other commands then call as you, until `goodstrace logout`.

    The session is kept in the keyring of the operating system where there is one, else in a file that only you may read, and renews
    itself. A password is never an argument: it is asked for, or comes from a file or from standard input.
    """
    store = sessions()
    known = store.get(session_name(query_target))
    user = name or _asked_name(known.user if known else "")
    password = password_of(password_file)
    with login_client(query_target) as client, work_shown() as progress:
        session = with_code(
            lambda given: client.sign_in(user, password, given, known=known, progress=progress), code
        )
    if hosts:
        session = replace(session, hosts=tuple(sorted({host_of(each) for each in hosts})))
    with store.alone(session_name(query_target)):
        store.put(session_name(query_target), session)
    with login_client(query_target, session_source(query_target, store)) as client:
        _show(client.who_am_i(), query_target, as_json=as_json)


@click.command()
@query_option
@click.option("--everywhere", is_flag=True, help="End all sessions of the account, on all devices.")
@click.option(
    "--session", default="", metavar="ID", help="End another session of yours, as `sessions` lists them."
)
@json_option
def logout(query_target: str, session: str, *, everywhere: bool, as_json: bool) -> None:
    """Sign out: the session's tokens do not count any more, and are forgotten here."""
    store = sessions()
    kept = store.get(session_name(query_target))
    if kept is None or not (kept.is_open or kept.lost):
        raise SignedOutError(f"nobody is signed in at {query_target}")
    failed, ended = None, 0
    try:
        with login_client(query_target, session_source(query_target, store)) as client:
            ended = client.sign_out(everywhere=everywhere, session=session)
    except SignedOutError:
        pass  # it has ended already
    except CallError as error:
        failed = error
    if session and failed is None:
        _tell({"ended": ended}, f"{ended} session{'' if ended == 1 else 's'} ended", as_json=as_json)
        return
    if not session:
        with store.alone(session_name(query_target)):
            store.put(session_name(query_target), kept.ended())
    if failed is not None:
        where = "" if session else "forgotten here, but "
        raise CredentialsError(f"{where}the service does not know that the session is over: {failed}")
    _tell({"ended": ended}, f"signed out ({ended} session{'' if ended == 1 else 's'} ended)", as_json=as_json)


@click.command()
@query_option
@api_key_option
@json_option
def token(query_target: str, api_key_file: Path | None, *, as_json: bool) -> None:
    """Print an access token that counts now, for other programs; it ends within minutes.

    \b
      curl -H "Authorization: Bearer $(goodstrace token)" http://127.0.0.1:8080/registry/v1/me
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is
    found = source_for(query_target, api_key_file, query_target=query_target).token()
    if not found:
        raise SignedOutError(f"nobody is signed in at {query_target}: goodstrace login")
    _tell({"token": found}, found, as_json=as_json)


@click.command()
@query_option
@api_key_option
@json_option
def whoami(query_target: str, api_key_file: Path | None, *, as_json: bool) -> None:
    """Say as whom the other commands call, and what that may do."""
    with login_client(query_target, _source(query_target, api_key_file)) as client:
        _show(client.who_am_i(), query_target, as_json=as_json)


@click.command(name="sessions")
@query_option
@json_option
def list_sessions(query_target: str, *, as_json: bool) -> None:
    """List where you are signed in; `goodstrace logout --session ID` ends one."""
    with login_client(query_target, _source(query_target, None)) as client:
        found = client.sessions()
    if as_json:
        print_json({"sessions": [_session(each) for each in found]})
        return
    table = Table()
    id_columns(table, "session", "begun (UTC)", "used last (UTC)", "from", "", ids=("session",))
    for each in found:
        table.add_row(
            escape(each.id),
            _moment(each.begun_ms),
            _moment(each.used_ms),
            escape(each.network),
            "this one" if each.current else "",
        )
    console().print(table)


def _source(target: str, api_key_file: Path | None) -> Any:
    return source_for(target, api_key_file, query_target=target)


def _asked_name(before: str) -> str:
    return str(click.prompt("Name", default=before or None, err=True))


def _show(who: login_pb2.WhoAmIResponse, target: str, *, as_json: bool) -> None:
    told = {
        "name": who.name,
        "roles": list(who.roles),
        "merchant": who.merchant,
        "means": who.means,
        "session": who.session,
        "totp": who.totp,
        "change_password": who.change_password,
        "query": target,
    }
    merchant = f", for merchant {who.merchant}" if who.merchant else ""
    lines = [f"{who.name} at {target}: {', '.join(who.roles) or 'no role'}{merchant} (by {who.means})"]
    if who.change_password:
        lines.append("the password was made by an operator: change it with `goodstrace passwd`")
    _tell(told, "\n".join(lines), as_json=as_json)


def _session(each: login_pb2.Session) -> dict[str, Any]:
    return {
        "id": each.id,
        "begun_ms": each.begun_ms,
        "used_ms": each.used_ms,
        "network": each.network,
        "current": each.current,
    }


def _moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _tell(told: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        click.echo(text)
