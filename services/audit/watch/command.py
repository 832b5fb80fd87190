"""The commands `goodstrace watch ...`: who is blocked, by a rule or by an operator, and lifting that; whether a file of rules is sound."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from getpass import getuser
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from services.audit.watch import rules as books
from services.runtime.blocking import KINDS, Block, Blocks
from services.runtime.errors import ServiceError
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings, load

T = TypeVar("T")
_HOUR_MS = 3_600_000

_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text for people."
)


@click.group()
def watch() -> None:
    """The watch: what looks like an attack, and who is blocked for it. docs/watch.md says more."""


@watch.group()
def blocks() -> None:
    """Who is blocked: `user:NAME` or `network:NETWORK`. A block takes hold, or ends, within seconds, and ends by itself in any case."""


@blocks.command("list")
@_json
def list_(*, as_json: bool) -> None:
    """List the blocks in force, those that end last first."""
    found = _with_blocks(lambda held: held.in_force())
    if as_json:
        _print_json([msgspec.to_builtins(block) for block in found])
        return
    for block in found:
        click.echo(f"{block.subject}  until {_when(block.until_ms)}  {block.reason} (by {block.by})")


@blocks.command()
@click.argument("subject")
@click.option("--hours", type=click.IntRange(1, 8760), default=1, show_default=True, help="For how long.")
@click.option("--reason", default="", help="Why: it is shown in the list, not to who is blocked.")
@_json
def add(subject: str, hours: int, reason: str, *, as_json: bool) -> None:
    """Block a user or a network."""
    block = Block(
        subject=_checked(subject),
        until_ms=time.time_ns() // 1_000_000 + hours * _HOUR_MS,
        reason=reason[:300],
        by=f"operator {getuser()}",
    )
    _with_blocks(lambda held: held.put(block))
    if as_json:
        _print_json(msgspec.to_builtins(block))
        return
    click.echo(f"{block.subject} is blocked until {_when(block.until_ms)}")


@blocks.command()
@click.argument("subject")
@click.option(
    "--hours",
    type=click.IntRange(0, 8760),
    default=1,
    show_default=True,
    help="For how long the watch shall not block it again.",
)
@_json
def lift(subject: str, hours: int, *, as_json: bool) -> None:
    """End a block; for a while the watch does not put it again."""
    was = _with_blocks(lambda held: held.lift(_checked(subject), for_ms=hours * _HOUR_MS))
    if as_json:
        _print_json({"subject": subject, "was_blocked": was})
        return
    click.echo(f"{subject} {'is not blocked any more' if was else 'was not blocked'}")


@watch.group()
def rules() -> None:
    """The rules of the watch."""


@rules.command()
@click.argument(
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=False,
    default=books.BUILT_IN,
)
@_json
def check(file: Path, *, as_json: bool) -> None:
    """Check a file of rules, by default the one that comes with the program, and list them."""
    try:
        book = books.load(file)
    except ServiceError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        _print_json(msgspec.to_builtins(book))
        return
    for rule in book.rules:
        blocking = f", blocks for {rule.block_s} s" if rule.block_s else ""
        click.echo(
            f"{rule.severity:<9}{rule.id:<20}{rule.measure} by {rule.about} >= {rule.at_least} in {rule.size_s} s{blocking}"
        )


def _with_blocks(call: Callable[[Blocks], Awaitable[T]]) -> T:
    async def run() -> T:
        mongo = Mongo(load(MongoSettings))
        try:
            return await call(Blocks(mongo.database))
        finally:
            mongo.close()

    try:
        return asyncio.run(run())
    except ServiceError as error:
        raise click.ClickException(str(error)) from error


def _checked(subject: str) -> str:
    kind, separator, name = subject.partition(":")
    if kind not in KINDS or not separator or not name:
        raise click.ClickException(f"{subject}: user:NAME or network:NETWORK, please")
    return subject


def _when(time_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms / 1000))


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.encode(value).decode())
