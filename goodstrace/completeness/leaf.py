"""What an entry of the log `index` says: how far it covers which logs, and the runs that hold their rows.

The part `index` of such an entry is RFC 8785 JSON of strings and integers only. A run is defined by its content: the rows of
all entries that the logs hold at what the root log's first `to` entries pin, less those at its first `since`. So any order of
merging gives runs that anybody can make again. `tests/vectors/completeness.json` holds published examples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import msgspec

from goodstrace.completeness.rows import MAX_LOG_NUMBER, page_count
from goodstrace.errors import EntryError
from goodstrace.merkle import EMPTY_ROOT

INDEX_PART: Final = "index"
INDEXED_PREFIX: Final = "goods/"
"""The logs that are indexed are those whose names begin so."""
LEAF_VERSION: Final = 1
MAX_RUNS: Final = 128
MAX_LOGS: Final = 4096
MAX_LEAF_BYTES: Final = 512 * 1024
_MAX_INTEGER: Final = 2**53 - 1
_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")
_LOG: Final = re.compile(r"[a-z0-9./-]{1,80}\Z")
_COMMITMENT: Final = b"goodstrace index secret commitment v1\n"


class IndexedLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A log and how many of its entries are covered; its number in rows is its place in the list."""

    log: str
    size: int


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run: `rows` of them under `root` (hex), of what was sealed between the root log's sizes `since` and `to`."""

    root: str
    rows: int
    since: int
    to: int

    @property
    def pages(self) -> int:
        """How many pages, which are the leaves under `root`."""
        return page_count(self.rows)


class RootAt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The root log as it was at `size` entries: its root `hash` (hex)."""

    hash: str
    size: int


class IndexLeaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an entry of the log `index` says.

    Attributes:
        logs: the logs covered, each with the newest size that the root log's first `root.size` entries pin.
        root: the root log that it goes by.
        runs: live runs, oldest first, which together cover the root log from 0 to `root.size`.
        secret: commitment to the secret that tags are made with, hex; see `secret_commitment`.
    """

    logs: tuple[IndexedLog, ...]
    root: RootAt
    runs: tuple[Run, ...]
    secret: str
    v: int = LEAF_VERSION

    def sizes(self) -> dict[str, int]:
        """Give how many entries of each log are covered, by name."""
        return {each.log: each.size for each in self.logs}

    def numbers(self) -> dict[str, int]:
        """Give the number of each log in rows, by name."""
        return {each.log: number for number, each in enumerate(self.logs)}


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(IndexLeaf)


def empty(secret: str) -> IndexLeaf:
    """Give the leaf that the first one follows: nothing is covered."""
    return IndexLeaf((), RootAt(EMPTY_ROOT.hex(), 0), (), secret)


def secret_commitment(secret: bytes) -> str:
    """Commit to the index secret: SHA-256 over a line of its own and the secret, hex. The secret is 32 random bytes."""
    return sha256(_COMMITMENT + secret).hexdigest()


def encode(leaf: IndexLeaf) -> bytes:
    """Encode as RFC 8785 JSON. Raises: EntryError where a field is out of its limits, or the runs leave a gap."""
    if problem := problem_of(leaf):
        raise EntryError(f"not an index leaf: {problem}")
    data = _ENCODER.encode(leaf)
    if len(data) > MAX_LEAF_BYTES:
        raise EntryError(f"an index leaf of {len(data)} bytes is over {MAX_LEAF_BYTES}")
    return data


def decode(data: bytes) -> IndexLeaf:
    """Decode exact bytes; whatever is not what `encode` makes of the result is refused. Raises: EntryError, only."""
    if len(data) > MAX_LEAF_BYTES:
        raise EntryError(f"an index leaf of {len(data)} bytes is over {MAX_LEAF_BYTES}")
    try:
        leaf = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EntryError(f"not an index leaf: {error}") from error
    if encode(leaf) != data:
        raise EntryError("an index leaf is not in its canonical form")
    return leaf


def problem_of(leaf: IndexLeaf) -> str:
    """Say what is wrong with a leaf by itself; the empty text where nothing is."""
    if leaf.v != LEAF_VERSION:
        return f"version {leaf.v} is not {LEAF_VERSION}"
    if len(leaf.runs) > MAX_RUNS or len(leaf.logs) > min(MAX_LOGS, MAX_LOG_NUMBER + 1):
        return "too many runs or logs"
    names = [each.log for each in leaf.logs]
    if len(set(names)) != len(names) or not all(
        _LOG.match(each.log) and 0 < each.size <= _MAX_INTEGER for each in leaf.logs
    ):
        return "its logs are not as they must be"
    if not all(_HASH.match(each) for each in (leaf.secret, leaf.root.hash, *(run.root for run in leaf.runs))):
        return "a hash is not 32 bytes in hex"
    reached = 0
    for run in leaf.runs:
        if (
            run.since != reached
            or not run.since < run.to <= _MAX_INTEGER
            or not 0 <= run.rows <= _MAX_INTEGER
        ):
            return f"the run {run.since}..{run.to} does not follow the one before"
        reached = run.to
    return "" if reached == leaf.root.size else f"its runs end with {reached}, not {leaf.root.size}"


def succession_problem(before: IndexLeaf, after: IndexLeaf) -> str:
    """Say why a leaf cannot follow another one in the log `index`; the empty text where it can.

    Logs keep their numbers and grow; the root log grows; each run before is kept, or is part of a merged one.
    """
    sizes = after.sizes()
    if [each.log for each in after.logs[: len(before.logs)]] != [each.log for each in before.logs]:
        return "logs have other numbers than before"
    if any(sizes[each.log] < each.size for each in before.logs):
        return "it covers less of a log than before"
    if after.root.size <= before.root.size:
        return f"its root log has {after.root.size} entries, not more than before"
    if after.secret != before.secret:
        return "it commits to another index secret"
    bounds = {run.since for run in before.runs} | {before.root.size}
    if any(run.since not in bounds for run in after.runs):
        return "a run begins where none did before"
    return ""


def merged_from(run: Run, before: Mapping[int, Run]) -> tuple[list[Run], int]:
    """List the runs before that a run is made of, by where they begin, and where those end."""
    parts, reached = [], run.since
    while reached in before and before[reached].to <= run.to:
        parts.append(before[reached])
        reached = before[reached].to
    return parts, reached
