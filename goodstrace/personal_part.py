"""The clear content of a record's part `personal`: what was taken out of an event, and how it goes back. Pure.

The part itself is encrypted (docs/personal-data.md); who has its key reads this. RFC 8785 JSON of strings and integers: `cuts`, each the
bytes that were cut out and where they begin in the event as it was sent; `pointers`, the places in that event's JSON form that
were named by the table `table`; `v` 1. `tests/vectors/personal_part.json` holds published examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from goodstrace.errors import EntryError
from goodstrace.event_content import read_event

__all__ = ["PART", "Cut", "Personal", "cut_out", "decode", "encode", "put_back", "values"]

PART: Final = "personal"
VERSION: Final = 1


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Text that was cut out: `at` is the byte at which it begins in the event as it was sent."""

    at: int
    text: str


class Personal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was taken out of an event: `cuts` in their order, `pointers` RFC 6901, `table` what the table is called."""

    cuts: tuple[Cut, ...]
    pointers: tuple[str, ...]
    table: str
    v: int = VERSION


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(Personal)


def encode(personal: Personal) -> bytes:
    """Encode what was taken out; the same always gives the same bytes."""
    return _ENCODER.encode(personal)


def decode(content: bytes) -> Personal:
    """Decode the clear content of the part. Raises: EntryError, whatever the bytes."""
    try:
        found = _DECODER.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EntryError(f"not what was taken out of an event: {error}") from error
    if found.v != VERSION:
        raise EntryError(f"what was taken out of an event is of version {found.v}, which is not known here")
    return found


def cut_out(content: bytes, spans: Sequence[tuple[int, int]]) -> tuple[bytes, tuple[Cut, ...]]:
    """Cut spans of bytes out of an event.

    Args:
        content: UTF-8.
        spans: (begin, end) of each, in order, none overlapping another, none within a character.
    Returns: what is left, and what was cut: `put_back` makes `content` of the two again.
    """
    left, cuts, at = [], [], 0
    for begin, end in spans:
        left.append(content[at:begin])
        cuts.append(Cut(begin, content[begin:end].decode()))
        at = end
    return b"".join([*left, content[at:]]), tuple(cuts)


def put_back(content: bytes, personal: Personal) -> bytes:
    """Make an event as it was sent of its sealed bytes and what was taken out. Raises: EntryError where the two do not fit."""
    made, taken = [], 0
    whole = 0
    for cut in personal.cuts:
        kept = cut.at - whole
        if kept < 0 or taken + kept > len(content):
            raise EntryError("what was taken out does not fit the event")
        text = cut.text.encode("utf-8", "replace")
        made += [content[taken : taken + kept], text]
        taken += kept
        whole += kept + len(text)
    return b"".join([*made, content[taken:]])


def values(content: bytes, context: object, personal: Personal) -> dict[str, Any]:
    """Give what was taken out by its JSON pointer in the event as it was sent.

    Args:
        content: the event's sealed bytes.
        context: the `context` of its facts.
        personal: what was taken out.
    Raises: EntryError where they do not fit; EventContentError.
    """
    event = read_event(put_back(content, personal), context)
    return {pointer: _at(event, pointer) for pointer in personal.pointers}


def _at(value: Any, pointer: str) -> Any:
    try:
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            value = value[int(name)] if isinstance(value, list) else value[name]
    except (LookupError, ValueError, TypeError) as error:
        raise EntryError(f"nothing was at {pointer[:100]!r}") from error
    return value
