"""`goodstrace subscribe`: events as they are published, one JSON line each, gone on with from a cursor file."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import msgspec

from goodstrace.cli.asked import KEY, STEP
from goodstrace.cli.options import client_options, connect, json_option
from goodstrace.durable import replace_file
from goodstrace.entry import Position
from goodstrace.event_filter import EventFilter, event_filter
from goodstrace.subscription import NOW, Subscribed
from goodstrace.verification import VerifiedEvent

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


class Kept(msgspec.Struct, frozen=True):
    """What a cursor file holds.

    cursor: where to go on; `positions` is what it says. asked: the filter it is of. output_bytes: how much of the output it
    covers, where that is a file; output_inode: which one, where it is standard output.
    """

    cursor: str
    positions: dict[str, int]
    asked: EventFilter
    output_bytes: int = 0
    output_inode: int = 0


class Output:
    """Where lines go: a file that knows which events are in it already, or standard output, which may be a file too."""

    def __init__(self, path: Path | None, kept: Kept | None) -> None:
        """Write to `path`, or standard output; what is in a file beyond what `kept` covers was written after that was kept."""
        self._file: BinaryIO = path.open("a+b") if path else sys.stdout.buffer
        self._is_ours = path is not None
        self._there: frozenset[Position] = frozenset()
        status = _regular(self._file)
        self.inode = status.st_ino if status and not path else 0
        self._since_bytes = status.st_size if status else 0
        if status and kept and (path or kept.output_inode == self.inode):
            try:
                self._recover(kept.output_bytes, path)
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

    def covered_bytes(self, positions: Mapping[str, int]) -> int:
        """Tell how much of the file a cursor at `positions` covers; 0 for what is no file.

        What was there before stays uncovered as a whole until the cursor is behind all of it: a cursor that comes without
        events, as the first one does, says nothing of lines that were written for a later one.
        """
        if all(index < positions.get(log, 0) for log, index in self._there):
            self._there = frozenset()
            status = _regular(self._file)
            self._since_bytes = status.st_size if status else 0
        return self._since_bytes

    def close(self) -> None:
        """Close the file."""
        if self._is_ours:
            self._file.close()

    def _recover(self, since_bytes: int, path: Path | None) -> None:
        """Find which events were written after the cursor was kept; a line that was cut off is removed.

        Raises: ClickException where the file is shorter than it was.
        """
        number = self._file.fileno()
        if os.fstat(number).st_size < since_bytes:
            raise click.ClickException(
                f"{self._file.name} is shorter than when its cursor was kept: start anew"
            )
        there, whole = set(), since_bytes
        with (path or Path(f"/dev/fd/{number}")).open("rb") as reading:  # ours is open for writing
            reading.seek(since_bytes)
            for line in reading:
                if line.endswith(b"\n"):
                    said = json.loads(line)
                    there.add((said["log"], said["index"]))
                    whole += len(line)
        os.ftruncate(number, whole)
        os.lseek(number, 0, os.SEEK_END)
        self._there, self._since_bytes = frozenset(there), since_bytes


@click.command()
@click.option("--key", "keys", multiple=True, type=KEY, help="Events that name this key, in any spelling.")
@click.option("--merchant", "merchants", multiple=True, type=int, help="Events captured by this merchant.")
@click.option("--step", "steps", multiple=True, type=STEP, help="Events of this step, such as shipping.")
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
    "this command is killed. So it is where standard output is a file that is appended to (>>).",
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
@json_option
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
    as_json: bool,  # noqa: ARG001 - lines are JSON in any case; every command takes the option
    **connection: Any,
) -> None:
    """Print events as they are published, one JSON line each.

    Each of --key, --merchant, --step and --prefix may be given several times: one of each kind that is given must match. Every
    event has been verified, and the look is recorded. In a file each event is once, whenever this command is killed; in a pipe
    what was written last may come again, with the same `log` and `index`.
    """
    asked = event_filter(keys, merchants, steps, prefixes)
    if output and not cursor_file:
        raise click.UsageError("--output wants --cursor-file: else nobody knows what is in it")
    kept = _kept(cursor_file, asked) if cursor_file else None
    if output and kept is None and output.exists() and output.stat().st_size:
        raise click.UsageError(f"{output} is not empty, and there is no cursor in {cursor_file}")
    with (
        contextlib.closing(Output(output, kept)) as out,
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
                    _keep(cursor_file, message, asked, out)
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
        "personal": event.personal(),
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


def _keep(path: Path, message: Subscribed, asked: EventFilter, out: Output) -> None:
    covered = out.covered_bytes(message.positions)
    kept = Kept(message.cursor, dict(message.positions), asked, covered, out.inode)
    try:
        replace_file(path, msgspec.json.encode(kept).decode())
    except OSError as error:
        raise click.ClickException(f"cannot keep the cursor in {path}: {error}") from error


def _regular(file: BinaryIO) -> os.stat_result | None:
    """Give the status of a regular file; None for a pipe, a terminal, and what has no number."""
    with contextlib.suppress(OSError):
        status = os.fstat(file.fileno())
        return status if stat.S_ISREG(status.st_mode) else None
    return None
