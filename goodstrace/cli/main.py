"""The group of commands; those of the server side join it by the entry points `goodstrace.commands`."""

from __future__ import annotations

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
from goodstrace.cli.my_goods import statistics
from goodstrace.cli.passwords import passwd, totp
from goodstrace.cli.prove import prove
from goodstrace.cli.recall import recall
from goodstrace.cli.registry import registry
from goodstrace.cli.rejected import rejected
from goodstrace.cli.server_side import group_with
from goodstrace.cli.sign import sign
from goodstrace.cli.simulate import simulate
from goodstrace.cli.subscribe import subscribe
from goodstrace.cli.trace import trace
from goodstrace.cli.verify import verify
from goodstrace.errors import GoodstraceError, TrustFileError, VerificationError

EXIT_FAILED: Final = 1


@click.group(
    cls=group_with("goodstrace.commands"),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
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
      goodstrace browses --my-goods who looked at your goods, as numbers
      goodstrace statistics         how much was looked at
      goodstrace subscribe          events as they are published
      goodstrace prove LOG INDEX --out FILE      a proof to hand on
      goodstrace verify FILE --vkeys run/keys    check it without any service
      goodstrace fsck               re-derive everything that is sealed
      goodstrace doctor             is all well, and what to do where it is not

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
    statistics,
    dev_certs,
    prove,
    verify,
    simulate,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; errors on purpose end as one message on standard error and exit status 1, or 2 where a file of one's own is wrong."""
    try:
        cli()
    except TrustFileError as error:  # nothing was verified yet: it is how the command was called
        _complain(str(error))
        sys.exit(click.UsageError.exit_code)
    except VerificationError as error:
        _complain(f"does not verify: {error}")
    except GoodstraceError as error:
        _complain("; ".join((str(error), *getattr(error, "__notes__", ()))))
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
    sys.exit(EXIT_FAILED)


def _complain(message: str) -> None:
    click.secho("goodstrace: ", fg="red", bold=True, nl=False, err=True)
    click.echo(message, err=True)
