"""The commands `goodstrace audit erase`, `hold`, `retention` and `export`: what an operator does for people, and for courts.

They work on the store and on Kafka themselves, as whoever may write to MongoDB and hold the vault's key file may.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, TypeVar

import click
import msgspec

from goodstrace.cli.options import json_option, print_json
from services.erasure.steps import ERASE_STEPS, EXPORT_STEPS
from services.runtime import clock, topics
from services.runtime.access.values import Role
from services.runtime.acknowledged import AcknowledgedProducer
from services.runtime.command_errors import told
from services.runtime.host_account import account_here
from services.runtime.mongo import Mongo
from services.runtime.personal_values import personal_subject
from services.runtime.settings import KafkaSettings, LogSettings, MongoSettings, load, load_secret
from services.runtime.vault import HeldError, open_people, user_subject
from services.sealing.browse import Browse, BrowseRecorder
from services.sealing.erasure.erasing import Erasing, Report, Sealing
from services.sealing.erasure.records import Why

T = TypeVar("T")
_DAY_MS: Final = 86_400_000
_STOP_S: Final = 5.0
_RECORD_S: Final = 10.0
EXPORT_METHOD: Final = "ExportUser"
FINAL: Final = (
    "what the store's oplog and backups still hold of it opens until the next: goodstrace audit vault rotate"
)

_why = click.option(
    "--reason",
    type=click.Choice([each.value for each in Why]),
    default=Why.ASKED.value,
    show_default=True,
    help="Why: it is sealed, in clear and for ever. There are no words of one's own, in which there could be a name.",
)
_merchant = click.option(
    "--merchant", type=click.IntRange(min=1), required=True, help="Number of the event's merchant."
)


@click.group()
def erase() -> None:
    """Erase what is known of people: keys are destroyed, lists deleted, and a sealed record says so.

    It is final after the next `goodstrace audit vault rotate`: the store's oplog and backups keep what was deleted. docs/personal-data.md says more.
    """


@erase.command("user")
@click.argument("name")
@_why
@click.option(
    "--settle/--no-settle",
    default=True,
    help="Look once more after 31 s, when every process has forgotten the key: a look may have been under way.",
)
@json_option
def erase_user(name: str, *, reason: str, settle: bool, as_json: bool) -> None:
    """Erase the user NAME: account, sessions, pseudonyms, alerts, and the content of all looks. Broken off, it is to be asked for again."""
    _tell(_run(lambda erasing: erasing.user(name, Why(reason), settle=settle)), as_json=as_json)


@erase.command("event")
@click.argument("event_id")
@_merchant
@_why
@json_option
def erase_event(event_id: str, *, merchant: int, reason: str, as_json: bool) -> None:
    """Erase the personal data of a merchant's event EVENT_ID, with that of all its duplicates; the event itself stays."""
    report = _run(lambda erasing: erasing.event(merchant, event_id, Why(reason)))
    if not report.records:
        raise click.ClickException("no personal data of such an event is held")
    _tell(report, as_json=as_json)


@erase.command("finish")
@json_option
def erase_finish(*, as_json: bool) -> None:
    """Go on with erasures that were broken off."""
    done, left = _run(lambda erasing: erasing.finish())
    if as_json:
        print_json({"finished": done, "left": left})
    else:
        click.echo(f"{done} finished")
    if left:
        raise click.ClickException(f"{left} are of users: erase these by their names again")


@click.group()
def hold() -> None:
    """Legal holds: what is under one is not erased before its time, by nobody."""


_until = click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    help="Up to which day (UTC); a day that is over lifts the hold.",
)
_words = click.option(
    "--reason", default="", help="Why: for people; kept encrypted, and gone with what it is about."
)


@hold.command("user")
@click.argument("name")
@_until
@_words
@json_option
def hold_user(name: str, *, until: datetime, reason: str, as_json: bool) -> None:
    """Hold what is recorded of the user NAME."""
    _held([user_subject(name)], until, reason, as_json=as_json)


@hold.command("event")
@click.argument("event_id")
@_merchant
@_until
@_words
@json_option
def hold_event(event_id: str, *, merchant: int, until: datetime, reason: str, as_json: bool) -> None:
    """Hold the personal data of a merchant's event EVENT_ID."""
    found = _run(lambda erasing: erasing.records_of(merchant, event_id))
    if not found:
        raise click.ClickException("no personal data of such an event is held")
    _held([personal_subject(each) for each in found], until, reason, as_json=as_json)


@click.command()
@click.option(
    "--days", type=click.IntRange(min=1), required=True, help="Of what age personal data in events is erased."
)
@json_option
def retention(days: int, *, as_json: bool) -> None:
    """Erase personal data in events that were captured more than DAYS days ago, but what is under a legal hold. To be run every day."""
    before_ms = clock.now_ms() - days * _DAY_MS
    erased = _run(lambda erasing: erasing.older_than(before_ms))
    if as_json:
        print_json({"erased": erased})
    else:
        click.echo(f"{erased} erased")


@click.group()
def export() -> None:
    """Give people what is held about them."""


@export.command("user")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file, mode 600; else it is printed.",
)
@click.option("--purpose", default="", help="Why, for the record of this look.")
def export_user(name: str, *, out: Path | None, purpose: str) -> None:
    """Export all that is held about the user NAME, a JSON document a line: {"kind", "of", "value"}, such as a look in clear with its proof.

    It is a look as others are: recorded and sealed before anything is written, under the name that you have on this machine. The last line, of kind "end", says how many there were before it: without it the export was broken off.
    """
    _run(lambda erasing: _export(erasing, name, purpose, out))


async def _export(erasing: Erasing, name: str, purpose: str, out: Path | None) -> None:
    """Record the look, then write line after line. Raises: NotRecordedError, and a file that is there stays as it is."""
    browse = Browse(
        user=f"host:{account_here()}",
        method=EXPORT_METHOD,
        keys=(),
        sizes={},
        purpose=purpose,
        events=0,
        asked_user=name,
        role=Role.OPERATOR,
    )
    browse_id = await _recorder(erasing).record(browse)
    with _opened(out) as file:
        await _write(erasing, name, browse_id, file)


async def _write(erasing: Erasing, name: str, browse_id: str, file: IO[bytes]) -> None:
    """Write what is held, with no more than a page of looks in memory."""
    known, lines = await erasing.known(name), 0

    def write(of: str, kind: str, value: object) -> None:
        file.write(_LINES.encode({"of": of, "kind": kind, "value": value}) + b"\n")

    write("export", "user", {"name": name, "time_ms": erasing.vault.now_ms(), "browse_id": browse_id})
    for of, step in EXPORT_STEPS.items():
        async for kind, value in step(erasing.database, known):
            write(of, kind, value)
            lines += 1
    write("export", "end", {"lines": lines})


def _recorder(erasing: Erasing) -> BrowseRecorder:
    """Give what records looks, to where erasures are sealed."""
    to = erasing.sealing
    return BrowseRecorder(
        to.producer,
        erasing.people,
        topic=to.topic,
        watched=load(KafkaSettings).topic(topics.BROWSE_WATCHED),
        partitions=to.partitions,
        secret=to.secret,
        timeout_s=_RECORD_S,
        observe_seconds=lambda _seconds: None,
    )


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[bytes]]:
    """Open a file for its owner alone, or standard output."""
    if out is None:
        yield click.get_binary_stream("stdout")
        return
    with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        out.chmod(0o600)
        yield file


def _plain(value: object) -> object:
    """Write what the store has and JSON has not: its 64-bit integers, bytes, and times."""
    if isinstance(value, bytes):
        return value.hex()
    return int(value) if isinstance(value, int) else str(value)


_LINES: Final = msgspec.json.Encoder(enc_hook=_plain, order="sorted")


def _held(subjects: list[str], until: datetime, reason: str, *, as_json: bool) -> None:
    until_ms = int(until.replace(tzinfo=UTC).timestamp() * 1000) + _DAY_MS

    async def held(erasing: Erasing) -> None:
        for each in subjects:
            await erasing.vault.hold(each, until_ms, reason)

    _run(held)
    if as_json:
        print_json({"held": len(subjects), "until_ms": until_ms})
    else:
        click.echo(f"held until the end of {until.date().isoformat()}")


def _tell(report: Report, *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    for step, count in report.deleted.items():
        click.echo(f"{step}: {count} deleted")
    for each in report.records:
        click.echo(f"a key was destroyed, as the record {each} says")
    if not report.records:
        click.echo("there was no key")
    else:
        click.echo(FINAL)


def _run(work: Callable[[Erasing], Awaitable[T]]) -> T:
    async def run() -> T:
        kafka, mongo = load(KafkaSettings), Mongo(load(MongoSettings))
        producer = AcknowledgedProducer(kafka.bootstrap_servers)
        sealing = Sealing(
            producer,
            kafka.topic(topics.GOODS_BROWSED),
            kafka.browse_partitions,
            load_secret(load(LogSettings).index_secret_file),
        )
        try:
            return await work(Erasing(mongo.database, open_people(mongo.database), sealing, ERASE_STEPS))
        finally:
            await producer.stop(_STOP_S)
            mongo.close()

    with told(ValueError, OSError):
        try:
            return asyncio.run(run())
        except HeldError as error:
            until = datetime.fromtimestamp(error.until_ms / 1000, UTC).isoformat(timespec="minutes")
            why = f": {error.reason}" if error.reason else ""
            raise click.ClickException(
                f"nothing was erased: a legal hold is on it until {until}{why}"
            ) from error
