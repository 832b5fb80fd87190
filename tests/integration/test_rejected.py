"""What was refused, from the refusal to the sealed correction: the `goodstrace rejected` command on a running collector."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner
from motor.motor_asyncio import AsyncIOMotorClient

from goodstrace.cli.main import cli
from services.collector.jobs import Refusal, Seen
from services.collector.rejection_store import RejectionStore, Wanted
from services.collector.rejections import Again, State, of_batch
from services.runtime import envelope, topics
from services.runtime.kafka import producer
from tests.conftest import Names
from tests.integration.test_collector import Collector, collector, until
from tests.integration.test_ingress import send
from tests.unit.collector_builders import NOW_MS, collected, document, object_event, poisoned

__all__ = ["collector"]  # the fixture


class Command:
    """`goodstrace rejected` against a collector."""

    def __init__(self, collector: Collector) -> None:
        self._url = f"http://127.0.0.1:{collector.port}"

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        done = CliRunner().invoke(cli, ["rejected", *arguments, "--url", self._url, "--json"])
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    def text(self, *arguments: str, code: int = 0) -> str:
        """Run it as people do."""
        done = CliRunner().invoke(cli, ["rejected", *arguments, "--url", self._url])
        assert done.exit_code == code, done.output
        return done.stdout

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        return list(self("list", *arguments)["rejections"])


def test_refused_listed_corrected_and_sealed(collector: Collector, tmp_path: Path) -> None:
    collector.start()
    rejected = Command(collector)
    bad = object_event(eventID="urn:e:bad", action="X")
    assert rejected.listed() == []
    good = object_event(eventID="urn:e:good")
    for _ in range(2):
        answer = collector.post(document(good, bad), **{"GS1-Capture-Error-Behaviour": "proceed"})
        collector.finished(answer.headers["location"])
    send(collector, [b"no document"])
    until(lambda: len(rejected.listed()) == 3, "all that was refused is listed")
    assert [each["firstRecordID"] for each in rejected.listed("--reason", "DUPLICATE")]

    whole, second, first = rejected.listed()
    assert whole["part"] == "document"
    assert "goods.ingress" in whole["detail"]
    assert rejected("show", whole["recordID"])["content"] == "no document"
    file = tmp_path / "event.json"
    shown = rejected("show", first["recordID"], "--out", str(file))
    assert shown["pointer"] == "/epcisBody/eventList/1/action"
    assert json.loads(file.read_bytes()) == bad

    assert first["recordID"] in rejected.text("list")
    assert '"action": "X"' in rejected.text("show", first["recordID"])
    assert "0 captured, 2 refused again" in rejected.text(
        "resubmit", first["recordID"], second["recordID"], code=1
    )

    told = rejected("resubmit", first["recordID"], second["recordID"], code=1)["resubmitted"]
    assert {each["problem"]["status"] for each in told} == {400}
    file.write_bytes(file.read_bytes().replace(b'"X"', b'"ADD"'))
    (told,) = rejected("resubmit", first["recordID"], "--with", str(file))["resubmitted"]
    job = collector.finished(told["location"])
    assert [event["recordID"] for event in job["events"]] == told["recordIDs"]
    assert told["recordIDs"][0] in {record.id.hex() for record in collector.records(topics.GOODS_STORED)}
    assert rejected("show", first["recordID"])["state"] == "resubmitted"
    assert [each["recordID"] for each in rejected.listed("--state", "resubmitted")] == [first["recordID"]]

    told = rejected("resubmit", "--all", "--reason", "INVALID", code=1)["resubmitted"]
    assert {each["rejectionID"] for each in told} == {whole["recordID"], second["recordID"]}
    assert "again" in rejected("resubmit", first["recordID"], code=1)["resubmitted"][0]["problem"]["detail"]
    assert collector.end() == 0


async def test_what_was_done_about_a_rejection_stays_when_it_is_found_again(
    mongo_uri: str, names: Names
) -> None:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(mongo_uri)
    store = RejectionStore(client[names.database])
    await store.prepare()
    sent = collected(document(*[object_event(action=str(number)) for number in range(5)]))
    found = of_batch(
        Seen("goods.rejected", 0, offset, NOW_MS, each.outcome.record) for offset, each in enumerate(sent)
    )
    await store.add(found[:3])
    again = Again("c" * 32, ("d" * 32,), NOW_MS, corrected=True)
    for _ in range(2):
        await store.resubmitted(found[0].id, again)
    await store.add(found)
    kept = await store.find(found[0].id)
    assert kept is not None
    assert (kept.state, kept.again) == (State.RESUBMITTED, (again,))
    newest = sorted(found[1:], key=lambda each: each.order, reverse=True)
    assert await store.page(Wanted(), "", 10) == newest
    assert await store.page(Wanted(), newest[1].order, 2) == newest[2:4]
    assert await store.page(Wanted(reason="TOO_LARGE"), "", 10) == []
    assert len(await store.page(Wanted(capture=found[0].capture), "", 10)) == len(found)
    twice = msgspec.structs.replace(found[0], id="d" * 32, reason="DUPLICATE", first=found[0].id)
    await store.add([twice])
    why = await store.refusals([*(each.id for each in found), twice.id, "e" * 32])
    assert why == {each.id: Refusal(each.stage, each.reason, each.detail) for each in found}
    assert await store.refusals([]) == {}
    client.close()


def test_the_job_of_a_duplicate_says_that_the_first_one_was_refused(collector: Collector) -> None:
    """As where a client sends once more what a stage behind `collect` has refused."""
    collector.start()
    writer = producer(collector.stack.kafka_bootstrap_servers, linger_ms=0)

    def sent() -> dict[str, Any]:
        record, capture = envelope.decode(poisoned({"parentID": 7}, os.urandom)), os.urandom(16)
        value = envelope.encode(msgspec.structs.replace(record, capture_id=capture))
        writer.produce(collector.names.topic(topics.GOODS_COLLECTED), value, partition=0)
        writer.flush(30)
        location = f"/epcis/v2/capture/{capture.hex()}"
        until(lambda: collector.http.get(location).status_code == 200, "its verdict is there")
        return collector.finished(location)

    refused = sent()
    assert (refused["success"], refused["counts"]["rejected"]) == (False, 1)
    told = sent()
    assert (told["success"], told["counts"]["duplicate"]) == (False, 1)
    (error,) = told["errors"]
    assert error["title"] == "Event 0 was refused by record"
    assert error["detail"].startswith(
        f"it is a duplicate of record {refused['events'][0]['recordID']}, which was refused: "
    )
    assert collector.end() == 0
