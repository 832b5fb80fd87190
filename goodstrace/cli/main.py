"""The group of commands; those of the server side join it by the entry points `goodstrace.commands`."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Final

import click

from goodstrace.cli.accounts import accounts
from goodstrace.cli.browses import browses
from goodstrace.cli.capture import capture
from goodstrace.cli.dev_certs import dev_certs
from goodstrace.cli.goods import goods
from goodstrace.cli.login import list_sessions, login, logout, token, whoami
from goodstrace.cli.merchants import merchants
from goodstrace.cli.passwords import passwd, totp
from goodstrace.cli.prove import prove
from goodstrace.cli.recall import recall
from goodstrace.cli.registry import registry
from goodstrace.cli.rejected import rejected
from goodstrace.cli.sign import sign
from goodstrace.cli.simulate import simulate
from goodstrace.cli.subscribe import subscribe
from goodstrace.cli.trace import trace
from goodstrace.cli.verify import verify
from goodstrace.errors import GoodstraceError, VerificationError

COMMANDS_GROUP: Final = "goodstrace.commands"
EXIT_FAILED: Final = 1


class _Commands(click.Group):
    """The commands of this package, and those of the server side, imported when they are asked for.

    The server side's libraries are many times larger than what it takes to check a proof.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_server_side()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and (entry_point := _server_side().get(cmd_name)):
            self.add_command(_loaded(entry_point), cmd_name)
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="goodstrace")
def cli() -> None:
    """Capture what happens to goods, trace them level by level, and verify every answer.

    \b
    A first look, with the local stack up (make up):
      goodstrace simulate --seed 1 --events 200 --out run/samples
      goodstrace capture run/samples/*.jsonld
      goodstrace rejected list      what was refused, and why
      goodstrace trace KEY          (run/samples/index.json names some keys)
      goodstrace recall KEY         all that it went into, with --xlsx FILE as a spreadsheet
      goodstrace goods KEY          how it stands: where, with whom, in what, since when
      goodstrace browses KEY        who looked at it
      goodstrace subscribe          events as they are published
      goodstrace prove LOG INDEX --out FILE      a proof to hand on
      goodstrace verify FILE --vkeys run/keys    check it without any service
      goodstrace fsck               re-derive everything that is sealed

    \b
    Elsewhere, sign in first:
      goodstrace login --query HOST:PORT
      goodstrace whoami

    The exit status is 0 only on success.
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is


for _command in (
    login,
    logout,
    whoami,
    list_sessions,
    passwd,
    totp,
    token,
    accounts,
    capture,
    rejected,
    merchants,
    registry,
    sign,
    trace,
    recall,
    goods,
    subscribe,
    browses,
    dev_certs,
    prove,
    verify,
    simulate,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; errors on purpose end as one message on standard error and exit status 1."""
    try:
        cli()
    except VerificationError as error:
        _complain(f"does not verify: {error}")
    except GoodstraceError as error:
        _complain(str(error))
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
    sys.exit(EXIT_FAILED)


def _server_side() -> dict[str, importlib.metadata.EntryPoint]:
    return {each.name: each for each in importlib.metadata.entry_points(group=COMMANDS_GROUP)}


def _loaded(entry_point: importlib.metadata.EntryPoint) -> click.Command:
    """Load a command of the server side; where its libraries are not installed, one that says what it needs."""
    try:
        command: click.Command = entry_point.load()
    except ModuleNotFoundError as error:
        missing = str(error.name)

        @click.command(
            entry_point.name,
            help="Not installed here: it needs goodstrace[server].",
            context_settings={"ignore_unknown_options": True},
        )
        @click.argument("arguments", nargs=-1)
        def absent(arguments: tuple[str, ...]) -> None:  # noqa: ARG001 - whatever it is called with
            raise click.ClickException(
                f"`goodstrace {entry_point.name}` runs on the server side and needs {missing}: install goodstrace[server]"
            )

        return absent
    return command


def _complain(message: str) -> None:
    click.secho("goodstrace: ", fg="red", bold=True, nl=False, err=True)
    click.echo(message, err=True)
