"""Facts: the published vectors through the stages, what decodes, and what names an event's identity."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import facts as format_
from goodstrace.entry import tag_set
from goodstrace.errors import EntryError
from services.collector.collect import Sent
from services.collector.preparing import Prepared
from services.collector.producer import Placed
from services.collector.ranging import with_known
from services.collector.registry.ranges import kept_by
from services.collector.store import tags_of
from tests.unit.collector_builders import collected, processed, stamped, wires
from tests.vector_files import vectors

VECTORS: dict[str, Any] = vectors("facts")


def ranged(sent: list[Sent], vector: dict[str, Any]) -> list[Sent]:
    """Write into the facts what the registry of a vector says, as `ranging.py` does."""
    registered = vector.get("registered")
    if registered is None:
        return sent
    known = {key: kept_by(each["attributes"], each["record"]) for key, each in registered.items()}
    placed = [Placed("", 0, b"")] * len(sent)
    prepared = Prepared(None, placed, [], sent)  # type: ignore[arg-type]  # the job is not looked at
    asked = {key: None for each in sent for key in each.goods.keys}
    return with_known(prepared, {**asked, **known}).sent


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_the_stages_find_the_published_facts(vector: dict[str, Any]) -> None:
    head = json.dumps(
        {
            "@context": vector["context"],
            "type": "EPCISDocument",
            "schemaVersion": "2.0",
            "creationDate": "2026-01-02T03:04:05Z",
        }
    )
    body = head[:-1] + ', "epcisBody": {"eventList": [' + ", ".join(vector["events"]) + "]}}"
    values = wires(ranged(collected(body.encode(), merchant=vector["merchant"]), vector))
    item = processed([stamped(value, vector["pipeline"]) for value in values])[vector["which"]]
    assert format_.encode(item.facts).decode() == vector["facts"]
    assert format_.identity(vector["merchant"], item.facts) == vector["identity"]
    secret = bytes.fromhex(VECTORS["index_secret"])
    assert [each.hex() for each in tag_set(secret, tags_of(item.facts))] == vector["tags"]


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_facts_are_one_json_object_with_sorted_keys(vector: dict[str, Any]) -> None:
    again = json.dumps(json.loads(vector["facts"]), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert again == vector["facts"]
    assert format_.encode(format_.decode(vector["facts"].encode())).decode() == vector["facts"]


def test_the_pipeline_version_is_always_written() -> None:
    for vector in VECTORS["vectors"]:
        assert json.loads(vector["facts"])["pipeline"] == vector["pipeline"]
    assert {vector["pipeline"] for vector in VECTORS["vectors"]} == {"1", "2", "3", "4"}


def test_identity_tells_merchants_content_and_corrections_apart() -> None:
    facts = [format_.decode(vector["facts"].encode()) for vector in VECTORS["vectors"]]
    identities = {format_.identity(merchant, each) for merchant in (1, 2) for each in facts}
    assert len(identities) == 2 * len(facts)


@given(st.binary(max_size=200))
def test_anything_else_is_refused_by_one_error(data: bytes) -> None:
    try:
        format_.decode(data)
    except EntryError:
        return
    assert json.loads(data)["pipeline"]
