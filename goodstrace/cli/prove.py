"""`goodstrace prove`: store the proof of an entry, to hand it on to whoever has the log's key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape

from goodstrace.cli.display import console
from goodstrace.cli.options import client_options, connect, json_option, print_json
from goodstrace.client import Client
from goodstrace.errors import GoodstraceError
from goodstrace.log_keys import is_log
from goodstrace.proof_file import SUFFIX, encode_parts
from goodstrace.verification import VerifiedEntry

PARTS_SUFFIX = ".parts.json"
_PRINTED: Final = re.compile(r"(.+)\[([0-9]+)\]")
"""A place as `trace` and others print it."""


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="LOG INDEX | LOG[INDEX] | EVENT-ID")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help=f"Where to write the proof; by custom FILE ends with {SUFFIX}.",
)
@click.option("--size", default=0, type=click.IntRange(0), help="Prove it under the checkpoint of this size.")
@click.option(
    "--entry",
    "entry_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the entry's bytes here too, for tools that take the leaf from a file.",
)
@click.option(
    "--with-parts",
    is_flag=True,
    help=f"Write the parts disclosed for EVENT-ID beside the proof, into FILE{PARTS_SUFFIX}.",
)
@client_options
@json_option
def prove(
    what: tuple[str, ...],
    out: Path,
    size: int,
    entry_file: Path | None,
    *,
    with_parts: bool,
    as_json: bool,
    **connection: Any,
) -> None:
    """Write a C2SP tlog-proof of an entry: `goodstrace verify FILE` checks it without any service.

    Name the entry by LOG and INDEX, such as `goods/0 12`, or `goods/0[12]` as it is printed; that is not recorded, since it shows nothing of the event. Or by
    EVENT-ID (or event hash): that is a look-up, and recorded. Where several entries have that name, the second goes to
    FILE with -2 before its suffix, and so on.
    """
    if len(what) == 1 and (printed := _PRINTED.fullmatch(what[0])) and is_log(printed[1]):
        what = (printed[1], printed[2])
    by_place = len(what) == 2 and what[1].isascii() and what[1].isdecimal()
    if not by_place and len(what) != 1:
        raise click.UsageError("name the entry by LOG and INDEX or by EVENT-ID")
    if not by_place and is_log(what[0]):
        raise click.UsageError(
            f"{what[0]} is a log: name the INDEX of the entry as well, such as {what[0]} 12"
        )
    if by_place and with_parts:
        raise click.UsageError("--with-parts shows what was sealed, and that is looked up by EVENT-ID")
    with connect(**connection) as client:
        places = [_Place(what[0], int(what[1]))] if by_place else _of_event(client, what[0])
        if entry_file is not None and len(places) > 1:
            raise click.UsageError(f"{len(places)} entries have this name: --entry wants LOG and INDEX")
        written = []
        for number, place in enumerate(places, start=1):
            file = out if number == 1 else out.with_stem(f"{out.stem}-{number}")
            written.append(_write(client, place, size, file, entry_file, with_parts=with_parts))
    if as_json:
        print_json({"proofs": written})
    else:
        for each in written:
            _show(each, console())


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an entry is, and what was disclosed of it."""

    log: str
    index: int
    shown: VerifiedEntry | None = None


def _of_event(client: Client, event_id: str) -> list[_Place]:
    """List where an event is sealed, with what was disclosed of it."""
    events = client.event(event_id)
    if not events:
        raise GoodstraceError(f"nothing sealed has the event ID {event_id}")
    return [_Place(entry.log, entry.index, entry) for shown in events for entry in shown.event.shown_at]


def _write(
    client: Client, place: _Place, size: int, file: Path, entry_file: Path | None, *, with_parts: bool
) -> dict[str, Any]:
    proof, verified = client.proof_file(place.log, place.index, size)
    disclosed = place.shown if with_parts else None
    parts_file = file.with_name(file.name + PARTS_SUFFIX) if disclosed is not None else None
    try:
        file.write_text(proof.encode(), encoding="utf-8")
        if entry_file is not None:
            entry_file.write_bytes(verified.entry_bytes)
        if parts_file is not None and disclosed is not None:
            salted = {
                name: (disclosed.salts[name], disclosed.sealed.get(name, content))
                for name, content in disclosed.parts.items()
            }
            parts_file.write_bytes(encode_parts(salted))
    except OSError as error:
        raise click.ClickException(f"cannot write the proof: {error}") from error
    return {
        "file": str(file),
        "entry_file": str(entry_file) if entry_file else None,
        "parts_file": str(parts_file) if parts_file else None,
        "log": place.log,
        "index": place.index,
        "id": verified.entry.id,
        "size": verified.checkpoint.size,
        "origin": verified.checkpoint.origin,
    }


def _show(written: dict[str, Any], out: Console) -> None:
    out.print(
        f"{escape(written['file'])}: {written['log']}\\[{written['index']}] in the log of {written['size']} entries"
    )
    for name, what in (("entry_file", "the entry's bytes"), ("parts_file", "the parts disclosed")):
        if written[name]:
            out.print(f"{escape(written[name])}: {what}")
