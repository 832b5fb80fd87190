"""C2SP tlog-tiles entry bundles: up to 256 neighbouring entries of a log, each behind its length.

Bundle n holds the entries from 256 * n on; its leaf hashes are tile n of level 0. Source: c2sp.org/tlog-tiles, "Log entries".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from goodstrace.errors import TreeError
from goodstrace.tiles import TILE_WIDTH, number_path, parse_number_path

MAX_ENTRY_BYTES: Final = 0xFFFF
_PREFIX: Final = "tile/entries/"
_LENGTH_BYTES: Final = 2


def bundle_path(n: int, width: int = TILE_WIDTH) -> str:
    """Return the bundle's path below the log's URL, as in `tile/entries/x001/x234/067.p/12`.

    Args:
        n: the bundle's number, not negative.
        width: 1..256 entries; only a partial bundle (under 256) has the suffix `.p/<width>`.
    Raises: TreeError, if an argument is out of range.
    """
    if n < 0 or not 1 <= width <= TILE_WIDTH:
        raise TreeError(f"there is no entry bundle {n} of width {width}")
    return _PREFIX + number_path(n, width)


def parse_bundle_path(path: str) -> tuple[int, int]:
    """Read a bundle's number and width: the inverse of `bundle_path`, and nothing that it would write otherwise.

    Raises: TreeError.
    """
    if not path.startswith(_PREFIX):
        raise TreeError(f"not the path of an entry bundle: {path[:80]!r}")
    return parse_number_path(path.removeprefix(_PREFIX))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Join 1..256 entries, each behind its length as a big-endian uint16.

    Raises: TreeError, if there are none or too many, or one is over 65,535 bytes.
    """
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise TreeError(f"a bundle holds 1 to {TILE_WIDTH} entries, not {len(entries)}")
    if max(map(len, entries)) > MAX_ENTRY_BYTES:
        raise TreeError(f"an entry of a bundle has at most {MAX_ENTRY_BYTES} bytes")
    return b"".join(len(entry).to_bytes(_LENGTH_BYTES) + entry for entry in entries)


def decode_bundle(data: bytes) -> list[bytes]:
    """Take a bundle apart into its 1..256 entries. They are not checked: their leaf hashes are, against the tile.

    Raises: TreeError, if the bytes are not a whole bundle.
    """
    entries: list[bytes] = []
    place = 0
    while place < len(data):
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(data[place:start])
        if start > len(data) or place > len(data) or len(entries) == TILE_WIDTH:
            raise TreeError(f"not an entry bundle: it ends within an entry, or holds more than {TILE_WIDTH}")
        entries.append(data[start:place])
    if not entries:
        raise TreeError("not an entry bundle: it is empty")
    return entries
