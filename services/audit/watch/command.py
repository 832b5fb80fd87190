"""The commands `goodstrace watch ...`: who is blocked, by a rule or by an operator, and lifting that; whether a file of rules is sound; alerts.

The watch blocks users by a pseudonym of the day. Those who may open the vault are told who that is, and lift its blocks by name.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from goodstrace.cli.options import json_option, print_json
from services.audit.watch import rules as books
from services.audit.watch.alerts_command import alerts, when
from services.audit.watch.daily import DAY_MS
from services.runtime import clock
from services.runtime.access.networks import named_network
from services.runtime.blocking import KINDS, NETWORK, PSEUDONYM, USER, Block, Blocks
from services.runtime.command_errors import told
from services.runtime.host_account import account_here
from services.runtime.mongo import Database, Mongo
from services.runtime.settings import MongoSettings, load
from services.runtime.vault import People, open_people
from services.runtime.vault.lately import pseudonyms

T = TypeVar("T")
_HOUR_MS = 3_600_000


@click.group()
def watch() -> None:
    """The watch: what looks like an attack, and who is blocked for it. docs/watch.md says more."""


@watch.group()
def blocks() -> None:
    """Who is blocked: `user:NAME`, `network:NETWORK`, or by the watch `pseudonym:...`, which is a user of one day. A block takes hold, or ends, within seconds, and ends by itself in any case."""


@blocks.command("list")
@click.option(
    "--names", is_flag=True, help="Say who is behind pseudonyms, as far as the vault knows it still."
)
@json_option
def list_(*, names: bool, as_json: bool) -> None:
    """List the blocks in force, those that end last first."""
    found, named = _with_database(lambda database: _listed(database, names=names))
    if as_json:
        print_json(
            [
                {**msgspec.to_builtins(block), **({"user": user} if names else {})}
                for block, user in zip(found, named, strict=True)
            ]
        )
        return
    for block, user in zip(found, named, strict=True):
        who = f"{block.subject} ({user})" if user else block.subject
        click.echo(f"{who}  until {when(block.until_ms)}  {block.reason} (by {block.by})")


async def _listed(database: Database, *, names: bool) -> tuple[list[Block], list[str]]:
    found = await Blocks(database).in_force()
    if not names:
        return found, [""] * len(found)
    people = open_people(database)
    return found, [await _name(people, block.subject) for block in found]


async def _name(people: People, subject: str) -> str:
    kind, _, pseudonym = subject.partition(":")
    return (await people.name_of(pseudonym) or "") if kind == PSEUDONYM else ""


@blocks.command()
@click.argument("subject")
@click.option("--hours", type=click.IntRange(1, 8760), default=1, show_default=True, help="For how long.")
@click.option("--reason", default="", help="Why: it is shown in the list, not to who is blocked.")
@json_option
def add(subject: str, hours: int, reason: str, *, as_json: bool) -> None:
    """Block a user or a network."""
    block = Block(
        subject=_checked(subject),
        until_ms=clock.now_ms() + hours * _HOUR_MS,
        reason=reason[:300],
        by=f"operator {account_here()}",
    )
    _with_database(lambda database: Blocks(database).put(block))
    if as_json:
        print_json(block)
        return
    click.echo(f"{block.subject} is blocked until {when(block.until_ms)}")


@blocks.command()
@click.argument("subject")
@click.option(
    "--hours",
    type=click.IntRange(0, 8760),
    default=1,
    show_default=True,
    help="For how long the watch shall not block it again.",
)
@json_option
def lift(subject: str, hours: int, *, as_json: bool) -> None:
    """End a block; for a while the watch does not put it again.

    Of a user also those that the watch has put: by the pseudonyms from yesterday's to that of the end of this while, of a day at the most.
    """
    checked, for_ms = _checked(subject), hours * _HOUR_MS
    was = _with_database(lambda database: _lifted(database, checked, for_ms))
    if as_json:
        print_json({"subject": subject, "was_blocked": was})
        return
    click.echo(f"{subject} {'is not blocked any more' if was else 'was not blocked'}")


async def _lifted(database: Database, subject: str, for_ms: int) -> bool:
    blocks, (kind, _, name) = Blocks(database), subject.partition(":")
    was = await blocks.lift(subject, for_ms=for_ms)
    if kind == USER:
        people = open_people(database)
        now_ms = people.vault.now_ms()
        for each in await pseudonyms(people, name, now_ms - DAY_MS, now_ms + min(for_ms, DAY_MS)):
            was |= await blocks.lift(f"{PSEUDONYM}:{each}", for_ms=min(for_ms, DAY_MS))
    return was


watch.add_command(alerts)


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
@json_option
def check(file: Path, *, as_json: bool) -> None:
    """Check a file of rules, by default the one that comes with the program, and list them."""
    with told():
        book = books.load(file)
    if as_json:
        print_json(book)
        return
    for rule in book.rules:
        blocking = f", blocks for {rule.block_s} s" if rule.block_s else ""
        click.echo(
            f"{rule.severity:<9}{rule.id:<20}{rule.measure} by {rule.about} >= {rule.at_least} in {rule.size_s} s{blocking}"
        )


def _with_database(call: Callable[[Database], Awaitable[T]]) -> T:
    async def run() -> T:
        mongo = Mongo(load(MongoSettings))
        try:
            return await call(mongo.database)
        finally:
            mongo.close()

    with told():
        return asyncio.run(run())


def _checked(subject: str) -> str:
    kind, separator, name = subject.partition(":")
    if kind not in KINDS or not separator or not name:
        raise click.ClickException(f"{subject}: user:NAME, network:NETWORK or pseudonym:PSEUDONYM, please")
    if kind != NETWORK:
        return subject
    known = named_network(name)
    if not known:
        raise click.ClickException(
            f"{subject}: an address, or a network as alerts name it, please: 203.0.113.0/24 or 2001:db8::/48"
        )
    return f"{NETWORK}:{known}"
