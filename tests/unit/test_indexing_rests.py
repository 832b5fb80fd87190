"""The reader of `browse.watched` takes looks and their marks together, is not slowed down where it is behind, and ends when asked to.

Who lists meanwhile waits for rows that are about to be written, and for no others.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from goodstrace.record.v1 import record_pb2
from services.audit import browse_index, indexing
from services.audit.browse_index import BrowseIndex
from services.audit.index_values import Row
from services.audit.indexing import Indexing, IndexMetrics


class _Message:
    """As much of Kafka's message as is asked for."""

    def __init__(self, number: int) -> None:
        self._number = number

    def topic(self) -> str:
        return "browse.watched"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._number

    def __len__(self) -> int:
        return len(self.value())

    def value(self) -> bytes:
        told = record_pb2.WatchedBrowse(
            record_id=bytes((self._number,)) * 16, kind="look", pseudonym="someone"
        )
        return told.SerializeToString()


class _Source:
    """Gives batches of these sizes one after the other; sets `done` once `until` of them are committed."""

    def __init__(self, sizes: Sequence[int], until: int, done: Callable[[], object]) -> None:
        self._sizes, self._until, self._done = list(sizes), until, done
        self.committed = 0

    def poll(self, *_: object) -> list[_Message]:
        return [_Message(number) for number in range(self._sizes.pop(0))]

    def commit(self, _offsets: Mapping[tuple[str, int], int]) -> None:
        self.committed += 1
        if self.committed == self._until:
            self._done()

    def close(self) -> None:
        """Nothing to do."""


class _Index:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.gently: list[bool] = []

    async def put(
        self, rows: Sequence[Row], _marks: Mapping[bytes, str], *, gently: bool, stop: asyncio.Event
    ) -> None:
        assert not stop.is_set()
        self.rows += rows
        self.gently.append(gently)


class _People:
    async def subjects_of(self, _pseudonyms: Collection[str]) -> dict[str, bytes]:
        return {}

    async def forget_days(self) -> None:
        """Nothing to do."""


async def _followed(
    sizes: Sequence[int], until: int, clock_s: Callable[[], float] = time.monotonic
) -> tuple[_Source, _Index]:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    source, index = _Source(sizes, until, lambda: loop.call_soon_threadsafe(stop.set)), _Index()
    parts: list[Any] = [source, index, _People(), IndexMetrics(CollectorRegistry()), structlog.get_logger()]
    async with asyncio.timeout(30):
        await Indexing(*parts, clock_s=clock_s).run(stop)
    return source, index


async def test_it_rests_after_a_batch_and_ends_in_the_middle_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "REST_S", 3600.0)
    source, index = await _followed([3, 5], until=1)
    assert (source.committed, len(index.rows)) == (1, 3)


async def test_it_does_not_rest_while_batches_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "REST_S", 3600.0)
    monkeypatch.setattr(indexing, "_BATCH_RECORDS", 3)
    source, index = await _followed([3, 3, 1, 1], until=3)
    assert (source.committed, len(index.rows)) == (3, 7)
    assert index.gently == [False, False, True]  # nor does it leave the store to others then


async def test_the_time_that_writing_took_is_part_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "REST_S", 3600.0)
    times = itertools.count(0, 3600)
    source, _ = await _followed([1, 1, 1], until=3, clock_s=lambda: float(next(times)))
    assert source.committed == 3


async def test_a_batch_that_is_full_of_bytes_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "REST_S", 3600.0)
    monkeypatch.setattr(indexing, "_BATCH_BYTES", 2 * len(_Message(0)))
    source, index = await _followed([2, 3, 1], until=3)
    assert source.committed == 3
    assert index.gently == [False, False, True]


@given(st.floats(-2, 0), st.integers(0, 2**45), st.integers(0, 10_000))
def test_who_was_writing_for_as_long_as_there_is_between_batches_does_not_rest(
    wanted_s: float, marked_ms: int, after_ms: int
) -> None:
    assert indexing.rest_s(wanted_s, marked_ms, marked_ms + after_ms) == 0


@given(st.floats(0, 1, exclude_min=True), st.integers(1, 2**45), st.integers(0, 10_000))
def test_the_next_batch_is_read_just_after_marks_are_sent(
    wanted_s: float, marked_ms: int, after_ms: int
) -> None:
    rest_s = indexing.rest_s(wanted_s, marked_ms, marked_ms + after_ms)
    least_s = wanted_s / 2
    assert least_s <= rest_s < least_s + browse_index.REST_S
    read_ms = after_ms + rest_s * 1000
    assert 79 <= read_ms % 1000 <= 81


@given(st.floats(-2, 1), st.integers(0, 2**45))
def test_without_marks_it_rests_as_long_as_it_would(wanted_s: float, now_ms: int) -> None:
    assert indexing.rest_s(wanted_s, 0, now_ms) == max(0.0, wanted_s)


class _Portions(BrowseIndex):
    """An index that notes how many documents each call has."""

    def __init__(self) -> None:
        self.inserted, self.updated = list[int](), list[int]()

    async def _insert(self, documents: Sequence[dict[str, Any]]) -> None:
        self.inserted.append(len(documents))

    async def _update(self, documents: Sequence[dict[str, Any]]) -> None:
        self.updated.append(len(documents))


@pytest.mark.parametrize("gently", [False, True])
async def test_rows_and_marks_are_written_in_small_portions(*, gently: bool) -> None:
    index, more = _Portions(), browse_index.PORTION + 3
    marks = {
        bytes((number,)) * 16: "answered" for number in range(2 * more)
    }  # half of them of looks that were written before
    await index.put([_row(number) for number in range(more)], marks, gently=gently)
    assert index.inserted == index.updated == [browse_index.PORTION, 3]


class _Slow(_Portions):
    """An index that is asked to stop while it writes the first portion."""

    def __init__(self, stop: asyncio.Event) -> None:
        super().__init__()
        self._stop = stop

    async def _insert(self, documents: Sequence[dict[str, Any]]) -> None:
        self._stop.set()
        await super()._insert(documents)


async def test_no_further_portion_is_written_once_it_is_to_stop_and_all_of_them_are_read_again() -> None:
    stop, source = asyncio.Event(), _Source([3 * browse_index.PORTION], 1, lambda: None)
    index = _Slow(stop)
    parts: list[Any] = [source, index, _People(), IndexMetrics(CollectorRegistry()), structlog.get_logger()]
    async with asyncio.timeout(30):
        await Indexing(*parts).run(stop)
    assert (index.inserted, index.updated, source.committed) == ([browse_index.PORTION], [], 0)


class _Filling(BrowseIndex):
    """An index that has one row more each time it is asked, and notes for how many."""

    def __init__(self, *rows: Row) -> None:
        self._coming, self.asked = list(rows), list[int]()
        self._there: dict[bytes, Row] = {}

    async def rows(self, record_ids: Collection[bytes]) -> dict[bytes, Row]:
        self.asked.append(len(record_ids))
        found = {each: self._there[each] for each in record_ids if each in self._there}
        if self._coming:
            row = self._coming.pop(0)
            self._there[row.record_id] = row
        return found


def _row(number: int) -> Row:
    fields = dict.fromkeys(("role", "kind", "method", "outcome"), "")
    return Row(record_id=bytes((number,)) * 16, subject=None, merchant=0, time_ms=0, **fields)


async def test_rows_of_looks_of_a_moment_ago_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse_index, "LATE_S", 3600.0)
    monkeypatch.setattr(browse_index, "_AGAIN_S", 0.0)
    index, now_ms = _Filling(_row(1), _row(2)), int(time.time() * 1000)
    async with asyncio.timeout(30):
        found = await index.rows_of({_row(1).record_id: now_ms, _row(2).record_id: now_ms})
    assert found == {each.record_id: each for each in (_row(1), _row(2))}
    assert index.asked == [2, 2, 1]


async def test_rows_of_older_looks_are_not_waited_for() -> None:
    index = _Filling()
    assert await index.rows_of({_row(1).record_id: 1_700_000_000_000}) == {}
    assert index.asked == [1]


async def test_a_row_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse_index, "LATE_S", 0.05)
    later_ms = int(time.time() * 1000) + 3_600_000  # by the clock of another machine
    async with asyncio.timeout(30):
        assert await _Filling().rows_of({_row(1).record_id: later_ms}) == {}
