"""The collector as a process, on real Kafka and a real store."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from pymongo import MongoClient

from deploy.processes import free_port
from deploy.stack import Stack
from goodstrace.goods.state import derived
from goodstrace.simulate import SimulationOptions, simulate
from services.collector.flow import StageName
from services.collector.goods_states import Stored, sightings
from services.collector.state_store import StateStore
from services.collector.state_store import document as state_document
from services.runtime import envelope, topics
from services.runtime.envelope import Record
from services.runtime.kafka import create_topics, producer
from services.runtime.mongo import Mongo
from services.sealing.entries import check
from tests.conftest import Names
from tests.deadlines import DEADLINE_S
from tests.unit.collector_builders import collected, document, object_event, poisoned, run_all, wires

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 3
KEY = {"Idempotency-Key": '"order 4711"'}


def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        threading.Event().wait(0.05)
    raise AssertionError(f"not within {deadline_s} s: {what}")


class Collector:
    """One collector process on ports of its own, and a look at what it wrote."""

    def __init__(self, stack: Stack, names: Names, folder: Path) -> None:
        self.stack, self.names = stack, names
        self.port, self.metrics_port, self.grpc_port = free_port(), free_port(), free_port()
        secret = folder / "index-secret"
        secret.write_text("07" * 32)
        vault_keys = folder / "vault-keys"
        vault_keys.write_text("0f" * 32)
        self._log_file = folder / "collector.log"
        self._log = self._log_file.open("ab")
        self._environment = {
            **os.environ,
            **stack.environment,
            "GOODSTRACE_TOPIC_PREFIX": names.topic_prefix,
            "GOODSTRACE_DATABASE": names.database,
            "GOODSTRACE_PARTITIONS": str(PARTITIONS),
            "GOODSTRACE_BROWSE_PARTITIONS": "1",
            "GOODSTRACE_INDEX_SECRET_FILE": str(secret),
            "GOODSTRACE_VAULT_KEY_FILE": str(vault_keys),
            "GOODSTRACE_ACCOUNTS": "off",
            "GOODSTRACE_COLLECTOR_PORT": str(self.port),
            "GOODSTRACE_COLLECTOR_GRPC_PORT": str(self.grpc_port),
            "GOODSTRACE_COLLECTOR_METRICS_PORT": str(self.metrics_port),
            "GOODSTRACE_COLLECTOR_BATCH_RECORDS": "300",
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=DEADLINE_S)
        create_topics(stack.kafka_bootstrap_servers, topics.declared(names.topic_prefix, PARTITIONS, 1, 1))

    def start(self, **settings: str) -> None:
        self.launch(**settings)
        until(self._ready, "the collector is ready")

    def launch(self, **settings: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.collector"],
            cwd=ROOT,
            env={**self._environment, **settings},
            stderr=self._log,
        )

    def end(self, *, kill: bool = False) -> int:
        assert self.process is not None
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(kill=True)
        self.http.close()
        self._log.close()

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        return self.http.post(
            "/epcis/v2/capture", content=body, headers={"content-type": "application/json", **headers}
        )

    def job(self, location: str) -> dict[str, Any]:
        answer = self.http.get(location)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def finished(self, location: str) -> dict[str, Any]:
        """Give a job once it has its end; what a test that waits in vain shows is what the collectors said last."""
        try:
            job = until(
                lambda: (job := self.job(location)) and not job["running"] and job, "the job finishes"
            )
        except AssertionError as error:
            told = "\n".join(self._log_file.read_text().splitlines()[-40:])
            raise AssertionError(f"{error}: {self.job(location)}\n{told}") from None
        return dict(job)

    def records(self, topic: str) -> list[Record]:
        """Everything committed on a topic now, partition by partition."""
        reader = Consumer(
            {
                "bootstrap.servers": self.stack.kafka_bootstrap_servers,
                "group.id": "look",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
            }
        )
        name = self.names.topic(topic)
        reader.assign([TopicPartition(name, partition, 0) for partition in range(PARTITIONS)])
        ended: set[int] = set()
        values: list[tuple[int, bytes]] = []
        while len(ended) < PARTITIONS:
            for message in reader.consume(1000, 0.05):
                error = message.error()
                if error is None:
                    values.append((int(message.partition() or 0), message.value() or b""))
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended.add(int(message.partition() or 0))
        reader.close()
        values.sort(key=lambda each: each[0])
        return [envelope.decode(value) for _, value in values]

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the collector ended"
        try:
            return httpx.get(f"http://127.0.0.1:{self.metrics_port}/readyz").status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture
def collector(stack: Stack, names: Names, tmp_path: Path) -> Iterator[Collector]:
    running = Collector(stack, names, tmp_path)
    yield running
    running.close()


def ids(records: list[Record]) -> Counter[tuple[str, int]]:
    return Counter((record.capture_id.hex(), record.sequence) for record in records)


def states_are_those_of(database: Any, stored: list[Record]) -> bool:
    """Whether the collection holds what the records say, each found by its key."""
    placed = [Stored("goods/x", offset, record) for offset, record in enumerate(stored)]
    expected = {key: derived(key, kept) for key, kept in sightings(placed).items()}
    found = {each.pop("_id"): each for each in database["goods_states"].find({}, {"rev": 0, "kept": 0})}
    return found == expected


async def test_keepers_that_meet_in_a_key_end_in_what_one_would_write(mongo: Mongo) -> None:
    events = [
        object_event(eventID=f"urn:e:{number}", eventTime=f"2026-01-02T03:{number:02}:00Z")
        for number in range(24)
    ]
    values = run_all(wires(collected(document(*events)))).passed[StageName.STORE]
    placed = [Stored("goods/0", offset, envelope.decode(value)) for offset, value in enumerate(values)]
    whole = sightings(placed)
    keepers = [StateStore(mongo.database) for _ in range(4)]
    await asyncio.gather(*(keeper.apply(sightings(placed[start::4])) for start, keeper in enumerate(keepers)))
    (key,) = whole
    found = await mongo.database["goods_states"].find_one({"_id": key})
    assert found is not None
    wanted = state_document(key, whole[key], found["rev"])
    assert found == wanted
    assert await keepers[0].apply(whole) == 0


def test_a_document_is_stored_once_and_its_duplicate_is_refused(collector: Collector) -> None:
    collector.start()
    bodies = [
        each.to_bytes() for each in simulate(SimulationOptions(seed=11, events=200, events_per_document=100))
    ]
    first = collector.post(bodies[0])
    assert first.status_code == 202
    job = collector.finished(first.headers["location"])
    assert job["success"] is True
    assert {event["verdict"] for event in job["events"]} == {"accepted"}
    again = collector.finished(collector.post(bodies[0]).headers["location"])
    assert again["success"] is True
    assert {event["verdict"] for event in again["events"]} == {"duplicate"}
    assert [event["firstRecordID"] for event in again["events"]] == [
        event["recordID"] for event in job["events"]
    ]

    stored = collector.records(topics.GOODS_STORED)
    assert len(stored) == len(job["events"])
    assert {check(record).id for record in stored} == {event["recordID"] for event in job["events"]}
    assert all(record.part("event").content in bodies[0] for record in stored)
    for topic in (topics.GOODS_SUMMARISED, topics.GOODS_RECORDED, topics.GOODS_CLASSIFIED):
        assert [record.id for record in collector.records(topic)] == [record.id for record in stored]
    with MongoClient[dict[str, Any]](collector.stack.mongodb_uri) as client:
        database = client[collector.names.database]
        until(lambda: states_are_those_of(database, stored), "the states of goods are those of the records")
        assert (database["merchants"].find_one({"_id": 1}) or {})["first_ms"] > 0
        lot = database["goods"].find_one({"grade": "lot"}) or {}
    assert lot["first"]["time_us"] <= lot["last"]["time_us"]
    assert collector.end() == 0


class Load:
    """Clients that send documents until each is acknowledged, as clients with retries do."""

    def __init__(self, collector: Collector, bodies: list[bytes], clients: int) -> None:
        self._collector = collector
        self._stop = threading.Event()
        self.acknowledged: dict[str, int] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(bodies[each::clients],)) for each in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.join()

    def has(self, captures: int) -> bool:
        return len(self.acknowledged) > captures

    def join(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _run(self, bodies: list[bytes]) -> None:
        for body in bodies:
            while not self._stop.is_set() and not self._send(body):
                self._stop.wait(0.1)

    def _send(self, body: bytes) -> bool:
        try:
            answer = self._collector.post(body)
        except httpx.HTTPError:
            return False
        if answer.status_code == 202:
            capture = answer.headers["location"].rpartition("/")[2]
            self.acknowledged[capture] = len(events_of(body))
            return True
        assert answer.status_code == 503
        return False


def events_of(body: bytes) -> list[dict[str, Any]]:
    return list(json.loads(body)["epcisBody"]["eventList"])


def canonical(events: Iterable[Any]) -> Counter[str]:
    return Counter(json.dumps(event, sort_keys=True) for event in events)


def test_kill_9_in_the_middle_of_a_load_loses_nothing_and_doubles_nothing(collector: Collector) -> None:
    options = SimulationOptions(seed=12, events=6000, events_per_document=50)
    bodies = [each.to_bytes() for each in simulate(options)]
    collector.start()
    with Load(collector, bodies, clients=3) as load:
        for share in (4, 2):
            enough = len(bodies) // share
            until(partial(load.has, enough), "captures are acknowledged")
            collector.end(kill=True)
            collector.start()
        load.join()
        assert len(load.acknowledged) == len(bodies)
    expected = {(capture, index) for capture, events in load.acknowledged.items() for index in range(events)}

    def places() -> Counter[tuple[str, int]]:
        return ids(collector.records(topics.GOODS_STORED)) + ids(collector.records(topics.GOODS_REJECTED))

    until(lambda: expected <= set(places()), "every acknowledged event has its place")
    assert set(places().values()) == {1}
    stored, rejected = collector.records(topics.GOODS_STORED), collector.records(topics.GOODS_REJECTED)
    assert {record.rejection.reason for record in rejected if record.rejection} <= {"DUPLICATE"}
    sealed = canonical(json.loads(record.part("event").content) for record in stored)
    assert sealed == canonical(event for body in bodies for event in events_of(body))
    assert all(check(record) for record in stored)
    for capture in list(load.acknowledged)[:: len(bodies) // 10]:
        assert collector.finished(f"/epcis/v2/capture/{capture}")["eventCount"] == load.acknowledged[capture]


def test_another_span_goes_on_where_this_one_was(collector: Collector) -> None:
    collector.start()
    first = collector.post(document(object_event()))
    assert collector.finished(first.headers["location"])["success"]
    assert collector.end() == 0
    stages = {"GOODSTRACE_COLLECTOR_FIRST_STAGE": "record", "GOODSTRACE_COLLECTOR_LAST_STAGE": "store"}
    other = Collector.__new__(Collector)
    other.__dict__.update(collector.__dict__)
    other.port, other.metrics_port = free_port(), free_port()
    other._environment = {
        **collector._environment,
        "GOODSTRACE_COLLECTOR_INSTANCE": "1",
        "GOODSTRACE_COLLECTOR_API": "false",
        "GOODSTRACE_COLLECTOR_METRICS_PORT": str(other.metrics_port),
    }
    other.start(**stages)
    try:
        collector.start(
            GOODSTRACE_COLLECTOR_FIRST_STAGE="summarise", GOODSTRACE_COLLECTOR_LAST_STAGE="summarise"
        )
        second = collector.post(document(object_event(), object_event(eventID="urn:e:2")))
        job = collector.finished(second.headers["location"])
        assert [event["verdict"] for event in job["events"]] == ["duplicate", "accepted"]
        assert len(collector.records(topics.GOODS_STORED)) == 2
    finally:
        other.end(kill=True)


def write_first(collector: Collector, *, commit: bool) -> None:
    """Write to `goods.summarised` what no offset of the stage stands for."""
    name = collector.names.topic("writer")
    writer = producer(collector.stack.kafka_bootstrap_servers, transactional_id=name, linger_ms=0)
    writer.init_transactions(30)
    writer.begin_transaction()
    for partition in range(PARTITIONS):
        writer.produce(collector.names.topic(topics.GOODS_SUMMARISED), b"x", partition=partition)
    writer.flush(30)
    if commit:
        writer.commit_transaction(30)
    else:
        writer.abort_transaction(30)


def test_killed_in_its_very_first_transaction_it_begins_again(collector: Collector) -> None:
    write_first(collector, commit=False)
    collector.start()
    assert collector.finished(collector.post(document(object_event())).headers["location"])["success"]


def test_a_record_over_which_a_stage_fails_is_refused_and_stops_nobody(collector: Collector) -> None:
    """Whatever `collect` let pass: else the collector would end at each start, for all merchants."""
    writer = producer(collector.stack.kafka_bootstrap_servers, linger_ms=0)
    values = [poisoned({"parentID": 7}, os.urandom) for _ in range(PARTITIONS)]
    for partition, value in enumerate(values):
        writer.produce(collector.names.topic(topics.GOODS_COLLECTED), value, partition=partition)
    writer.flush(30)
    collector.start()
    assert collector.finished(collector.post(document(object_event())).headers["location"])["success"]
    listed = until(
        lambda: (
            len(found := collector.http.get("/rejections/v1?reason=FAULT").json()["rejections"]) == PARTITIONS
            and found
        ),
        "all are listed",
    )
    assert {(each["stage"], each["state"]) for each in listed} == {("record", "open")}
    refused = collector.records(topics.GOODS_REJECTED)
    assert [record.id for record in refused] == [envelope.decode(value).id for value in values]
    assert collector.end() == 0


def test_with_its_offsets_lost_it_stops_and_does_not_start_over(collector: Collector) -> None:
    write_first(collector, commit=True)
    collector.launch()
    assert collector.process is not None
    assert collector.process.wait(DEADLINE_S) == 1


def test_with_another_index_secret_it_stops_before_it_makes_a_tag(
    collector: Collector, tmp_path: Path
) -> None:
    collector.start()
    assert collector.end() == 0
    other = tmp_path / "other-secret"
    other.write_text("08" * 32)
    collector.launch(GOODSTRACE_INDEX_SECRET_FILE=str(other))
    assert collector.process is not None
    assert collector.process.wait(DEADLINE_S) == 2


@pytest.mark.parametrize("partitions", [PARTITIONS - 1, PARTITIONS + 1])
def test_with_another_number_of_partitions_set_it_takes_no_capture(
    collector: Collector, partitions: int
) -> None:
    # The ingress would look at its start already: see test_ingress.py.
    collector.start(GOODSTRACE_PARTITIONS=str(partitions), GOODSTRACE_COLLECTOR_INGRESS="false")
    assert collector.process is not None
    assert collector.post(document(object_event())).status_code == 503
    assert collector.process.wait(DEADLINE_S) == 1
    assert collector.records(topics.GOODS_COLLECTED) == []


def test_kafka_away_is_503_and_everything_goes_on_when_it_is_back(
    own_stack: Stack, names: Names, tmp_path: Path
) -> None:
    own_stack.start()
    collector = Collector(own_stack, names, tmp_path)
    collector.start(GOODSTRACE_MONGO_TIMEOUT_MS="2000")
    try:
        assert collector.finished(collector.post(document(object_event())).headers["location"])["success"]
        assert own_stack.kafka is not None
        own_stack.kafka.kill()
        assert collector.post(document(object_event(eventID="urn:e:2"))).status_code == 503
        own_stack.start()
        answer = until(
            lambda: (
                (said := collector.post(document(object_event(eventID="urn:e:3")))).status_code == 202
                and said
            ),
            "captures go on",
        )
        assert collector.finished(answer.headers["location"])["success"]
        own_stack.store.kill()  # type: ignore[union-attr]
        keyed = document(object_event(eventID="urn:e:5"))
        assert collector.post(keyed, **KEY).status_code == 503
        assert collector.http.get("/epcis/v2/capture").status_code == 503
        answer = collector.post(document(object_event(eventID="urn:e:4")))
        assert answer.status_code == 202
        own_stack.start()
        assert collector.finished(answer.headers["location"])["success"]
        first = collector.post(keyed, **KEY)
        assert collector.post(keyed, **KEY).headers["location"] == first.headers["location"]
        assert len(collector.http.get("/epcis/v2/capture").json()) == 4
        assert [record.sequence for record in collector.records(topics.GOODS_COLLECTED)] == [0] * 4
        assert collector.end() == 0
    finally:
        collector.close()
