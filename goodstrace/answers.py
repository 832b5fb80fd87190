"""What the verifying client gives: whole answers, in which everything is verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from goodstrace.complete import Complete
from goodstrace.query.v1 import trace_pb2
from goodstrace.receipts import Receipt
from goodstrace.retrace import ShownEvent
from goodstrace.verification import VerifiedCheckpoint
from goodstrace.withheld import Withheld


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace, verified: `nodes` by level, `events` by time, the checkpoints they are proved under.

    `withheld` and `erased` count events with a part not shown; `total_withheld` what was met and the caller may not see at all:
    `withheld_entries` prove it sealed. `truncated` is true where a limit of the walk was reached.
    `tree_verified` is true where the client walked the tree again over the proved events and found the same; it cannot where
    the answer is truncated, facts are withheld or events are filtered; `filtered` counts these. `complete` says up to where it was
    shown that nothing is left out; None where that was not, and `incomplete_because` says why. `receipts` are of the looks `browse_ids`.
    """

    key: str
    nodes: tuple[trace_pb2.TraceNode, ...]
    events: tuple[ShownEvent, ...]
    checkpoints: Mapping[str, VerifiedCheckpoint]
    withheld: int
    erased: int
    truncated: bool
    tree_verified: bool
    browse_ids: tuple[str, ...]
    filtered: int = 0
    total_withheld: int = 0
    withheld_entries: tuple[Withheld, ...] = ()
    complete: Complete | None = None
    incomplete_because: str = ""
    receipts: tuple[Receipt, ...] = ()
