"""What was refused, from the refusal to the sealed correction: the `goodstrace rejected` command on a running collector."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from motor.motor_asyncio import AsyncIOMotorClient

from goodstrace.cli.main import cli
from services.collector.jobs import Seen
from services.collector.rejection_store import RejectionStore, Wanted
from services.collector.rejections import Again, State, of_batch
from services.runtime import topics
from tests.conftest import Names
from tests.integration.test_collector import Collector, collector, until
from tests.integration.test_ingress import send
from tests.unit.collector_builders import NOW_MS, collected, document, object_event

__all__ = ["collector"]  # the fixture


class Command:
    """`goodstrace rejected` against a collector."""

    def __init__(self, collector: Collector) -> None:
        self._url = f"http://127.0.0.1:{collector.port}"

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self._run(*arguments, "--json", code=code))

    def text(self, *arguments: str, code: int = 0) -> str:
        """Run it as people do."""
        return self._run(*arguments, code=code)

    def _run(self, *arguments: str, code: int) -> str:
        """Run it, and again where it says so: the first record to a new topic may take a busy broker more than its 5 s."""
        for _ in range(3):
            done = CliRunner().invoke(cli, ["rejected", *arguments, "--url", self._url])
            if "try again" not in done.output:
                break
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
    client.close()
