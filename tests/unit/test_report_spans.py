"""Which entries a month's report spans: by the records' times, whenever the blocks were sealed. Without I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace import entry as entries
from goodstrace.transparency.values import Month, Span
from services.audit.report.spans import SLACK_MS, Spans
from services.sealing import core
from services.sealing.bundles import EntryReader
from services.sealing.core import LogState, Sealable, TopicIdentity
from services.sealing.mongo import MongoBlockStore
from services.sealing.reader import LogReader
from services.sealing.values import Head, StoredBlock, StoredCheckpoint
from tests.unit.test_replay import LOG, sealables

MONTH = Month.parse("2026-10")
DAY_MS = 86_400_000
RECORDS = sealables(60)
TOPIC = TopicIdentity("cluster", "browse", "topic-id")


def timed(times: Sequence[int]) -> list[Sealable]:
    """Give records of these times."""
    made = []
    for each, time_ms in zip(RECORDS, times, strict=False):
        entry = msgspec.structs.replace(entries.decode(each.record.entry), time=time_ms)
        record = msgspec.structs.replace(each.record, entry=entries.encode(entry))
        made.append(msgspec.structs.replace(each, record=record))
    return made


@dataclass
class Log:
    """A sealed log as its readers see it; all its blocks sealed within the minute, as by a rebuild."""

    times: Sequence[int]
    sizes: Sequence[int]
    published: int | None = None
    sealed_ms: int = MONTH.end_ms + 28 * DAY_MS
    blocks: list[StoredBlock] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.records = timed(self.times)
        state, start = LogState(LOG, 0), 0
        for number, size in enumerate(self.sizes):
            mine = self.records[start : start + size]
            block = core.next_block(state, TOPIC, mine, self.sealed_ms + number, "epoch")
            self.blocks.append(block.stored(bytes(64)))
            state, start = block.after, start + size

    def _checkpoint(self, size: int) -> StoredCheckpoint:
        return StoredCheckpoint(LOG, size, bytes(32), f"note of {size}")

    async def head(self, _log: str) -> Head:
        last = self.blocks[-1]
        published = last.size if self.published is None else self.published
        return Head(last.height, self._checkpoint(last.size), self._checkpoint(published))

    async def block(self, _log: str, height: int) -> StoredBlock:
        return self.blocks[height]

    async def checkpoint(self, _log: str, size: int) -> StoredCheckpoint:
        return self._checkpoint(size)

    async def entries(self, _log: str, first: int, end: int) -> list[bytes]:
        head = await self.head(LOG)
        assert head.published is not None
        assert end <= head.published.size, "only what is published is read"
        return [each.record.entry for each in self.records[first:end]]

    async def span(self, monkeypatch: pytest.MonkeyPatch) -> Span:
        async def frontier(*_: object) -> list[bytes]:
            return []

        monkeypatch.setattr(Spans, "_frontier", frontier)
        store, reader = cast("MongoBlockStore", self), cast("LogReader", self)
        found = await Spans(store, reader, cast("EntryReader", self)).of(LOG, MONTH)
        assert found is not None
        return found


async def test_a_store_made_anew_after_the_month_has_the_same_span(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks are all of the day of the rebuild; what is sealed in them is of when it was."""
    start_ms = MONTH.start_ms
    days = [-20, -10, 1, 8, 15, 22, 29, 36, 43, 50]
    log = Log([start_ms + day * DAY_MS for day in days for _ in range(4)], [4] * 10)
    span = await log.span(monkeypatch)
    assert (span.first, span.end) == (8, 32)
    assert (span.first_checkpoint, span.last_checkpoint) == ("note of 8", "note of 32")


@given(
    st.lists(st.integers(-40 * DAY_MS, 70 * DAY_MS), min_size=1, max_size=60),
    st.lists(st.integers(0, SLACK_MS), min_size=60, max_size=60),
    st.data(),
)
@settings(max_examples=100, deadline=None)
async def test_none_of_the_month_is_left_out_while_records_are_a_day_out_of_order_at_the_most(
    times: list[int], late: list[int], data: st.DataObject
) -> None:
    """Records are in the order in which they came, each up to a day after its time."""
    came = sorted(MONTH.start_ms + time for time in times)
    times = [time - by for time, by in zip(came, late, strict=False)]
    cuts = sorted({0, len(times), *data.draw(st.sets(st.integers(0, len(times))))})
    sizes = [end - start for start, end in pairwise(cuts)]
    published = data.draw(st.sampled_from(cuts[1:]))
    with pytest.MonkeyPatch.context() as patch:
        span = await Log(times, sizes, published).span(patch)
    assert 0 <= span.first <= span.end <= published
    outside = [*times[: span.first], *times[span.end : published]]
    assert not [time for time in outside if MONTH.day_of(time)]
