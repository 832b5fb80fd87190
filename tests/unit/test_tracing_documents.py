"""Tracing real and simulated documents, taken through the collector's own stages."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from goodstrace.identifiers import Grade, grade
from goodstrace.simulate import Simulation, SimulationOptions
from goodstrace.tracing import Direction, Mark, Query, SealedFacts, Trace, drive, trace
from tests.unit.collector_builders import collected, processed, wires
from tests.unit.tracing_builders import Source, ids, levels, marks

SHARED = Path(__file__).parents[3] / "shared" / "data" / "epcis"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="../shared is absent: its documents are not in this repository"
)


def seal(documents: Iterable[bytes]) -> list[SealedFacts]:
    """Take documents through all stages and number their events, as one log would."""
    values = [value for document in documents for value in wires(collected(document))]
    items = processed(values)
    return [
        SealedFacts("goods/0", index, item.record.merchant, item.record.time_ms + index, item.facts)
        for index, item in enumerate(items)
    ]


def run(sealed: list[SealedFacts], key: str, direction: Direction) -> tuple[Trace, int]:
    source = Source(sealed)
    return drive(trace(Query(key, direction)), source), source.rounds


@needs_shared
def test_the_published_trace_back_has_exactly_the_expected_events() -> None:
    """Rules 6, 7 and 2: the containers' events come by rule 6, and by rule 2 no event of a reused ID is dropped."""
    (expected,) = json.loads((SHARED / "expected-traces.json").read_text())
    sealed = seal([(SHARED / expected["document"]).read_bytes()])
    answer, rounds = run(sealed, expected["start"], Direction.UPSTREAM)
    assert len(sealed) == 21
    assert sorted(set(ids(answer))) == expected["unique_event_ids"]
    assert len(answer.events) == 21
    reused = {event_id for event_id in ids(answer) if ids(answer).count(event_id) > 1}
    assert {event_id for event_id, given in marks(answer).items() if Mark.CONFLICTING_ID in given} == reused
    assert not answer.truncated
    for level in expected["upstream_levels_computed"][1:]:
        found = {key for key, at in levels(answer, Direction.UPSTREAM).items() if at == level["level"]}
        assert {key.rpartition(".")[2] for key in found} == {key.rpartition(".")[2] for key in level["keys"]}
    assert rounds <= 6


@needs_shared
def test_every_document_can_be_traced_and_closes() -> None:
    """Each goods key of the real documents gives an answer that gives itself again."""
    (expected,) = json.loads((SHARED / "expected-traces.json").read_text())
    sealed = seal([(SHARED / expected["document"]).read_bytes()])
    goods = {key for each in sealed for keys in each.facts.keys.values() for key in keys}
    for key in sorted(goods):
        answer, _ = run(sealed, key, Direction.BOTH)
        kept = {position for event in answer.events for position in event.positions}
        again, _ = run([each for each in sealed if (each.log, each.index) in kept], key, Direction.BOTH)
        assert again == answer


@pytest.fixture(scope="module")
def simulated() -> tuple[Simulation, list[SealedFacts]]:
    simulation = Simulation(
        SimulationOptions(seed=7, events=400, depth=3, items_per_case=3, cases_per_pallet=2)
    )
    return simulation, seal(document.to_bytes() for document in simulation.documents())


def test_upstream_of_a_simulated_item_is_what_went_into_it(
    simulated: tuple[Simulation, list[SealedFacts]],
) -> None:
    simulation, sealed = simulated
    known = simulation.interesting()
    assert known.item is not None
    answer, rounds = run(sealed, known.item, Direction.BOTH)
    met = levels(answer, Direction.UPSTREAM)
    by_level = {
        key: grade(key) for key in (node.key for node in answer.nodes if node.direction == "upstream")
    }
    deepest = {key for level in known.upstream for key in level}
    assert deepest <= set(by_level)
    assert known.lot in by_level
    assert {node.key for node in answer.nodes if node.role == "container"} >= {known.case, known.pallet}
    assert not any(grade(node.key) is Grade.ITEM for node in answer.nodes if node.level > 0)
    assert len(met) == len(by_level)
    assert rounds <= 2 * max(node.level for node in answer.nodes) + 4


def test_downstream_of_a_simulated_raw_lot_reaches_the_item(
    simulated: tuple[Simulation, list[SealedFacts]],
) -> None:
    simulation, sealed = simulated
    known = simulation.interesting()
    answer, _ = run(sealed, known.upstream[-1][0], Direction.DOWNSTREAM)
    assert known.item in {node.key for node in answer.nodes if node.direction == "downstream"}
    kept = {position for event in answer.events for position in event.positions}
    again, _ = run(
        [each for each in sealed if (each.log, each.index) in kept],
        known.upstream[-1][0],
        Direction.DOWNSTREAM,
    )
    assert again == answer
