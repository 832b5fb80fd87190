"""The index of looks on a real store and a real topic: rows in any order, lists by whatever is asked, and what it says it has missed."""

import asyncio

import pytest
import structlog
from confluent_kafka import TopicPartition
from prometheus_client import CollectorRegistry

from deploy.stack import Stack
from goodstrace.record.v1 import record_pb2
from services.audit.browse_index import BrowseIndex, provision
from services.audit.index_values import Place, Row, Wanted
from services.audit.indexing import Indexing, IndexMetrics
from services.runtime import kafka, topics
from services.runtime.group_source import Source
from services.runtime.mongo import Database, Mongo
from services.runtime.vault import People, Vault, user_subject
from services.runtime.vault.wrapping import KeyRing
from tests.conftest import Names
from tests.integration.looking import eventually

ANN, BOB = b"ann's hash", b"bob's hash"
MISSED = "goodstrace_audit_index_missed_total"


@pytest.fixture
async def database(mongo: Mongo) -> Database:
    await provision(mongo.database)
    return mongo.database


def _row(number: int, **changes: object) -> Row:
    fields: dict[str, object] = {
        "record_id": bytes((number,)) * 16,
        "subject": ANN,
        "merchant": 0,
        "time_ms": 1000 + number // 2,  # two at a time
        "role": "shopper",
        "kind": "look",
        "method": "Trace",
        "outcome": "granted",
    }
    return Row(**{**fields, **changes})  # type: ignore[arg-type]


async def test_looks_are_listed_newest_first_by_whatever_is_asked(database: Database) -> None:
    index = BrowseIndex(database)
    rows = [
        _row(number, merchant=number % 3, subject=BOB if number % 5 == 0 else ANN) for number in range(40)
    ]
    await index.put(rows[20:], {})
    await index.put(rows, {rows[3].record_id: "failed"})
    newest = list(reversed(rows))

    for wanted, expected in (
        (Wanted(subject=ANN), [row for row in newest if row.subject == ANN]),
        (Wanted(merchant=2), [row for row in newest if row.merchant == 2]),
        (Wanted(subject=ANN, from_ms=1004, until_ms=1008), [r for r in newest if r.subject == ANN and 1004 <= r.time_ms < 1008]),
        (Wanted(), newest),
    ):  # fmt: skip
        found: list[Row] = []
        before: Place | None = None
        while page := await index.find(wanted, before, 7):
            found += page
            before = page[-1].place
        assert [row.record_id for row in found] == [row.record_id for row in expected], wanted
    assert [row.mark for row in await index.find(Wanted(mark="failed"), None, 9)] == ["failed"]
    assert len(await index.find(Wanted(mark="unknown"), None, 99)) == 39


async def test_looks_and_marks_come_in_any_order_and_again(database: Database) -> None:
    index = BrowseIndex(database)
    row = _row(1)
    await index.put([], {row.record_id: "answered"})
    assert await index.rows([row.record_id]) == {}
    for _ in range(2):
        await index.put([row], {})
        assert (await index.rows([row.record_id]))[row.record_id].mark == "answered"
    others = [BrowseIndex(database) for _ in range(6)]
    made = [_row(number) for number in range(2, 60)]
    await asyncio.gather(*(each.put(made, {row.record_id: "failed" for row in made}) for each in others))
    assert {each.mark for each in (await index.rows([row.record_id for row in made])).values()} == {"failed"}
    assert await index.forget(ANN) == 59
    assert await index.find(Wanted(), None, 9) == []


async def test_what_is_told_gets_into_the_index_and_what_was_missed_is_counted(
    stack: Stack, names: Names, database: Database
) -> None:
    declared = [
        each for each in topics.declared(names.topic_prefix, 1, 1, 1) if each.name.endswith("watched")
    ]
    await asyncio.to_thread(kafka.create_topics, stack.kafka_bootstrap_servers, declared)
    topic = names.topic(topics.BROWSE_WATCHED)
    people = People(Vault(database, KeyRing((bytes(32),))))
    ann = await people.person("ann", people.vault.now_ms())
    index, registry = BrowseIndex(database), CollectorRegistry()

    def told(number: int, **changes: object) -> bytes:
        fields: dict[str, object] = {
            "record_id": bytes((number,)) * 16,
            "time_ms": number,
            "kind": "look",
            "pseudonym": ann.pseudonym,
        }
        return record_pb2.WatchedBrowse(**{**fields, **changes}).SerializeToString()  # type: ignore[arg-type]

    producer = kafka.producer(stack.kafka_bootstrap_servers)

    def produce(*values: bytes) -> None:
        for value in values:
            producer.produce(topic, value, partition=0)
        assert producer.flush(30) == 0

    async def following(until_rows: int) -> None:
        source = Source(stack.kafka_bootstrap_servers, f"{topic}.index", [topic], lambda *_: None)
        stop = asyncio.Event()
        run = Indexing(source, index, people, metrics, structlog.get_logger()).run(stop)
        running = asyncio.create_task(run)

        async def enough() -> bool:
            assert not running.done()
            return len(await index.find(Wanted(), None, 99)) >= until_rows

        await eventually(enough, f"{until_rows} rows")
        stop.set()
        await running

    metrics = IndexMetrics(registry)
    anonymous = told(3, pseudonym="anonymous", refused="role")
    marks = record_pb2.WatchedBrowse(kind="marks", failed=[b"\x01" * 16]).SerializeToString()
    produce(told(1), told(2, pseudonym="0" * 24), b"\xff\xff", told(9, record_id=b"short"), anonymous, marks)
    await following(3)
    found = {row.record_id[0]: row for row in await index.find(Wanted(), None, 9)}
    assert found[1].subject == await people.vault.hash_of(user_subject("ann"))
    assert found[2].subject is None
    assert found[3].subject == await people.vault.hash_of(user_subject("anonymous"))
    assert (found[1].mark, found[3].outcome) == ("failed", "role")
    assert registry.get_sample_value(MISSED) == 2

    # While it was away its next records went with the topic's retention: it goes on, and says so.
    produce(*(told(number) for number in range(10, 20)))
    admin = kafka.admin_client(stack.kafka_bootstrap_servers)
    for future in admin.delete_records([TopicPartition(topic, 0, 12)]).values():
        await asyncio.to_thread(future.result, 30)
    await following(3 + 4)
    assert registry.get_sample_value(MISSED) == 2 + 6
    assert len(await index.find(Wanted(), None, 99)) == 7
