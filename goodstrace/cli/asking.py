"""Asking for what is secret: passwords and one-time codes, from the terminal, a file or standard input; never from an argument."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from goodstrace.cli.display import progress_console
from goodstrace.errors import CallError, CredentialsError
from goodstrace.login import Progress as Told

Command = TypeVar("Command", bound=Callable[..., Any])
_MAX_BYTES: Final = 4096
_Answer = TypeVar("_Answer")

password_option = click.option(
    "--password-file",
    type=click.Path(path_type=Path, allow_dash=True),
    envvar="GOODSTRACE_PASSWORD_FILE",
    help="File with the password in its first line; - is standard input. Else it is asked for, or read from standard input.",
)
code_option = click.option(
    "--code", default="", help="A one-time code or a recovery code; asked for where it is wanted."
)


def at_terminal() -> bool:
    """Say whether somebody is there to be asked."""
    return sys.stdin.isatty()


def password_of(file: Path | None, prompt: str = "Password") -> str:
    """Get a password: from the first line of a file, asked for at a terminal, or from standard input. Raises: CredentialsError."""
    if file is None and at_terminal():
        return str(click.prompt(prompt, hide_input=True, err=True))
    try:
        if file is None or str(file) == "-":
            text = sys.stdin.readline(_MAX_BYTES)
        else:
            with file.open(encoding="utf-8") as source:
                text = source.readline(_MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"cannot read the password: {error}") from error
    password = text.rstrip("\r\n")
    if not password:
        raise CredentialsError("there is no password: give --password-file, or write it to standard input")
    return password


def with_code(call: Callable[[str], _Answer], code: str) -> _Answer:
    """Make a call that may want a one-time code, and ask for the code where it is refused without one.

    The service answers alike whatever is wrong and does not say that it wants one: so whoever is at the terminal is asked whether
    there is one. Raises: CallError.
    """
    try:
        return call(code)
    except CallError as error:
        if code or error.code != "UNAUTHENTICATED" or not at_terminal():
            raise
        given = click.prompt(
            "Refused. One-time code, if the account uses them", default="", show_default=False, err=True
        ).strip()
        if not given:
            raise
        return call(given)


@contextmanager
def work_shown() -> Iterator[Told]:
    """Show how far the work for a challenge has come, once there is any."""
    console = progress_console()
    with Progress(
        TextColumn("many try to sign in to this account: working for your turn"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task("work", total=1.0, visible=False)

        def told(done: float) -> None:
            progress.update(task, completed=min(done, 0.99), visible=True)

        yield told
