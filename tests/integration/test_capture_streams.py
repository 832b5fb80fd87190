"""Streams, idempotency keys and lists of jobs of a collector process, on real Kafka and a real store."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deploy.stack import Stack
from services.runtime import topics
from tests.conftest import Names
from tests.deadlines import DEADLINE_S
from tests.integration.test_collector import KEY, Collector
from tests.unit.collector_builders import document, object_event


@pytest.fixture
def collector(stack: Stack, names: Names, tmp_path: Path) -> Iterator[Collector]:
    running = Collector(stack, names, tmp_path)
    running.start()
    yield running
    running.close()


def line(number: int) -> bytes:
    return json.dumps(object_event(eventID=f"urn:e:{number}")).encode() + b"\n"


class Stream:
    """A client that sends lines and reads answers on one connection, as it likes."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self._socket.sendall(
            b"POST /epcis/v2/capture HTTP/1.1\r\nHost: collector\r\nContent-Type: application/x-ndjson\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        self._file = self._socket.makefile("rb")
        self._begun = False

    def send(self, data: bytes) -> None:
        self._socket.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def finish(self) -> None:
        self._socket.sendall(b"0\r\n\r\n")

    def answers(self) -> list[dict[str, Any]]:
        """The answers of the next chunk; none at the end."""
        if not self._begun:
            assert self._file.readline() == b"HTTP/1.1 200 OK\r\n"
            while self._file.readline() != b"\r\n":
                pass
            self._begun = True
        size = int(self._file.readline(), 16)
        data = self._file.read(size + 2)
        return [json.loads(each) for each in data.splitlines() if each]

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def event_ids(collector: Collector, topic: str) -> dict[str, str]:
    """Event IDs by record ID."""
    return {
        record.id.hex(): json.loads(record.part("event").content)["eventID"]
        for record in collector.records(topic)
    }


def test_what_a_broken_stream_was_answered_is_durable_and_sent_again_it_is_stored_once(
    collector: Collector,
) -> None:
    with closing(Stream(collector.port)) as broken:
        broken.send(line(0))
        answered = broken.answers()  # while the request is still being sent
        assert [each["line"] for each in answered] == [1]
        broken.send(b"".join(map(line, range(1, 2_000))) + line(2_000)[:40])
        while len(answered) < 1_000:
            answered += broken.answers()
    assert [each["line"] for each in answered] == list(range(1, len(answered) + 1))
    collected = event_ids(collector, topics.GOODS_COLLECTED)
    assert {each["recordID"]: each["eventID"] for each in answered}.items() <= collected.items()

    with closing(Stream(collector.port)) as whole:
        whole.send(b"".join(map(line, range(2_500))))
        whole.finish()
        again: list[dict[str, Any]] = []
        while answers := whole.answers():
            again += answers
    assert [each["eventID"] for each in again] == [f"urn:e:{number}" for number in range(2_500)]
    for capture in {each["captureID"] for each in again}:
        assert collector.finished(f"/epcis/v2/capture/{capture}")["success"]
    stored = event_ids(collector, topics.GOODS_STORED)
    assert sorted(stored.values()) == sorted(f"urn:e:{number}" for number in range(2_500))
    listed = {job["captureID"] for job in collector.http.get("/epcis/v2/capture?perPage=100").json()}
    assert {each["captureID"] for each in again} <= listed


def test_a_key_stands_for_its_capture_after_the_process_was_killed(collector: Collector) -> None:
    body = document(object_event())
    first = collector.post(body, **KEY)
    assert first.status_code == 202
    collector.end(kill=True)
    collector.start()
    again = collector.post(body, **KEY)
    assert (again.status_code, again.headers["location"]) == (202, first.headers["location"])
    assert collector.post(document(object_event(eventID="urn:e:2")), **KEY).status_code == 422
    job = collector.finished(first.headers["location"])
    (listed,) = collector.http.get("/epcis/v2/capture").json()
    assert listed == {name: value for name, value in job.items() if name != "events"}
    assert len(collector.records(topics.GOODS_COLLECTED)) == 1
