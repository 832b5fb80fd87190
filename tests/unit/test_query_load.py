"""The load of the query bench is what it says: items with one event, lots with 20 over 5 levels."""

from bench import query_load
from bench.query_load import ONE, TWENTY
from goodstrace import facts as sealed_facts
from goodstrace.tracing import Direction, Query, SealedFacts, Trace, drive, trace
from services.runtime import envelope
from tests.unit.tracing_builders import Source

EVENTS = 2 * query_load.LEAST_EVENTS
SOURCE = Source(
    SealedFacts(
        "goods/0", index, record.merchant, record.time_ms, sealed_facts.decode(record.part("facts").content)
    )
    for index, record in enumerate(map(envelope.decode, query_load.records(EVENTS)))
)


def traced(key: str) -> Trace:
    return drive(trace(Query(key, Direction.BOTH)), SOURCE)


def test_every_item_has_one_event() -> None:
    assert query_load.items_among(EVENTS) == 160
    for number in range(160):
        assert len(traced(query_load.item(number)).events) == 1
    assert traced(query_load.item(160)).events == ()


def test_every_lot_has_twenty_events_over_five_levels() -> None:
    assert query_load.chains_among(EVENTS) == 2
    for chain in range(2):
        answer = traced(query_load.lot(chain))
        assert len(answer.events) == 20
        assert {node.level for node in answer.nodes} == set(range(5))


def test_requests_are_for_what_is_there_and_others_with_another_seed() -> None:
    for kind, names in (
        (ONE, {query_load.item(n) for n in range(160)}),
        (TWENTY, {query_load.lot(n) for n in range(2)}),
    ):
        asked = query_load.requests(kind, EVENTS, seed=1)
        assert {each["key"] for each in asked} == names
        assert asked == query_load.requests(kind, EVENTS, seed=1) != query_load.requests(kind, EVENTS, seed=2)
