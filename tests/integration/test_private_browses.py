"""Looks are private: encrypted on Kafka and in the logs, opened for who may read them, found without them being named, and proved all the same."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

from goodstrace.audit.v1 import audit_pb2, audit_pb2_grpc
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from services.audit import exporting
from services.audit.browse_index import BrowseIndex
from services.audit.exporting import export_looks
from services.audit.index_rebuild import rebuild
from services.audit.index_values import Row, Wanted
from services.runtime import envelope, kafka, topics
from services.runtime.mongo import Database, beside
from services.runtime.vault import Vault, user_subject
from services.runtime.vault.opening import load_ring
from services.sealing.browse import Browse
from services.sealing.erasure.steps import Known
from tests.deadlines import DEADLINE_S
from tests.handmade import event
from tests.integration.looking import BROWSE_PARTITIONS, Looking, eventually, verified
from tests.opened_browses import clear_record

AuditStub: TypeAlias = "audit_pb2_grpc.AuditServiceAsyncStub"
ITEM = "https://id.gs1.org/01/09521234543213/21/1"
ANN, BOB, STRANGER = "ann-who-looks", "bob-who-looks", "nobody-whom-we-know"
PURPOSE = "what-carl-asked-for"


@pytest.fixture
async def looking(looking: Looking) -> Looking:
    await looking.seal({0: [event(1, ITEM, secret=looking.secret)]})
    await asyncio.gather(looking.start("query"), looking.start("audit"))
    return looking


async def _look(looking: Looking, user: str) -> str:
    async with looking.query_channel() as channel:
        answer = await trace_pb2_grpc.TraceServiceStub(channel).Trace(
            trace_pb2.TraceRequest(key=ITEM, purpose=PURPOSE),
            timeout=DEADLINE_S,
            metadata=(("goodstrace-user", user),),
        )
    return str(answer.browse_id)


async def _listed(looking: Looking, **asked: Any) -> dict[str, dict[str, bytes]]:
    """The parts of all records listed, verified, by ID: those that are opened."""
    found: dict[str, dict[str, bytes]] = {}
    async with looking.audit_channel() as channel:
        stub: AuditStub = audit_pb2_grpc.AuditServiceStub(channel)
        request = audit_pb2.ListBrowsesRequest(page_size=3, **asked)
        while True:
            answer = await stub.ListBrowses(request, timeout=DEADLINE_S)
            checkpoints = await looking.opened(answer.checkpoints)
            for sealed in answer.browses:
                assert json.loads(sealed.entry)["id"] not in found
                found[json.loads(sealed.entry)["id"]] = verified(sealed, checkpoints)
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token


def _kept_in_kafka(looking: Looking, topic: str) -> bytes:
    consumer = Consumer({"bootstrap.servers": looking.stack.kafka_bootstrap_servers, "group.id": "unused"})
    found = b""
    try:
        for partition in range(BROWSE_PARTITIONS):
            place = TopicPartition(looking.names.topic(topic), partition, 0)
            _, end = consumer.get_watermark_offsets(place, timeout=DEADLINE_S)
            consumer.assign([place])
            while end and (message := consumer.poll(30)) is not None:
                found += (message.value() or b"") + (message.key() or b"")
                if (message.offset() or 0) + 1 >= end:
                    break
    finally:
        consumer.close()
    return found


async def _kept_in_store(database: Database) -> bytes:
    names = await database.list_collection_names()
    found = [repr(await database[name].find().to_list(None)).encode() for name in names]
    return b"".join(found)


def _asked(listed: dict[str, dict[str, bytes]]) -> set[str]:
    """The users asked for in listings, as they are shown."""
    return {json.loads(parts["what"]).get("user", "") for parts in listed.values()}


async def _rows(index: BrowseIndex) -> list[Row]:
    return list(await index.find(Wanted(), None, 1000))


async def test_looks_name_nobody_where_they_are_kept_and_are_read_by_whoever_may(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault_database = beside(looking.mongo.database, looking.vault.database)
    vault = Vault(vault_database, load_ring(looking.key_dir / "vault-keys"))
    index = BrowseIndex(vault_database)

    # 1. Records from before there was a vault are there too, in clear.
    old = [
        clear_record(
            Browse(user=ANN, method="Old", keys=(ITEM,), sizes={}, purpose="", events=1),
            secret=looking.secret,
            record_id=secrets.token_bytes(16),
            time_ms=1000 + number,
            salts=tuple(secrets.token_bytes(32) for _ in range(4)),
        )
        for number in range(4)
    ]
    producer = kafka.producer(looking.stack.kafka_bootstrap_servers)
    for number, record in enumerate(old):
        producer.produce(
            looking.names.topic(topics.GOODS_BROWSED), envelope.encode(record), partition=number % 2
        )
    assert await asyncio.to_thread(producer.flush, 30) == 0
    of_old = {record.id.hex() for record in old}

    # 2. Who looks is listed by name and by key, with the records of before, all proved and opened.
    of_ann = {await _look(looking, ANN) for _ in range(5)}
    of_bob = {await _look(looking, BOB) for _ in range(2)}

    async def indexed() -> bool:
        return len(await looking.sealed_looks()) >= 11 and len(await _rows(index)) >= 7

    await eventually(indexed, "all looks are sealed and in the index")
    listed = await _listed(looking, user=ANN)
    assert set(listed) == of_ann | of_old
    assert list(listed)[:5] != sorted(of_old)  # the newest first
    assert set(list(listed)[5:]) == of_old
    assert {json.loads(parts["who"])["user"] for parts in listed.values()} == {ANN}
    for name in ("GOODSTRACE_INDEX_SECRET_FILE", "GOODSTRACE_VAULT_KEY_FILE"):
        monkeypatch.setenv(name, looking.environment[name])
    monkeypatch.setattr(exporting, "_PAGE", 3)
    known = Known(ANN, await vault.hash_of(user_subject(ANN)), (), vault_database)
    exported = [value async for kind, value in export_looks(looking.mongo.database, known) if kind == "look"]
    assert [each["id"] for each in exported] == list(listed)
    assert {each["parts"]["who"]["user"] for each in exported} == {ANN}
    assert all(each["sealed"] for each in exported)
    await _listed(looking, user=BOB)  # which names him, too
    await _listed(looking, user=STRANGER)

    async def asked_for() -> bool:
        return _asked(await _listed(looking, user="anonymous")) >= {ANN, BOB, STRANGER}

    await eventually(asked_for, "those asked for are named to who may know")
    by_key = await _listed(looking, key=ITEM)
    assert {each for each, parts in by_key.items() if json.loads(parts["who"])["user"] == BOB} == of_bob
    assert of_ann | of_bob | of_old <= set(by_key)
    assert {json.loads(by_key[each]["purpose"])["purpose"] for each in of_bob} == {PURPOSE}

    # 3. Nothing that is kept names who looked, but what is from before.
    topic = await asyncio.to_thread(_kept_in_kafka, looking, topics.GOODS_BROWSED)
    told = await asyncio.to_thread(_kept_in_kafka, looking, topics.BROWSE_WATCHED)
    store, kept = await _kept_in_store(looking.mongo.database), await _kept_in_store(vault_database)
    for log, newest in (await looking.reader.newest("browse/")).items():  # packs are compressed
        records = await looking.reader.records(log, range(newest.size))
        store += b"".join(part.content for record in records for part in record.parts)
    for text in (BOB.encode(), STRANGER.encode(), PURPOSE.encode()):
        assert all(text not in each for each in (topic, told, store, kept))
    assert ANN.encode() not in told + kept

    # 4. The index is made again from the logs, the same.
    listings = await _listed(looking, user="anonymous")

    async def all_sealed() -> bool:
        return {row.record_id.hex() for row in await _rows(index)} <= set(await looking.sealed_looks())

    await eventually(all_sealed, "the listings are sealed, too")
    before = sorted(await _rows(index), key=lambda row: row.record_id)
    await vault_database["browse_index"].delete_many({})
    done = await rebuild(looking.reader, vault, index, lambda *_: None)
    after = {row.record_id: row for row in await _rows(index)}
    assert (done.clear, done.unread) == (4, 0)
    unmarked = [msgspec.structs.replace(after[row.record_id], mark=row.mark) for row in before]
    assert unmarked == before
    again = await rebuild(looking.reader, vault, index, lambda *_: None)
    assert again.rows >= done.rows

    # 5. With the key gone the looks are withheld, and as provable as before.
    assert await vault.destroy(user_subject(BOB))
    looking.daemons["audit"].kill()  # it remembers keys for half a minute
    await looking.start("audit")
    by_key = await _listed(looking, key=ITEM)
    for each in of_bob:
        assert set(by_key[each]) == {"outcome"}
    assert {json.loads(by_key[each]["who"])["user"] for each in of_ann} == {ANN}
    now_shown = await _listed(looking, user="anonymous")
    assert _asked(now_shown) >= {ANN, STRANGER}
    assert BOB not in _asked(now_shown)
    for each, parts in listings.items():  # what the auditor asked is readable still, but for whom
        now, then = json.loads(now_shown[each]["what"]), json.loads(parts["what"])
        assert now["method"] == then["method"]
        assert (then.get("user") == BOB) == ("asked" in now)
    await vault_database["browse_index"].delete_many({})
    assert (await rebuild(looking.reader, vault, index, lambda *_: None)).unread == 2

    # 6. Neither fsck nor what seals needs any key: all is as sound as before.
    goodstrace = str(Path(sys.executable).parent / "goodstrace")
    command = [goodstrace, "fsck", "--json", "--vkeys", str(looking.key_dir)]
    environment = {**os.environ, **looking.environment}
    environment.pop("GOODSTRACE_VAULT_KEY_FILE")
    checked = await asyncio.to_thread(
        subprocess.run,
        command,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert '"browse/0"' in checked.stdout
