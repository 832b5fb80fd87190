"""What an index witness is given of neighbouring entries: each with its tags, and of the logs `root` and `index` the parts.

The parts of those logs are public; tags are for who may have the index secret. A bundle is a JSON list; byte strings are base64.
Nothing in it is to be believed until `verify` returned, and the entry only as far as its log's tree says. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from goodstrace import entry as entries
from goodstrace.completeness.rows import split
from goodstrace.entry import TAG_BYTES, Entry
from goodstrace.errors import EntryError
from goodstrace.proof_file import DisclosedPart
from goodstrace.tiles import TILE_WIDTH

MAX_BUNDLE_BYTES: Final = 256 * 2**20


class TaggedEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry's exact bytes, its tags, sorted and joined, and those of its parts that are public."""

    entry: bytes
    tags: bytes
    parts: tuple[DisclosedPart, ...] = ()


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(list[TaggedEntry])


def encode(bundle: Sequence[TaggedEntry]) -> bytes:
    """Encode 1..256 entries in log order."""
    return _ENCODER.encode(bundle)


def decode(data: bytes, count: int) -> list[TaggedEntry]:
    """Read a bundle of `count` entries. Raises: EntryError, where it is none, or has more or fewer."""
    try:
        bundle = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EntryError(f"not a bundle of tagged entries: {error}") from error
    if len(bundle) != count or count > TILE_WIDTH:
        raise EntryError(f"the bundle has {len(bundle)} entries, not {count}")
    return bundle


def verify(tagged: TaggedEntry) -> tuple[Entry, list[bytes], dict[str, bytes]]:
    """Check tags and parts against the entry; gives the entry, its tags and the parts' contents by name. Raises: EntryError."""
    entry, tags = entries.decode(tagged.entry), split(tagged.tags, TAG_BYTES)
    if entries.tags_commitment(tags) != entry.tags:
        raise EntryError(f"entry {entry.id} does not commit to these tags")
    for part in tagged.parts:
        entries.verify_part(entry, part.name, part.salt, part.content)
    return entry, tags, {part.name: part.content for part in tagged.parts}
