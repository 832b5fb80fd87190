"""`goodstrace subscribe`: events as they are published, one JSON line each, gone on with from a cursor file."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import msgspec

from goodstrace.cli.options import client_options, connect
from goodstrace.durable import replace_file
from goodstrace.event_filter import EventFilter, event_filter
from goodstrace.subscription import NOW, Subscribed
from goodstrace.verification import VerifiedEvent

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
Place = tuple[str, int]


class Kept(msgspec.Struct, frozen=True):
    """What a cursor file holds.

    cursor: where to go on; `positions` is what it says. asked: the filter it is of. output_bytes: how long the output file was.
    """

    cursor: str
    positions: dict[str, int]
    asked: EventFilter
    output_bytes: int = 0


class Output:
    """Where lines go: standard output, or a file that knows which events are in it already."""

    def __init__(self, path: Path | None, since_bytes: int) -> None:
        """Write to `path`; what is in it beyond `since_bytes` was written after the cursor was kept last."""
        self._file: BinaryIO = path.open("a+b") if path else sys.stdout.buffer
        try:
            self._there = frozenset(_recovered(self._file, since_bytes)) if path else frozenset[Place]()
        except BaseException:
            self.close()
            raise

    def write(self, events: tuple[VerifiedEvent, ...]) -> None:
        """Write the events that are not there yet; on disk when this returns, where it is a file."""
        for event in events:
            if (event.position.log, event.position.index) not in self._there:
                self._file.write(_ENCODER.encode(document(event)) + b"\n")
        self._file.flush()
        with contextlib.suppress(OSError):  # a pipe or a terminal has no disk
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not sys.stdout.buffer:
            self._file.close()

    def size_bytes(self) -> int:
        """Tell how long the file is; 0 for what is none."""
        with contextlib.suppress(OSError):
            return os.fstat(self._file.fileno()).st_size
        return 0


@click.command()
@click.option("--key", "keys", multiple=True, help="Events that name this key, in any spelling.")
@click.option("--merchant", "merchants", multiple=True, type=int, help="Events captured by this merchant.")
@click.option("--step", "steps", multiple=True, help="Events of this step, such as shipping.")
@click.option("--prefix", "prefixes", multiple=True, help="Events that name something of this GS1 company.")
@click.option(
    "--from",
    "start",
    default=NOW,
    show_default=True,
    metavar="beginning|now|CURSOR",
    help="Where to begin, where the cursor file does not say it.",
)
@click.option(
    "--cursor-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the cursor here after what it covers is written, and go on from it.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append to this file instead of standard output: with the cursor file every event is in it once, whenever "
    "this command is killed.",
)
@click.option("--once", is_flag=True, help="End when all that is published was seen.")
@click.option(
    "--patience",
    "patience_s",
    default=300.0,
    show_default=True,
    help="Seconds to wait for a service that is away.",
)
@client_options
def subscribe(
    *,
    keys: tuple[str, ...],
    merchants: tuple[int, ...],
    steps: tuple[str, ...],
    prefixes: tuple[str, ...],
    start: str,
    cursor_file: Path | None,
    output: Path | None,
    once: bool,
    patience_s: float,
    **connection: Any,
) -> None:
    """Print events as they are published, one JSON line each.

    Each of --key, --merchant, --step and --prefix may be given several times: one of each kind that is given must match. Every
    event has been verified, and the look is recorded. On standard output what was written last may come again after a kill,
    with the same `log` and `index`; in --output FILE it does not.
    """
    asked = event_filter(keys, merchants, steps, prefixes)
    if output and not cursor_file:
        raise click.UsageError("--output wants --cursor-file: else nobody knows what is in it")
    kept = _kept(cursor_file, asked) if cursor_file else None
    if output and kept is None and output.exists() and output.stat().st_size:
        raise click.UsageError(f"{output} is not empty, and there is no cursor in {cursor_file}")
    with (
        contextlib.closing(Output(output, kept.output_bytes if kept else 0)) as out,
        connect(**connection) as client,
    ):
        messages = client.subscribe(
            keys=keys,
            merchants=merchants,
            steps=steps,
            prefixes=prefixes,
            start=kept.cursor if kept else start,
            patience_s=patience_s,
        )
        with contextlib.closing(messages):
            for message in messages:
                out.write(message.events)
                if cursor_file:
                    _keep(cursor_file, message, asked, out.size_bytes() if output else 0)
                if once and message.caught_up:
                    return


def document(event: VerifiedEvent) -> Mapping[str, Any]:
    """Give a verified event as JSON-like values."""
    return {
        "log": event.position.log,
        "index": event.position.index,
        "verified": True,
        "identity": event.identity,
        "merchant": event.position.entry.merchant,
        "time_ms": event.position.entry.time,
        "event_id": event.facts.event_id if event.facts else None,
        "signed_by": event.signed_by,
        "facts": msgspec.to_builtins(event.facts) if event.facts else None,
        "event": event.document(),
    }


def _kept(path: Path, asked: EventFilter) -> Kept | None:
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise click.ClickException(f"cannot read the cursor in {path}: {error}") from error
    if kept.asked != asked:
        raise click.ClickException(f"the cursor in {path} is of another subscription: {kept.asked.text()}")
    return kept


def _keep(path: Path, message: Subscribed, asked: EventFilter, output_bytes: int) -> None:
    kept = Kept(message.cursor, dict(message.positions), asked, output_bytes)
    try:
        replace_file(path, msgspec.json.encode(kept).decode())
    except OSError as error:
        raise click.ClickException(f"cannot keep the cursor in {path}: {error}") from error


def _recovered(file: BinaryIO, since_bytes: int) -> Iterator[Place]:
    """Find which events were written after the cursor was kept; a line that was cut off is removed.

    Raises: ClickException where the file is shorter than it was.
    """
    if os.fstat(file.fileno()).st_size < since_bytes:
        raise click.ClickException(f"{file.name} is shorter than when its cursor was kept: start anew")
    file.seek(since_bytes)
    whole = since_bytes
    for line in file:
        if line.endswith(b"\n"):
            said = json.loads(line)
            yield said["log"], said["index"]
            whole += len(line)
    file.truncate(whole)
    file.seek(0, os.SEEK_END)
