"""What is registered of goods counts for what sensors report of them: a real registry, every way in, and the same log when it is read again."""

import json
import time
from collections.abc import Iterable
from typing import Any

from goodstrace import facts as facts_format
from goodstrace.capture_stream import CaptureStream
from goodstrace.facts import Facts, Limit, RegisteredRange
from services.collector.flow import FACTS_PART
from services.collector.registry.known_ranges import KnownRanges
from services.collector.registry.ranges import Kept
from services.collector.registry.store import RegistryStore
from services.collector.stages import State
from services.collector.summarise import Window
from services.runtime import envelope, topics
from services.runtime.envelope import Record
from services.runtime.merchants.directory import Staleness
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings
from tests.conftest import Names
from tests.integration.test_collector import Collector, collector, until
from tests.integration.test_ingress import send
from tests.unit.collector_builders import WHOLE, document, object_event

__all__ = ["collector"]  # the fixture
PRODUCT = "https://id.gs1.org/01/10614141073464"
SECRET = bytes([7]) * 32
FRESH_S = 0.2


def measured(name: str, celsius: float) -> dict[str, Any]:
    report = {"type": "Temperature", "value": celsius, "uom": "CEL"}
    return object_event(eventID=f"urn:e:{name}", sensorElementList=[{"sensorReport": [report]}])


def register(collector: Collector, highest: str) -> str:
    """Register the product; gives the ID of the record."""
    goods = {"key": PRODUCT, "names": {"en": "Tea"}, "attributes": {"maximumTemperature": highest}}
    answer = collector.http.put("/registry/v1/goods", json=goods)
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["recordID"])


def facts_of(records: Iterable[Record]) -> dict[str, Facts]:
    """The facts of events, by event ID without what all have in common."""
    every = [facts_format.decode(each.part(FACTS_PART).content) for each in records]
    return {each.event_id.removeprefix("urn:e:"): each for each in every if each.type == "ObjectEvent"}


def stored(collector: Collector, count: int) -> dict[str, Facts]:
    """The facts of all events, once so many are stored."""

    def found() -> dict[str, Facts] | None:
        facts = facts_of(collector.records(topics.GOODS_STORED))
        return facts if len(facts) == count else None

    return dict(until(found, f"{count} events are stored"))


def replayed(collector: Collector) -> list[Record]:
    """What the stages make of the first topic now; no event here says anything of another."""
    values = [envelope.encode(each) for each in collector.records(topics.GOODS_COLLECTED)]
    passed = WHOLE.run(State(Window(1000), SECRET), values).passed[WHOLE.last]
    return sorted(map(envelope.decode, passed), key=lambda each: each.id)


def test_every_way_in_asks_the_registry_and_a_replay_does_not(collector: Collector) -> None:
    collector.start(GOODSTRACE_ACCESS_FRESH_S=str(FRESH_S))
    record = register(collector, "8")
    assert collector.post(document(measured("http", 8.5), measured("twin", 8))).status_code == 202
    lines = json.dumps({"@context": json.loads(document())["@context"], **measured("line", 9)}).encode()
    answer = collector.http.post(
        "/epcis/v2/capture", content=lines + b"\n", headers={"content-type": "application/x-ndjson"}
    )
    assert answer.status_code == 200, answer.text
    with CaptureStream(f"127.0.0.1:{collector.grpc_port}") as stream:
        list(stream.send([document(measured("grpc", 9.5))]))
    send(collector, [document(measured("ingress", 10))])
    facts = stored(collector, 5)
    limit = RegisteredRange(high=Limit("8", PRODUCT, record))
    assert {name: each.registered_range for name, each in facts.items()} == dict.fromkeys(facts, limit)
    found = {name: [(each.rule, each.registered) for each in facts[name].verdicts] for name in facts}
    assert found.pop("twin") == []
    warm = [("storage-too-warm", (PRODUCT,))]
    assert found == {"http": warm, "line": warm, "grpc": warm, "ingress": warm}

    later = register(collector, "12")
    names = iter(range(10**6))

    def by_the_newest() -> Facts | None:
        number = next(names)
        assert collector.post(document(measured(f"later-{number}", 9))).status_code == 202
        facts = stored(collector, 6 + number)[f"later-{number}"]
        return facts if facts.registered_range == RegisteredRange(high=Limit("12", PRODUCT, later)) else None

    assert until(by_the_newest, "what is remembered is no longer fresh").verdicts == ()
    sealed = sorted(collector.records(topics.GOODS_STORED), key=lambda each: each.id)
    assert replayed(collector) == sealed, "what is registered since changes nothing"


async def test_a_store_that_is_away_leaves_ranges_out_and_one_that_is_slow_is_not_waited_for(
    mongo: Mongo, names: Names
) -> None:
    gone = Mongo(MongoSettings(uri="mongodb://127.0.0.1:1", database=names.database, timeout_ms=60_000))
    failed: list[int] = []
    try:
        content = {"attributes": {"minimumTemperature": "2"}}
        row = {"_id": PRODUCT, "registered": {"record": "0a", "content": content}}
        await mongo.database["goods"].insert_many([row, {"_id": f"{PRODUCT}/10/L1", "grade": "lot"}])
        known = KnownRanges(
            RegistryStore(mongo.database), Staleness(), time.monotonic, lambda: failed.append(1)
        )
        assert await known.of([PRODUCT, f"{PRODUCT}/10/L1"]) == {
            PRODUCT: Kept(2.0, None, "0a"),
            f"{PRODUCT}/10/L1": None,
        }
        begun_s = time.monotonic()
        away = KnownRanges(
            RegistryStore(gone.database), Staleness(), time.monotonic, lambda: failed.append(1)
        )
        for _ in range(5):
            assert await away.of([PRODUCT]) == {}
        assert time.monotonic() - begun_s < 5
        assert failed == [1]
    finally:
        gone.close()
