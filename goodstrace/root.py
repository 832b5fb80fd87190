"""What the root log's entries say: the checkpoints of all other logs, each with the hash of the block that it ends with.

The part `checkpoint` of such an entry is RFC 8785 JSON of strings and integers only, as block headers are. Who holds a
checkpoint of the root log thereby holds one of every log, and the block's hash pins what a tree's root does not: the
headers before it, with the Kafka offsets they cover. Where a log's key has changed, the entry has its changes as well.
"""

import re
from typing import Final

import msgspec

from goodstrace.errors import EntryError

CHECKPOINT_PART: Final = "checkpoint"
KEY_CHANGES_PART: Final = "key-changes"
"""Beside the first checkpoint of a log that another key signed: all changes of its key, one statement a line."""
TAG_KEY: Final = b"goodstrace root log".ljust(32, b"\0")
"""In the place of the index secret: what is pinned is public, and anybody may know where to find it."""
MAX_PINNED_BYTES: Final = 8 * 1024
_MAX_INTEGER: Final = 2**53 - 1
_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


class PinnedHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a log had come: `note` is its signed checkpoint, `height` the block that the checkpoint ends with.

    `block` is the hash of that block's header (goodstrace.block.header_hash, hex); `log` the log's name.
    """

    block: str
    height: int
    log: str
    note: str


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(PinnedHead)


def encode(pinned: PinnedHead) -> bytes:
    """Encode as RFC 8785 JSON. Raises: EntryError where a field is out of its limits."""
    _check(pinned)
    data = _ENCODER.encode(pinned)
    if len(data) > MAX_PINNED_BYTES:
        raise EntryError(f"a pinned checkpoint of {len(data)} bytes is over {MAX_PINNED_BYTES}")
    return data


def decode(data: bytes) -> PinnedHead:
    """Decode exact bytes; whatever is not what `encode` makes of the result is refused. Raises: EntryError, only."""
    try:
        pinned = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EntryError(f"not a pinned checkpoint: {error}") from error
    if encode(pinned) != data:
        raise EntryError("a pinned checkpoint is not in its canonical form")
    return pinned


def tag_text(log: str, size: int) -> str:
    """Name what an entry of the root log is found by, under TAG_KEY and TagKind.CHECKPOINT: a log at a size."""
    return f"{log}@{size}"


def _check(pinned: PinnedHead) -> None:
    # A note has no control characters but newlines, so that sorted compact JSON is RFC 8785.
    sound = (
        _HASH.match(pinned.block) is not None
        and 0 <= pinned.height <= _MAX_INTEGER
        and pinned.log.isascii()
        and pinned.log.isprintable()
        and not any(character < " " and character != "\n" for character in pinned.note)
    )
    if not sound:
        raise EntryError(f"a pinned checkpoint of {pinned.log!r} has a field out of its limits")
