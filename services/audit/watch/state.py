"""What the watch keeps of one subject: counts in panes, which records are in them, and which alerts went out. Pure.

Bounded: as many panes as the rules need, sets of the smallest members, a number for each partition of `browse.watched`.
Names nobody: users are pseudonyms of a day, and hashes of such.
"""

from typing import Final

import msgspec

from services.audit.watch.sketches import DISTINCT_KEPT, keep
from services.audit.watch.values import Seen

EVIDENCE_KEPT: Final = 16
"""Record IDs of each sort in a pane. They are random, so the smallest ones are a fair sample, the same at each replay."""
NUMBERS_KEPT: Final = 512


class Pane(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The counts of one pane; sets are ordered lists of the smallest members."""

    looks: int = 0
    refused: int = 0
    sign_ins: int = 0
    sign_ins_refused: int = 0
    shown: int = 0
    keys: list[int] = []
    users: list[int] = []
    users_refused: list[int] = []
    networks: list[int] = []
    numbers: list[int] = []
    evidence: list[bytes] = []
    evidence_refused: list[bytes] = []
    first_seen: int = 0
    answered: int = 0
    failed: int = 0
    withheld: int = 0


class State(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """All of one subject.

    counted: by partition of `browse.watched` the last offset that is in here; records at or below it are skipped: that makes the counts
    exact however often a record comes. first_ms: the earliest record time. last_ms: the latest one. panes: by their
    starts. told: rule and window start of each alert that went out.
    """

    counted: dict[int, int] = {}
    first_ms: int = 0
    last_ms: int = 0
    panes: dict[int, Pane] = {}
    told: list[tuple[str, int]] = []


def encode(state: State) -> bytes:
    """Encode a state."""
    return _ENCODER.encode(state)


def decode(data: bytes | None) -> State:
    """Decode a state, a new one of nothing. Raises: msgspec.DecodeError."""
    return State() if data is None else _DECODER.decode(data)


def is_counted(state: State, source: int, offset: int) -> bool:
    """Say whether a record is in the state already."""
    return offset <= state.counted.get(source, -1)


def count(state: State, source: int, seen: Seen, pane: int) -> None:
    """Count a record into its pane."""
    state.counted[source] = seen.offset
    state.first_ms = min(state.first_ms or seen.time_ms, seen.time_ms)
    state.last_ms = max(state.last_ms, seen.time_ms)
    into = state.panes.setdefault(pane, Pane())
    into.looks += seen.looks
    into.refused += seen.refused
    into.sign_ins += seen.sign_ins
    into.sign_ins_refused += seen.sign_ins_refused
    into.shown += seen.shown
    into.first_seen += seen.first_seen
    into.answered += seen.answered
    into.failed += seen.failed
    into.withheld += seen.withheld
    for key in seen.keys:
        keep(into.keys, key, DISTINCT_KEPT)
    if seen.user:
        keep(into.users, seen.user, DISTINCT_KEPT)
        if seen.sign_ins_refused:
            keep(into.users_refused, seen.user, DISTINCT_KEPT)
    if seen.network:
        keep(into.networks, seen.network, DISTINCT_KEPT)
    for number in seen.numbers:
        keep(into.numbers, number, NUMBERS_KEPT)
    is_refused = seen.refused or seen.sign_ins_refused or seen.failed or seen.withheld
    if seen.id:
        keep(into.evidence_refused if is_refused else into.evidence, seen.id, EVIDENCE_KEPT)


def forget(state: State, floor_ms: int, longest_ms: int) -> None:
    """Drop the panes that start before `floor_ms`, and what was told of windows that ended before it; no window is longer than `longest_ms`."""
    for pane in [pane for pane in state.panes if pane < floor_ms]:
        del state.panes[pane]
    if state.told:
        state.told = [each for each in state.told if each[1] + longest_ms > floor_ms]


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(State)
