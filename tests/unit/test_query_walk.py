"""Driving the engine over logs: what is found, what is passed over, what is held in memory."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from goodstrace import tracing
from goodstrace.entry import Kind
from goodstrace.tracing.model import Query, Trace
from goodstrace.tracing.walk import Walk as EngineWalk
from services.query import thinking
from services.query import walk as walks
from services.query.thinking import Engine
from services.query.walk import Walk
from services.query.whole_logs import AT_ONCE_BYTES
from services.runtime.envelope import Record
from services.sealing.entries import with_entry
from services.sealing.values import SealedRecord
from tests.deadlines import DEADLINE_S
from tests.handmade import event

SECRET = b"s" * 32
KEY = "https://id.gs1.org/01/09521234543213/21/1"


class MemoryLogs:
    """The reading side of logs, in memory; counts what is read by index."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.read: list[int] = []
        self._records = [
            SealedRecord("goods/0", index, record.entry, record.parts, record.tags)
            for index, record in enumerate(records)
        ]

    async def find(
        self, tags: Sequence[bytes], sizes: Mapping[str, int], limit: int
    ) -> dict[bytes, list[SealedRecord]]:
        below = self._records[: sizes["goods/0"]]
        return {tag: [record for record in below if tag in record.tags][:limit] for tag in tags}

    async def records(self, log: str, indexes: Sequence[int]) -> list[SealedRecord]:
        self.read += indexes
        return [self._records[index] for index in indexes]


async def _trace(logs: MemoryLogs, size: int) -> tuple[Walk[Trace], Trace]:
    walk: Walk[Trace] = Walk(logs, SECRET, {"goods/0": size}, Engine(1).thinking())
    return walk, await walk.run(lambda check: tracing.trace(Query(KEY), check))


async def test_only_events_below_the_size_are_found() -> None:
    logs = MemoryLogs([event(number, KEY, secret=SECRET) for number in range(5)])
    walk, trace = await _trace(logs, 3)
    assert [each.positions for each in trace.events] == [(("goods/0", index),) for index in range(3)]
    assert walk.rounds >= 1
    assert logs.read == []


async def test_records_that_are_no_events_or_lack_their_facts_are_passed_over() -> None:
    other_kind = msgspec.structs.replace(event(0, KEY, secret=SECRET), kind=Kind.FINDING)
    finding = msgspec.structs.replace(
        with_entry(other_kind, SECRET, {}), tags=event(0, KEY, secret=SECRET).tags
    )
    whole = event(1, KEY, secret=SECRET)
    erased = msgspec.structs.replace(
        event(2, KEY, secret=SECRET), parts=event(2, KEY, secret=SECRET).parts[:1]
    )
    without_content = msgspec.structs.replace(
        event(3, KEY, secret=SECRET), parts=event(3, KEY, secret=SECRET).parts[1:]
    )
    walk, trace = await _trace(MemoryLogs([finding, whole, erased, without_content]), 4)
    assert [each.positions[0][1] for each in trace.events] == [1, 3]
    assert walk.incomplete == {("goods/0", 3)}


async def test_what_is_not_held_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "HELD_BYTES", 5_000)
    logs = MemoryLogs([event(number, KEY, secret=SECRET, content=b"x" * 1_000) for number in range(10)])
    walk, trace = await _trace(logs, 10)
    places = [each.positions[0] for each in trace.events]
    assert {record.index for record in await walk.records(places)} == set(range(10))
    assert 0 < len(logs.read) < 10
    assert all(walk.cost(place).full > 1_000 > walk.cost(place).bare for place in places)


async def test_few_records_that_name_much_are_read_and_thought_over_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thinking, "AT_ONCE_S", DEADLINE_S)
    threads: list[str] = []
    run, facts_at = EngineWalk.run, walks.facts_at

    def walked(walk: EngineWalk) -> None:
        threads.append(threading.current_thread().name)
        run(walk)

    def read(*arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        return facts_at(*arguments)

    monkeypatch.setattr(EngineWalk, "run", walked)
    monkeypatch.setattr(walks, "facts_at", read)
    await _trace(MemoryLogs([event(0, KEY, secret=SECRET)]), 1)
    assert set(threads) == {threading.current_thread().name}
    threads.clear()
    much = event(0, KEY, secret=SECRET, content=b"{" + b" " * AT_ONCE_BYTES + b"}")
    await _trace(MemoryLogs([much]), 1)
    assert threads[0] == threading.current_thread().name  # nothing was found yet
    assert threading.current_thread().name not in threads[1:]
