"""The ledger as a process against real Kafka and a real store: killed, stopped, raced, its topic cut and made anew."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry

from deploy.processes import free_port
from goodstrace.log_keys import ROOT_LOG
from services.runtime import clock, kafka
from services.runtime.mongo import Mongo
from services.runtime.monitoring import Readiness
from services.runtime.settings import MongoSettings
from services.runtime.topics import GOODS_STORED, LOGS_CHECKPOINTS, Topic
from services.sealing.core import Limits
from services.sealing.epochs import random_epoch
from services.sealing.errors import LostRaceError
from services.sealing.kafka import KafkaSource
from services.sealing.keys import KeyFolder
from services.sealing.metrics import SealMetrics
from services.sealing.mongo import MongoBlockStore
from services.sealing.provision import provision
from services.sealing.service import Sealer
from services.sealing.writer import SealerParts
from tests.conftest import Names
from tests.deadlines import DEADLINE_S
from tests.log_checks import assert_log_intact
from tests.packs import closed, opened
from tests.records import make_record, make_value


async def eventually(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Ask until a condition holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not (  # noqa: ASYNC110 - what is waited for is other processes' state
            await answer if isinstance(answer := condition(), Awaitable) else answer
        ):
            await asyncio.sleep(0.02)


class Ledger:
    """`python -m services.ledger`."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.port = free_port()
        self.log = folder / f"ledger-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.ledger"],
                env={**os.environ, **environment, "GOODSTRACE_LEDGER_METRICS_PORT": str(self.port)},
                stderr=log,
            )

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def faults(self) -> list[str]:
        """The categories of the faults it logged."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line["category"] for line in lines if "category" in line and line.get("level") == "error"]

    def page(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""


class World:
    """A topic of two partitions, a database, and the ledgers of one test."""

    logs = ("goods/0", "goods/1")

    def __init__(self, bootstrap: str, mongo_uri: str, names: Names, folder: Path) -> None:
        self.bootstrap, self.names, self.folder = bootstrap, names, folder
        self.topic = names.topic(GOODS_STORED)
        self.mongo = Mongo(MongoSettings(uri=mongo_uri, database=names.database, timeout_ms=10_000))
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.counts = [0, 0]
        self.ledgers: list[Ledger] = []
        self.environment = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "MONGODB_URI": mongo_uri,
            "GOODSTRACE_DATABASE": names.database,
            "GOODSTRACE_TOPIC_PREFIX": names.topic_prefix,
            "GOODSTRACE_KEY_DIR": str(folder / "keys"),
            "GOODSTRACE_SEAL_BLOCK_AGE_MS": "50",
            "GOODSTRACE_COMPLETENESS_ENABLED": "false",  # tests/integration/test_index_rounds.py has it
        }

    def make_topic(self) -> None:
        checkpoints = Topic(self.names.topic(LOGS_CHECKPOINTS), 1, 1)
        kafka.create_topics(self.bootstrap, [Topic(self.topic, 2, 1), checkpoints])

    def start(self, **settings: str) -> Ledger:
        self.ledgers.append(Ledger({**self.environment, **settings}, self.folder))
        return self.ledgers[-1]

    def fill(self, count: int) -> None:
        """Put `count` records on each partition, by transactions, which leave holes."""
        producer = kafka.producer(self.bootstrap, transactional_id=self.topic)
        producer.init_transactions(30)
        for start in range(0, count, 500):
            producer.begin_transaction()
            for partition in (0, 1):
                for _ in range(start, min(count, start + 500)):
                    number = self.counts[partition]
                    producer.produce(self.topic, make_value(number, partition=partition), partition=partition)
                    self.counts[partition] += 1
            producer.commit_transaction(30)

    async def size(self) -> int:
        heads = await MongoBlockStore(self.mongo.database).heads(self.logs)
        return sum(head.checkpoint.size for head in heads.values())

    async def sealed(self, count: int | None = None) -> None:
        """Wait until so many records are sealed, else all."""
        wanted = sum(self.counts) if count is None else count

        async def done() -> bool:
            return await self.size() >= wanted

        await eventually(done)

    async def pinned(self) -> None:
        """Wait until the root log has sealed the newest checkpoints: then no ledger has anything left to do."""

        async def done() -> bool:
            store, pins = MongoBlockStore(self.mongo.database), self.mongo.database["pins"]
            newest = {(log, head.checkpoint.size) for log, head in (await store.heads(self.logs)).items()}
            marked = {(each["log"], each["size"]) async for each in pins.find()}
            root = await store.head(ROOT_LOG)
            return newest <= marked and root is not None and root.checkpoint.size >= len(marked)

        await eventually(done)

    async def assert_exactly_once(self) -> None:
        for partition in (0, 1):
            expected = [
                make_record(number, partition=partition).entry for number in range(self.counts[partition])
            ]
            await assert_log_intact(self.mongo.database, f"goods/{partition}", expected=expected)

    def sealer(self, group: str, metrics: SealMetrics) -> Sealer:
        parts = SealerParts(
            store=MongoBlockStore(self.mongo.database),
            source=KafkaSource(self.bootstrap, f"{self.topic}.{group}", self.topic),
            now_ms=clock.now_ms,
            limits=Limits(entries=20, age_ms=20),
            new_epoch=random_epoch,
            metrics=metrics,
            log=structlog.get_logger(),
        )
        keys = KeyFolder(self.folder / "keys")
        return Sealer(parts, keys, prefix="goods", name="goodstrace.local", readiness=Readiness())


@pytest.fixture
async def world(kafka_bootstrap: str, mongo_uri: str, names: Names, tmp_path: Path) -> AsyncIterator[World]:
    made = World(kafka_bootstrap, mongo_uri, names, tmp_path)
    made.make_topic()
    await provision(made.mongo.database)
    yield made
    for ledger in made.ledgers:
        ledger.process.kill()
        ledger.process.wait(DEADLINE_S)
    made.mongo.close()


async def test_killed_again_and_again_everything_is_sealed_once(world: World) -> None:
    world.fill(2500)
    for part in (1, 2, 3):
        ledger = world.start(GOODSTRACE_SEAL_BLOCK_ENTRIES="100")
        await world.sealed(part * 900)
        ledger.end(signal.SIGKILL)
        for log in ("goods/0", "goods/1"):
            await assert_log_intact(world.mongo.database, log)
    assert await world.size() < 5000, "it was killed in the middle"
    world.start()
    await world.sealed()
    await world.assert_exactly_once()


async def test_asked_to_stop_it_seals_what_it_read_and_says_how_it_is(world: World) -> None:
    ledger = world.start()
    await eventually(lambda: ledger.page("/readyz") == "ready\n")
    world.fill(30)
    await world.sealed()
    assert ledger.page("/healthz") == "alive\n"
    metrics = ledger.page("/metrics")
    assert "goodstrace_ledger_records_sealed_total 60.0" in metrics
    assert "goodstrace_ledger_append_conflicts_total 0.0" in metrics
    assert ledger.end(signal.SIGTERM) == 0
    assert ledger.faults() == []
    await world.assert_exactly_once()


async def test_partitions_move_between_ledgers(world: World) -> None:
    first = world.start()
    world.fill(200)
    await eventually(lambda: "goodstrace_ledger_logs_assigned 2.0" in first.page("/metrics"))
    second = world.start()
    await eventually(lambda: "goodstrace_ledger_logs_assigned 1.0" in first.page("/metrics"))
    await eventually(lambda: "goodstrace_ledger_logs_assigned 1.0" in second.page("/metrics"))
    world.fill(200)
    await world.sealed()
    assert first.end(signal.SIGTERM) == 0
    world.fill(200)
    await world.sealed()
    assert second.end(signal.SIGTERM) == 0
    assert first.faults() == second.faults() == []
    await world.assert_exactly_once()


async def test_of_two_writers_of_one_log_one_stops(world: World) -> None:
    metrics = [SealMetrics("ledger", CollectorRegistry()) for _ in range(2)]
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(world.sealer(group, each).run(stop))
        for group, each in zip(("one", "two"), metrics, strict=True)
    ]
    await eventually(
        lambda: all(each.logs._value.get() == 2 for each in metrics) or any(each.done() for each in tasks)
    )
    assert not [each.result() for each in tasks if each.done()], "neither has anything to stop for yet"
    world.fill(400)
    done, running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_S)
    assert done
    for task in done:
        with pytest.raises(LostRaceError, match="another writer"):
            task.result()
    assert sum(each.conflicts._value.get() for each in metrics) >= 1
    stop.set()
    if running:
        await asyncio.wait(running, timeout=DEADLINE_S)
    last = world.start()
    await eventually(lambda: last.page("/readyz") == "ready\n")
    await world.sealed()
    assert last.end(signal.SIGTERM) == 0
    await world.assert_exactly_once()


async def test_a_gap_stops_it(world: World) -> None:
    world.fill(20)
    first = world.start()
    await world.sealed()
    assert first.end(signal.SIGTERM) == 0
    world.fill(20)
    futures = world.admin.delete_records([TopicPartition(world.topic, 0, 30)])
    for future in futures.values():
        future.result(30)
    second = world.start()
    assert second.process.wait(DEADLINE_S) == 1
    assert second.faults() == ["offset-gap"]
    assert "nothing is skipped" in second.log.read_text()


async def test_a_topic_made_anew_stops_it(world: World) -> None:
    world.fill(20)
    first = world.start()
    await world.sealed()
    assert first.end(signal.SIGTERM) == 0
    for future in world.admin.delete_topics([world.topic]).values():
        future.result(30)
    await eventually(lambda: world.topic not in world.admin.list_topics(timeout=DEADLINE_S).topics)
    world.make_topic()
    before, world.counts = sum(world.counts), [0, 0]
    world.fill(40)
    second = world.start()
    assert second.process.wait(DEADLINE_S) == 1
    assert second.faults() == ["topic-changed"]
    assert await world.size() == before


async def test_a_topic_made_anew_under_a_running_ledger_stops_it(world: World) -> None:
    world.fill(20)
    ledger = world.start()
    await world.sealed()
    for future in world.admin.delete_topics([world.topic]).values():
        future.result(30)
    await eventually(lambda: world.topic not in world.admin.list_topics(timeout=DEADLINE_S).topics)
    world.make_topic()
    before, world.counts = sum(world.counts), [0, 0]
    world.fill(40)
    assert ledger.process.wait(DEADLINE_S) == 1
    assert ledger.faults()[0] in {"topic-changed", "offset-gap"}
    assert await world.size() == before


async def test_of_two_processes_of_one_name_the_later_goes_on_and_the_earlier_stops(world: World) -> None:
    first = world.start(GOODSTRACE_INSTANCE="one")
    world.fill(20)
    await world.sealed()
    await (
        world.pinned()
    )  # until the first notices that it is fenced, the two would race for what is left, and one would lose
    second = world.start(GOODSTRACE_INSTANCE="one")
    assert first.process.wait(DEADLINE_S) == 1
    assert first.faults()[0] == "fenced"
    world.fill(20)
    await world.sealed()
    second.process.kill()
    second.process.wait(DEADLINE_S)
    world.fill(20)
    world.start(GOODSTRACE_INSTANCE="one")
    await world.sealed()
    await world.assert_exactly_once()


async def test_an_unprovable_record_stops_it_and_says_where(world: World) -> None:
    world.fill(3)
    producer = kafka.producer(world.bootstrap)
    producer.produce(world.topic, b"no record at all", partition=1)
    producer.flush(30)
    ledger = world.start()
    assert ledger.process.wait(DEADLINE_S) == 1
    assert ledger.faults() == ["unprovable-record"]
    assert "goods/1: the record at offset 4 is unprovable" in ledger.log.read_text()
    await world.sealed(6)


@pytest.fixture
def verify(world: World) -> Callable[..., tuple[int, dict[str, Any]]]:
    code = "from services.ledger.commands.fsck import fsck; fsck()"

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-c", code, "--json", *arguments],
            env={**os.environ, **world.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    return run


async def test_verify_finds_a_byte_changed_in_the_store(
    world: World, verify: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    world.fill(20)
    world.start()
    await world.sealed()
    code, answer = verify("--vkeys", str(world.folder / "keys"))
    assert (code, answer["sound"]) == (0, True)
    packs = world.mongo.database["packs"]
    pack = await packs.find_one({"log": "goods/1"})
    assert pack is not None
    changed = opened(pack)
    part = changed["records"][2]["parts"][0]
    part["content"] = b"x" + part["content"][1:]
    await packs.replace_one({"_id": pack["_id"]}, closed(changed))
    code, answer = verify()
    assert code == 1
    faults = [fault for log in answer["logs"] for fault in log["faults"]]
    places = [(fault["log"], fault["block"], fault["index"], fault["field"]) for fault in faults]
    assert places == [("goods/1", pack["height"], pack["first"] + 2, "part")]
    assert verify("--log", "goods/0")[0] == 0
