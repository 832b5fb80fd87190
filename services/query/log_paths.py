"""What a request's path asks of the public logs. Pure; strict: each resource has one path, anything else has none."""

import re
from enum import StrEnum
from typing import Final, NamedTuple

from goodstrace.bundles import parse_bundle_path
from goodstrace.errors import TreeError
from goodstrace.tiles import Tile, parse_tile_path

MAX_PATH: Final = 256
_LOG: Final = re.compile(r"/logs/([a-z][a-z0-9.-]{0,63}(?:/(?:0|[1-9][0-9]{0,5}))?)/([^%]+)", re.ASCII)


class Kind(StrEnum):
    """Kinds of requests: also the metrics' label."""

    INDEX = "index"
    LIST = "list"
    CHECKPOINT = "checkpoint"
    KEYS = "keys"
    TILE = "tile"
    ENTRIES = "entries"
    OTHER = "other"


class Asked(NamedTuple):
    """What a path asks for.

    `log` is empty for the index and the list. `tile` is set for a tile; for an entry bundle it is the tile of its leaves.
    """

    kind: Kind
    log: str = ""
    tile: Tile | None = None


_FIXED: Final = {"/": Asked(Kind.INDEX), "/logs": Asked(Kind.LIST)}
_OF_A_LOG: Final = {"checkpoint": Kind.CHECKPOINT, "keys": Kind.KEYS}


def parse(path: str) -> Asked:
    """Read a path as it was sent, percent-encoding not decoded; `Kind.OTHER` where it names nothing."""
    match = _LOG.fullmatch(path) if len(path) <= MAX_PATH else None
    if match is None:
        return _FIXED.get(path, Asked(Kind.OTHER))
    log, rest = match.groups()
    if rest in _OF_A_LOG:
        return Asked(_OF_A_LOG[rest], log)
    try:
        if rest.startswith("tile/entries/"):
            return Asked(Kind.ENTRIES, log, Tile(0, *parse_bundle_path(rest)))
        return Asked(Kind.TILE, log, parse_tile_path(rest))
    except TreeError:
        return Asked(Kind.OTHER)
