"""A published trace: what the source project's own test asserts of `traceback_tests.jsonld` comes out of the whole system."""

import json
from collections import Counter, defaultdict
from typing import Any

import pytest

from goodstrace.client import Client, Trace
from goodstrace.retrace import ShownEvent
from tests.system.harness import SHARED_EPCIS, System

pytestmark = pytest.mark.skipif(
    not SHARED_EPCIS.is_dir(),
    reason="../shared is absent: the documents of others are not in this repository",
)
DOCUMENT = "opentraceability/traceback_tests.jsonld"


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    traces = json.loads((SHARED_EPCIS / "expected-traces.json").read_text())
    return next(each for each in traces if each["document"] == DOCUMENT)


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    document = json.loads((SHARED_EPCIS / DOCUMENT).read_text(encoding="utf-8-sig"))
    body = document["epcisBody"]
    return list(
        body["eventList"] if "eventList" in body else body["queryResults"]["resultsBody"]["eventList"]
    )


@pytest.fixture(scope="module")
def client(system: System) -> Client:
    (job,) = system.capture_sealed([(SHARED_EPCIS / DOCUMENT).read_bytes()])
    assert job.counts["accepted"] == 21
    return system.client(user="auditor")


@pytest.fixture(scope="module")
def upstream(client: Client, expected: dict[str, Any]) -> Trace:
    return client.trace(expected["start"], direction="upstream")


def ids(trace: Trace) -> set[str]:
    return {each.event.facts.event_id for each in trace.events if each.event.facts}


def contents(events: list[ShownEvent]) -> list[str]:
    return sorted(json.dumps(each.event.document(), sort_keys=True) for each in events)


def test_the_upstream_trace_gives_exactly_the_published_events(
    upstream: Trace, expected: dict[str, Any]
) -> None:
    assert ids(upstream) == set(expected["unique_event_ids"])
    assert len(ids(upstream)) == expected["expected_unique_events"]
    assert not upstream.truncated
    assert (upstream.withheld, upstream.erased) == (0, 0)


def test_an_id_that_stands_for_several_events_shows_all_of_them_marked(
    upstream: Trace, events: list[dict[str, Any]]
) -> None:
    of_id = Counter(event["eventID"] for event in events)
    several = {event_id for event_id, count in of_id.items() if count > 1}
    assert len(events) == 21
    assert sum(of_id[event_id] - 1 for event_id in several) == 5
    shown = defaultdict(list)
    for each in upstream.events:
        assert each.event.facts is not None
        shown[each.event.facts.event_id].append(each)
    for event_id in several & set(shown):
        assert len(shown[event_id]) > 1, event_id
    for event_id, same in shown.items():
        for each in same:
            assert ("conflicting-id" in each.marks) == (event_id in several), event_id


def test_every_event_of_the_document_can_be_shown_by_its_id(
    client: Client, events: list[dict[str, Any]]
) -> None:
    by_id = defaultdict(list)
    for event in events:
        by_id[event["eventID"]].append(json.dumps(event, sort_keys=True))
    for event_id, same in by_id.items():
        found = client.event(event_id)
        assert contents(list(found)) == sorted(same)
        assert all(("conflicting-id" in each.marks) == (len(same) > 1) for each in found)


def test_the_levels_are_those_of_direct_inputs(upstream: Trace, expected: dict[str, Any]) -> None:
    level_of = {node.key: node.level for node in upstream.nodes if node.role == "goods"}
    for level in expected["upstream_levels_computed"]:
        for key in level["keys"]:
            assert level_of.get(key) == level["level"], key


def test_each_level_has_the_events_of_its_keys(
    upstream: Trace, expected: dict[str, Any], events: list[dict[str, Any]]
) -> None:
    shown = {
        (mention.key, json.dumps(each.event.document(), sort_keys=True))
        for each in upstream.events
        for mention in each.mentions
    }
    keys_shown = {content for _, content in shown}
    for level in expected["upstream_levels_computed"]:
        for index in level["event_indexes"]:
            assert json.dumps(events[index], sort_keys=True) in keys_shown, (level["level"], index)


def test_pages_and_an_earlier_state_give_the_same_trace(client: Client, expected: dict[str, Any]) -> None:
    whole = client.trace(expected["start"], direction="upstream")
    paged = client.trace(expected["start"], direction="upstream", page_size=3)
    sizes = {log: each.checkpoint.size for log, each in whole.checkpoints.items() if log.startswith("goods/")}
    again = client.trace(expected["start"], direction="upstream", as_of=sizes)
    assert len(paged.browse_ids) > 3
    for other in (paged, again):
        assert [each.event.identity for each in other.events] == [
            each.event.identity for each in whole.events
        ]
        assert other.nodes == whole.nodes


def test_both_directions_hold_upstream(client: Client, upstream: Trace, expected: dict[str, Any]) -> None:
    assert ids(upstream) <= ids(client.trace(expected["start"], direction="both"))
