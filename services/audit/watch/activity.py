"""The statistics of one subject in one window, as they are shown. Pure."""

from collections.abc import Iterable, Iterator

import msgspec

from services.audit.watch.daily import distinct_users
from services.audit.watch.sketches import DISTINCT_KEPT, distinct, union
from services.audit.watch.state import State
from services.audit.watch.values import Kind
from services.audit.watch.windows import whole

LEAST_LOOKS = 3
"""Of a key in a window: rarer ones are not kept; who looked at them is in the log."""


class Activity(msgspec.Struct, frozen=True):
    """What one subject did, or what was done with it, in the window that starts at `start_ms`; numbers never fall.

    subject: of ALL the partition that counts it, or "answers". looks to shown: sums. keys, users, networks: how many distinct ones, exact up to 255; in
    a window over midnight the users of that day that had more. first_seen: how many users came for the first time. answered,
    failed, withheld: of ALL, how answers ended.
    """

    kind: Kind
    subject: str
    start_ms: int
    looks: int
    refused: int
    sign_ins: int
    sign_ins_refused: int
    shown: int
    keys: int
    users: int
    networks: int
    first_seen: int = 0
    answered: int = 0
    failed: int = 0
    withheld: int = 0


def activities(
    kind: Kind, subject: str, state: State, panes: Iterable[int], size_ms: int
) -> Iterator[Activity]:
    """Give the statistics of the windows that hold these panes; none of kinds that have none."""
    if kind in (Kind.LOT, Kind.SERIES):
        return
    for start in sorted({pane - pane % size_ms for pane in panes}):
        starts = whole(start, size_ms, state.panes)
        inside = [state.panes[pane] for pane in starts]
        looks = sum(pane.looks for pane in inside)
        if kind is Kind.KEY and looks < LEAST_LOOKS:
            continue
        yield Activity(
            kind=Kind.ALL if kind is Kind.ANSWERS else kind,
            subject=str(kind) if kind is Kind.ANSWERS else subject,
            start_ms=start,
            looks=looks,
            refused=sum(pane.refused for pane in inside),
            sign_ins=sum(pane.sign_ins for pane in inside),
            sign_ins_refused=sum(pane.sign_ins_refused for pane in inside),
            shown=sum(pane.shown for pane in inside),
            keys=_distinct([pane.keys for pane in inside]),
            users=distinct_users({pane: state.panes[pane].users for pane in starts}),
            networks=_distinct([pane.networks for pane in inside]),
            first_seen=sum(pane.first_seen for pane in inside),
            answered=sum(pane.answered for pane in inside),
            failed=sum(pane.failed for pane in inside),
            withheld=sum(pane.withheld for pane in inside),
        )


def _distinct(sets: list[list[int]]) -> int:
    return distinct(sets[0] if len(sets) == 1 else union(sets, DISTINCT_KEPT))
