"""Read storms: what is a repeat, that it is linked and not altered, and that the same topic gives the same links."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.facts import READ_GAP_US, Repeat
from goodstrace.simulate import SimulationOptions, simulate
from services.collector.flow import StageName, from_wire
from services.collector.read_storms import MAX_ID
from services.collector.summarise import Window
from services.replay.through import Through
from services.runtime import topics
from services.runtime.partitioner import event_key, partition_of
from services.sealing.core import Fetched
from tests.unit.collector_builders import (
    WHOLE,
    collected,
    counted,
    document,
    fresh_state,
    items_of,
    object_event,
    processed_document,
    run_all,
    stamped,
    taken_up,
    wires,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
THINGS = ["urn:epc:id:sgtin:0614141.107346.1", "urn:epc:id:sgtin:0614141.107346.2"]


def read(number: int, at_s: float, **changes: Any) -> dict[str, Any]:
    time = (START + timedelta(seconds=at_s)).isoformat()
    return object_event(**{"eventID": f"urn:e:{number}", "eventTime": time, "epcList": THINGS, **changes})


def repeats(*events: dict[str, Any]) -> list[Repeat | None]:
    return [item.facts.repeats for item in processed_document(document(*events))]


def test_reads_of_a_run_are_linked_to_the_first_and_their_bytes_are_kept() -> None:
    events = [read(number, number * 0.5) for number in range(4)]
    output = run_all(wires(collected(document(*events))))
    assert [item.facts.repeats for item in items_of(output)] == [
        None,
        Repeat("urn:e:0", 2),
        Repeat("urn:e:0", 3),
        Repeat("urn:e:0", 4),
    ]
    assert not output.rejected
    sent = [from_wire(value) for value in wires(collected(document(*events)))]
    assert [item.record.part("event") for item in items_of(output)] == [
        item.record.part("event")
        for item in sent  # type: ignore[union-attr]
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"epcList": THINGS[:1]},
        {"readPoint": {"id": "urn:epc:id:sgln:0614141.07346.9"}},
        {"bizLocation": {"id": "urn:epc:id:sgln:0614141.07346.0"}},
        {"bizStep": "receiving"},
        {"disposition": "active"},
        {"action": "ADD"},
        {"ex:antenna": 2},
        {"quantityList": [{"epcClass": "urn:epc:class:lgtin:0614141.107346.L1", "quantity": 1}]},
        {"sensorElementList": [{"sensorReport": [{"type": "Temperature", "value": 20, "uom": "CEL"}]}]},
        {"bizTransactionList": [{"bizTransaction": "urn:x:1"}]},
        {"errorDeclaration": {"declarationTime": "2026-01-03T00:00:00Z"}},
        {"eventID": "urn:e:" + "x" * MAX_ID},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_event_that_says_anything_else_is_no_repeat(changes: dict[str, Any]) -> None:
    assert repeats(read(1, 0), read(2, 1, **changes)) == [None, None]
    assert repeats(read(1, 0), read(2, 1)) == [None, Repeat("urn:e:1", 2)]


@pytest.mark.parametrize(
    "changes",
    [
        {"sensorElementList": [{"sensorReport": [{"type": "Temperature", "value": 20, "uom": "CEL"}]}]},
        {"quantityList": [{"epcClass": "urn:epc:class:lgtin:0614141.107346.L1", "quantity": 1}]},
        {"readPoint": None},
        {"epcList": [], "quantityList": [{"epcClass": "urn:epc:class:lgtin:0614141.107346.L1"}]},
    ],
)
def test_events_that_are_no_mere_reads_are_never_linked(changes: dict[str, Any]) -> None:
    assert repeats(read(1, 0, **changes), read(2, 1, **changes)) == [None, None]


def test_the_same_reads_of_another_merchant_are_its_own() -> None:
    random, state = counted(), fresh_state()
    run_all(wires(collected(document(read(1, 0)), random=random)), state)
    other = run_all(wires(collected(document(read(2, 1)), random=random, merchant=2)), state)
    assert items_of(other)[0].facts.repeats is None


def test_things_are_a_set() -> None:
    assert repeats(read(1, 0), read(2, 1, epcList=THINGS[::-1]))[1] == Repeat("urn:e:1", 2)


def test_a_run_ends_after_a_pause_by_the_events_own_times() -> None:
    gap_s = READ_GAP_US / 1e6
    assert repeats(read(1, 0), read(2, gap_s), read(3, 2 * gap_s + 0.001)) == [
        None,
        Repeat("urn:e:1", 2),
        None,
    ]
    assert repeats(read(1, gap_s), read(2, 0))[1] == Repeat("urn:e:1", 2)


def test_a_read_with_the_id_of_another_event_is_no_repeat() -> None:
    output = run_all(wires(collected(document(read(1, 0), read(1, 1), read(2, 2)))))
    assert [item.facts.repeats for item in items_of(output)] == [None, None, Repeat("urn:e:1", 2)]
    assert [item.facts.flags for item in items_of(output)] == [(), ("conflicting-id",), ()]


def as_version_1(values: Sequence[bytes]) -> list[bytes]:
    return [stamped(value, "1") for value in values]


def test_records_of_version_1_are_sealed_as_before_and_begin_no_run() -> None:
    values = wires(collected(document(*[read(number, number) for number in range(4)])))
    output = run_all([*as_version_1(values[:2]), *values[2:]])
    assert [item.facts.repeats for item in items_of(output)] == [None, None, None, Repeat("urn:e:2", 2)]
    for value in run_all(as_version_1(values)).passed[StageName.STORE]:
        assert b'"repeats"' not in value


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 1), st.sampled_from(["a", "b"]), st.integers(0, 150)),
        max_size=30,
    ),
    st.integers(1, 6),
    st.data(),
)
@settings(deadline=None)
def test_a_window_filled_again_finds_the_same_runs(
    seen: list[tuple[int, int, str, int]], size: int, data: st.DataObject
) -> None:
    events = [
        read(number, at_s, epcList=THINGS[thing:], **{"ex:reader": reader})
        for number, thing, reader, at_s in seen
    ]
    values = wires(collected(document(*events)))
    values = [*as_version_1(values[::3]), *values[1::3], *values[2::3]]
    cut = data.draw(st.integers(0, len(values)))
    whole = WHOLE.run(fresh_state(size), values)
    before = WHOLE.run(fresh_state(size), values[:cut])
    after = WHOLE.run(taken_up(before.passed[StageName.SUMMARISE][-size:], size), values[cut:])
    for stage, passed in whole.passed.items():
        assert before.passed[stage] + after.passed[stage] == passed


def test_a_window_holds_no_more_runs_than_records() -> None:
    window = Window(3)
    state = fresh_state()
    state.window = window
    run_all(
        wires(collected(document(*[read(number, 0, epcList=[f"urn:epc:{number}"]) for number in range(20)]))),
        state,
    )
    assert len(window) == len(window._reads) == 3


def test_a_simulated_storm_over_several_partitions_is_linked_in_each_and_replayed_the_same(
    tell: Callable[[str], None],
) -> None:
    options = SimulationOptions(seed=3, events=2000, storms=0.05)
    values = [value for body in simulate(options) for value in wires(collected(body.to_bytes()))]
    parts: dict[int, list[Fetched]] = {}
    for offset, value in enumerate(values):
        item = from_wire(value)
        partition = partition_of(event_key(1, item.facts.event_id), 4)  # type: ignore[union-attr]
        parts.setdefault(partition, []).append(Fetched(offset, value))
    live = {
        partition: WHOLE.run(fresh_state(50_000), [each.value for each in records])
        for partition, records in parts.items()
    }
    through = Through(topics.GOODS_COLLECTED, 50_000, bytes(range(32)))
    for partition, records in parts.items():
        replayed = [each.value for each in through(partition, records)]
        assert replayed == live[partition].passed[StageName.STORE]
    linked = sum(item.facts.repeats is not None for output in live.values() for item in items_of(output))
    assert linked > 600
    tell(f"{options.events} events, storms at 5 % of reads, 4 partitions: {linked} linked to a first read")
