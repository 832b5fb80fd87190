"""CURIEs, user extensions and namespaces at any level: kept without loss, and one event hash however they are written."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.collector.flow import Item
from services.runtime import envelope
from tests.unit.capture_api import running
from tests.unit.collector_builders import CONTEXT, collected, document, object_event

SHARED = Path(__file__).parents[3] / "shared" / "data" / "epcis"
EXAMPLES = [  # only a document can say which of its members are no content
    path
    for path in sorted((SHARED / "hash-vectors" / "examples").glob("*.jsonld"))
    if "IgnoreFields" not in path.name
]
ONE, TWO = "https://one.example/", "https://two.example/ns#"


def hashes(body: bytes) -> list[str]:
    sent = collected(body)
    assert [each.fault for each in sent] == [None] * len(sent)
    return [each.outcome.facts.event_hash for each in sent if isinstance(each.outcome, Item)]


def extended(a: str, b: str, **changes: Any) -> dict[str, Any]:
    """An event with extensions at every level, under two prefixes."""
    return object_event(
        **{
            f"{a}:flat": "1",
            f"{b}:nested": {f"{a}:inner": [{f"{b}:deep": True}, 2.50, "text"], "plain": {f"{a}:x": None}},
            "readPoint": {"id": "urn:epc:id:sgln:0614141.07346.1234", f"{a}:gate": {f"{b}:n": 7}},
            "ilmd": {"cbvmda:lotNumber": "L1", f"{b}:farm": [{f"{a}:field": "North"}]},
            "sensorElementList": [
                {
                    f"{a}:mount": "top",
                    "sensorMetadata": {"time": "2026-01-02T03:04:05Z", f"{a}:firmware": "1.2"},
                    "sensorReport": [{"type": "Temperature", "value": 4.0, "uom": "CEL", f"{b}:raw": "0x1f"}],
                }
            ],
            "action": "ADD",
            **changes,
        }
    )


def test_extensions_at_every_level_are_kept_to_the_byte() -> None:
    body = document(extended("a", "b"), **{"@context": [CONTEXT, {"a": ONE, "b": TWO}]})
    (sent,) = collected(body)
    assert isinstance(sent.outcome, Item)
    event = sent.outcome.record.part("event").content
    assert event in body
    assert json.loads(event) == extended("a", "b")
    assert sent.outcome.facts.context == [CONTEXT, {"a": ONE, "b": TWO}]


def test_a_prefix_is_only_a_name_and_may_be_declared_anywhere() -> None:
    one_way = document(extended("a", "b"), **{"@context": [CONTEXT, {"a": ONE, "b": TWO}]})
    other_names = document(extended("x", "why"), **{"@context": [CONTEXT, {"x": ONE}, {"why": TWO}]})
    crossed = document(extended("b", "a"), **{"@context": [CONTEXT, {"b": ONE, "a": TWO}]})
    own = document(extended("a", "b", **{"@context": [{"a": ONE}, {"b": TWO}]}))
    over = document(
        extended("a", "b", **{"@context": {"a": ONE, "b": TWO}}),
        **{"@context": [CONTEXT, {"a": TWO, "b": ONE}]},
    )
    swapped = document(extended("a", "b"), **{"@context": [CONTEXT, {"a": TWO, "b": ONE}]})
    assert {*map(tuple, map(hashes, (one_way, other_names, crossed, own, over)))} == {tuple(hashes(one_way))}
    assert hashes(swapped) != hashes(one_way)


def test_terms_are_the_same_as_word_curie_and_uri() -> None:
    spellings = (
        {"bizStep": "shipping", "disposition": "in_transit"},
        {"bizStep": "cbv:BizStep-shipping", "disposition": "cbv:Disp-in_transit"},
        {"bizStep": "urn:epcglobal:cbv:bizstep:shipping", "disposition": "urn:epcglobal:cbv:disp:in_transit"},
        {"bizStep": "https://ref.gs1.org/cbv/BizStep-shipping", "disposition": "https://ref.gs1.org/cbv/Disp-in_transit"},
    )  # fmt: skip
    assert len({tuple(hashes(document(object_event(**spelling)))) for spelling in spellings}) == 1


async def test_a_line_with_its_own_context_is_the_event_of_the_document() -> None:
    context = [CONTEXT, {"a": ONE, "b": TWO}]
    whole = document(extended("a", "b"), **{"@context": context})
    bare = json.dumps(extended("a", "b", **{"@context": context})).encode()
    async with running() as here:
        answer = await here.post(whole + b"\n" + bare, content_type="application/x-ndjson")
        in_document, alone = map(json.loads, answer.text.splitlines())
        parts = [
            envelope.decode(value).part("event").content for value in here.kafka.values("goods.collected")
        ]
    assert in_document["events"][0]["eventHash"] == alone["eventHash"] == hashes(whole)[0]
    assert sorted(parts) == sorted([json.dumps(extended("a", "b")).encode(), bare])


@pytest.mark.skipif(not EXAMPLES, reason="the shared vectors are not beside this checkout")
async def test_the_published_hash_vectors_are_the_receipts_of_a_stream() -> None:
    async with running() as here:
        seen = 0
        for path in EXAMPLES:
            whole = json.loads(path.read_text())
            context = whole["@context"]
            bare = []
            for event in whole["epcisBody"]["eventList"]:
                own = event.get("@context", [])
                both = [
                    *(context if isinstance(context, list) else [context]),
                    *(own if isinstance(own, list) else [own]),
                ]
                bare.append(json.dumps({**event, "@context": both}))
            answer = await here.post("\n".join(bare).encode(), content_type="application/x-ndjson")
            told = [json.loads(line)["eventHash"] for line in answer.text.splitlines()]
            assert told == path.with_suffix(".hashes").read_text().split(), path.name
            seen += len(told)
    assert seen >= 11
