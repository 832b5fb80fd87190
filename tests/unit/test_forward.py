"""Reading logs forward: everything that is meant, once and in order, however it is cut, and read once for all."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.event_filter import event_filter
from services.query import forward as forwards
from services.query.forward import Forward, Heads
from services.query.subscribing import Filtered
from services.runtime.envelope import Record
from services.runtime.errors import UnavailableError
from services.sealing.values import SealedRecord
from tests.handmade import event

SECRET = b"s" * 32
KEYS = ("https://id.gs1.org/01/09521234543213/21/1", "urn:x:2", "urn:x:3")


class Logs:
    """The reading side of logs, in memory; counts the entries that are read."""

    def __init__(self, records_of: Mapping[str, Sequence[Record]]) -> None:
        self.read = self.calls = 0
        self.problem: Exception | None = None
        self.records_of = {
            log: [SealedRecord(log, index, each.entry, each.parts, each.tags) for index, each in enumerate(records)]
            for log, records in records_of.items()
        }  # fmt: skip

    async def find_from(
        self, log: str, tags: Sequence[bytes], first: int, size: int, limit: int
    ) -> list[SealedRecord]:
        below = self.records_of[log][first:size]
        found = [each for each in below if not set(tags).isdisjoint(each.tags)][:limit]
        self.read += len(found)
        return found

    async def records(self, log: str, indexes: Sequence[int]) -> list[SealedRecord]:
        self.calls += 1
        await asyncio.sleep(0)
        if self.problem:
            raise self.problem
        self.read += len(indexes)
        return [self.records_of[log][index] for index in indexes]

    async def newest(self, prefix: str) -> dict[str, Any]:
        assert prefix == "goods/"
        self.calls += 1
        await asyncio.sleep(0)
        return {}


def logs_of(lengths: Sequence[int], *, size: int = 0) -> Logs:
    made: dict[str, list[Record]] = {}
    number = 0
    for log, length in enumerate(lengths):
        made[f"goods/{log}"] = []
        for _ in range(length):
            number += 1
            content = b"{" + b" " * size + b"}" if size else b""
            key = KEYS[number % len(KEYS)]
            made[f"goods/{log}"].append(
                event(number, key, secret=SECRET, content=content, step="sale" if number % 2 else "x")
            )
    return Logs(made)


async def gather_all(logs: Logs, asked: Filtered, most_events: int, most_bytes: int) -> list[tuple[str, int]]:
    sizes = {log: len(records) for log, records in logs.records_of.items()}
    forward = Forward(logs)  # type: ignore[arg-type]
    positions: Mapping[str, int] = {}
    places: list[tuple[str, int]] = []
    for _ in range(1000):
        gathered = await forward.gather(
            asked, positions, sizes, most_events=most_events, most_bytes=most_bytes
        )
        assert len(gathered.events) <= most_events
        assert all(gathered.after[log] >= index for log, index in positions.items())
        for each in gathered.events:
            assert positions.get(each.record.log, 0) <= each.record.index < gathered.after[each.record.log]
        places += [(each.record.log, each.record.index) for each in gathered.events]
        positions = gathered.after
        if positions == sizes:
            return places
    raise AssertionError("it does not end")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 150), min_size=1, max_size=3),
    st.lists(st.sampled_from(KEYS), max_size=2),
    st.lists(st.sampled_from(["sale", "shipping"]), max_size=1),
    st.integers(1, 100),
    st.sampled_from([1, 5_000, 10**6]),
)
async def test_all_that_is_meant_comes_once_and_in_order(
    lengths: list[int], keys: list[str], steps: list[str], most_events: int, most_bytes: int
) -> None:
    logs = logs_of(lengths)
    asked = Filtered(event_filter(keys=keys, steps=steps), SECRET)
    places = await gather_all(logs, asked, most_events, most_bytes)
    assert len(places) == len(set(places))
    for log in logs.records_of:
        indexes = [index for each, index in places if each == log]
        assert indexes == sorted(indexes)
    every = await gather_all(logs, Filtered(event_filter(), SECRET), 1000, 10**9)
    numbers = {
        place: number
        for number, place in enumerate(
            ((log, index) for log, records in logs.records_of.items() for index in range(len(records))), 1
        )
    }
    assert set(every) == set(numbers)
    wanted = {
        place
        for place, number in numbers.items()
        if (not keys or KEYS[number % len(KEYS)] in keys) and (not steps or ("sale" in steps and number % 2))
    }
    assert set(places) == wanted


async def test_what_is_found_by_key_reads_nothing_else() -> None:
    logs = logs_of([300])
    places = await gather_all(logs, Filtered(event_filter(keys=[KEYS[1]]), SECRET), 1000, 10**9)
    assert logs.read == len(places) == 100


async def test_many_readers_of_one_place_read_it_once() -> None:
    logs = logs_of([130])
    forward = Forward(logs)  # type: ignore[arg-type]
    asked = [Filtered(event_filter(steps=[step]), SECRET) for step in ("sale", "x")] * 10
    found = await asyncio.gather(
        *(forward.gather(each, {}, {"goods/0": 130}, most_events=1000, most_bytes=10**9) for each in asked)
    )
    assert logs.read == 130
    assert [len(each.events) for each in found] == [65] * 20


async def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwards, "HELD_BYTES", 200_000)
    logs = logs_of([640], size=2_000)
    forward = Forward(logs)  # type: ignore[arg-type]
    asked = Filtered(event_filter(merchants=[99]), SECRET)
    await forward.gather(asked, {}, {"goods/0": 640}, most_events=9, most_bytes=10**6)
    assert logs.read == 640
    assert forward._held.size_bytes <= 200_000


async def test_a_log_that_is_further_behind_comes_first_and_none_is_forgotten() -> None:
    logs = logs_of([100, 10])
    forward = Forward(logs)  # type: ignore[arg-type]
    asked = Filtered(event_filter(), SECRET)
    sizes = {"goods/0": 100, "goods/1": 10}
    first = await forward.gather(asked, {}, sizes, most_events=95, most_bytes=10**9)
    assert first.after == {"goods/0": 95, "goods/1": 0}
    second = await forward.gather(asked, first.after, sizes, most_events=95, most_bytes=10**9)
    assert [each.record.log for each in second.events] == ["goods/1"] * 10 + ["goods/0"] * 5


async def test_a_read_that_fails_is_tried_again_by_the_next_one() -> None:
    logs = logs_of([10])
    forward = Forward(logs)  # type: ignore[arg-type]
    asked = Filtered(event_filter(), SECRET)
    logs.problem = UnavailableError("away")
    with pytest.raises(UnavailableError):
        await forward.gather(asked, {}, {"goods/0": 10}, most_events=99, most_bytes=10**6)
    logs.problem = None
    found = await forward.gather(asked, {}, {"goods/0": 10}, most_events=99, most_bytes=10**6)
    assert len(found.events) == 10


async def test_the_newest_checkpoints_are_asked_for_once_for_all() -> None:
    logs = logs_of([1])
    heads = Heads(logs, 60)  # type: ignore[arg-type]
    await asyncio.gather(*(heads.newest() for _ in range(50)))
    assert logs.calls == 1
