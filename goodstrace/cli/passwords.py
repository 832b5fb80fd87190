"""`goodstrace passwd` and `goodstrace totp`: one's own password and one-time codes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click
import segno

from goodstrace.cli.asking import at_terminal, code_option, password_of, password_option, with_code
from goodstrace.cli.identity import login_client, session_name, session_source, sessions
from goodstrace.cli.options import json_option, print_json, query_option
from goodstrace.errors import CredentialsError, SignedOutError
from goodstrace.login import LoginClient


@click.command()
@query_option
@password_option
@click.option(
    "--new-password-file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="File with the new password in its first line; else it is asked for, or the next line of standard input.",
)
@code_option
@json_option
def passwd(
    query_target: str, password_file: Path | None, new_password_file: Path | None, code: str, *, as_json: bool
) -> None:
    """Change your password; all your other sessions end.

    A new one has 12 to 128 characters of any kind, and is none of the well-known ones.
    """
    store = sessions()
    password = password_of(password_file, "Password so far")
    following = password_of(new_password_file, "New password")
    if new_password_file is None and at_terminal() and password_of(None, "Once more") != following:
        raise CredentialsError("the two new passwords are not the same: nothing was changed")
    with _signed_in(query_target) as client:
        made = with_code(lambda given: client.change_password(password, following, given), code)
        with store.alone(session_name(query_target)):
            kept = store.get(session_name(query_target))
            if kept is not None:
                store.put(session_name(query_target), replace(kept, lost=False).with_tokens(*made))
    if as_json:
        print_json({"changed": True})
    else:
        click.echo("the password is changed; all other sessions have ended")


@click.group()
def totp() -> None:
    """Use one-time codes of an authenticator app at sign-in, besides the password (RFC 6238)."""


@totp.command()
@query_option
@password_option
@click.option("--code", default="", help="With --json: the code that confirms; else it is asked for.")
@json_option
def on(query_target: str, password_file: Path | None, code: str, *, as_json: bool) -> None:
    """Begin to use one-time codes; prints what the authenticator needs, and recovery codes once a code was right.

    With --json it takes two calls: without --code it gives the URI, with the --code that the authenticator then shows it confirms.
    """
    with _signed_in(query_target) as client:
        if as_json and code:
            print_json({"recovery_codes": client.confirm_totp(code)})
            return
        begun = client.begin_totp(password_of(password_file))
        if as_json:
            print_json({"uri": begun.uri, "secret": begun.secret})
            return
        click.echo(f"{begun.uri}\n")
        if sys.stdout.isatty():
            segno.make(begun.uri).terminal(compact=True)
        given = code or str(click.prompt("Scan it, and type the code that you see", err=True))
        recovery = client.confirm_totp(given.strip())
    click.echo(
        "From now on a code is wanted at each sign-in. Where the authenticator is lost, one of these counts, once:"
    )
    for each in recovery:
        click.echo(f"  {each}")


@totp.command()
@query_option
@password_option
@code_option
@json_option
def off(query_target: str, password_file: Path | None, code: str, *, as_json: bool) -> None:
    """Stop using one-time codes."""
    password = password_of(password_file)
    given = code or str(click.prompt("One-time code, or a recovery code", err=True))
    with _signed_in(query_target) as client:
        client.remove_totp(password, given.strip())
    if as_json:
        print_json({"totp": False})
    else:
        click.echo("one-time codes are not used any more")


def _signed_in(target: str) -> LoginClient:
    """Make a client with the session that somebody began: what belongs to a person is not done with an API key."""
    store = sessions()
    kept = store.get(session_name(target))
    if kept is None or not (kept.is_open or kept.lost):
        raise SignedOutError(f"nobody is signed in at {target}: goodstrace login")
    return login_client(target, session_source(target, store))
