"""What people see of a read storm: one line for a run, nothing put together that says different things."""

import dataclasses
import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from goodstrace import entry as entries
from goodstrace.cli.runs import Shown, runs
from goodstrace.cli.trace import as_document, show
from goodstrace.client import Trace
from goodstrace.facts import Facts, Repeat, Verdict, identity
from goodstrace.query.v1.trace_pb2 import TraceMention, TraceNode
from goodstrace.retrace import ShownEvent
from goodstrace.verification import VerifiedEntry, VerifiedEvent

KEY = "https://id.gs1.org/01/10614141073464/21/2017"
START_US = 1_767_323_045_000_000


def seen(number: int, repeats: Repeat | None = None, *marks: str, **changes: Any) -> Shown:
    facts = Facts(
        event_id=f"urn:e:{number}",
        event_hash=f"ni:///{number}",
        type="ObjectEvent",
        action="OBSERVE",
        time_us=START_US + number * 500_000,
        offset="+00:00",
        pipeline="2",
        business_step="shipping",
        step="logistics",
        keys={"epc": (KEY,)},
        read_point="urn:gate:1",
        repeats=repeats,
    )
    facts = msgspec.structs.replace(facts, **changes)
    entry = entries.Entry(
        id=f"{number:032x}", kind=entries.Kind.EVENT, merchant=1, parts=(), tags=entries.tags_commitment([]), time=1
    )  # fmt: skip
    place = VerifiedEntry("goods/0", number, entry, {}, ())
    event = VerifiedEvent(identity(1, facts), place, (), facts, b"{}")
    mention = TraceMention(key=KEY)
    return ShownEvent(event, marks, [mention]), mention


STORM = [seen(0), *(seen(number, Repeat("urn:e:0", number + 1)) for number in range(1, 57))]


def test_a_storm_is_one_run() -> None:
    assert [len(run) for run in runs(STORM)] == [57]


def test_a_storm_over_several_partitions_is_one_run_too() -> None:
    # Each partition has a first read of its own, and the last one has no other.
    over = [seen(0), seen(1), seen(2, Repeat("urn:e:0", 2)), seen(3, Repeat("urn:e:1", 2)), seen(4)]
    assert [len(run) for run in runs(over)] == [5]


def test_events_that_are_no_repeats_stay_apart() -> None:
    assert [len(run) for run in runs([seen(0), seen(1), seen(2)])] == [1, 1, 1]


@pytest.mark.parametrize(
    "other",
    [
        seen(30, Repeat("urn:e:0", 31), "conflicting-id"),
        seen(30, None, read_point="urn:gate:2"),
        seen(30, None, business_step="receiving"),
        seen(30, None, action="ADD"),
        seen(30, None, sensor_reports=1),
        seen(30, Repeat("urn:e:0", 31), verdicts=(Verdict("expired", "critical"),)),
        seen(30, Repeat("urn:e:0", 31), flags=("future-time",)),
        seen(30, None, type="AggregationEvent"),
    ],
)
def test_what_happened_in_between_is_shown_in_between(other: Shown) -> None:
    assert [len(run) for run in runs([*STORM[:30], other, *STORM[31:]])] == [30, 1, 26]


def test_a_pause_begins_another_run() -> None:
    later = [seen(200), seen(201, Repeat("urn:e:200", 2))]
    assert [len(run) for run in runs([*STORM, *later])] == [57, 2]


def test_a_withheld_event_is_never_put_together() -> None:
    shown, mention = STORM[3]
    hidden = dataclasses.replace(shown, event=dataclasses.replace(shown.event, facts=None, content=None))
    assert [len(run) for run in runs([*STORM[:3], (hidden, mention), *STORM[4:]])] == [3, 1, 53]


def printed(answer: Trace, **options: Any) -> str:
    out = io.StringIO()
    show(answer, Console(file=out, width=200, highlight=False), **options)
    return out.getvalue()


def test_the_tree_says_how_often_and_the_document_has_all() -> None:
    answer = Trace(
        key=KEY,
        nodes=[TraceNode(key=KEY)],
        events=[event for event, _ in STORM],
        checkpoints={},
        browse_ids=["b"],
        withheld=0,
        erased=0,
        truncated=False,
        tree_verified=True,
    )
    text = printed(answer)
    assert text.count("shipping observe") == 1
    assert "read 57 times, 2026-01-02 03:04:05 .. 2026-01-02 03:04:33" in text
    assert "57 events" in text
    assert "more events" not in text
    assert printed(answer, most_events=2**63 - 1).count("shipping observe") == 57
    events = as_document(answer)["events"]
    assert len(events) == 57
    assert events[1]["facts"]["repeats"] == {"first": "urn:e:0", "number": 2}
