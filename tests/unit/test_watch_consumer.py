"""No record is skipped where the watch's worker starts, or where partitions come: reading and seeking take turns."""

import asyncio
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from faust.types import TP

from services.audit.watch.consumer import OrderedConsumer
from services.audit.watch.faust_app import WatchApp
from services.audit.watch.settings import WatchSettings
from services.runtime.settings import KafkaSettings, load

PLACE: Final = TP("looks", 0)
RECORDS: Final = 60
BATCH: Final = 25


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("GOODSTRACE_WATCH_DATA_DIR", str(tmp_path))


class Broker:
    """A partition with a position and a committed offset, in the place of Faust's thread around aiokafka."""

    def __init__(self, consumer: Any, committed: int | None) -> None:
        self.committed, self.position = committed, committed or 0
        consumer._getmany, consumer.assignment = self.getmany, lambda: {PLACE}
        consumer.seek_to_committed, consumer.seek_wait = self.seek_to_committed, self.seek_wait
        consumer.earliest_offsets, consumer.highwater = self.earliest_offsets, lambda _: RECORDS
        consumer._to_message = lambda tp, offset: SimpleNamespace(tp=tp, offset=offset, topic=tp.topic)
        consumer.scheduler = SimpleNamespace(
            iterate=lambda found: ((tp, n) for tp in found for n in found[tp])
        )

    async def getmany(self, active_partitions: Any, timeout: float) -> dict[TP, list[int]]:  # noqa: ASYNC109
        found = list(range(self.position, min(self.position + BATCH, RECORDS)))
        self.position += len(found)
        await asyncio.sleep(0.001)
        return {PLACE: found} if PLACE in active_partitions else {}

    async def seek_to_committed(self) -> dict[TP, int | None]:
        """As aiokafka: what has nothing committed stays where it is."""
        await asyncio.sleep(0)
        if self.committed:
            self.position = self.committed
        return {PLACE: self.committed}

    async def earliest_offsets(self, *places: TP) -> dict[TP, int]:
        return dict.fromkeys(places, 0)

    async def seek_wait(self, places: dict[TP, int]) -> None:
        self.position = places[PLACE]


class Reading:
    """Reads by Faust's own loop; `got` are the offsets that were handed on, in order."""

    def __init__(self, committed: int | None) -> None:
        made = WatchApp(load(KafkaSettings), load(WatchSettings))
        made.progress.close()
        transport: Any = made.app.transport
        made.app.loop = transport.loop = asyncio.get_running_loop()
        self.consumer: Any = transport.create_consumer(
            self.take, on_partitions_revoked=self.take, on_partitions_assigned=self.take
        )
        assert isinstance(self.consumer, OrderedConsumer)
        self.consumer._thread.thread_loop.close()  # the thread around aiokafka, which is never started
        self.broker = Broker(self.consumer, committed)
        self.consumer._active_partitions = {PLACE}
        self.got: list[int] = []
        self.reached: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.ended = asyncio.Event()

    async def take(self, message: Any) -> None:
        await asyncio.sleep(0)
        self.got.append(message.offset)
        self.reached[message.offset].set()

    async def at(self, offset: int) -> None:
        async with asyncio.timeout(10):
            await self.reached[offset].wait()

    def start(self) -> "asyncio.Task[None]":
        fetcher: Any = SimpleNamespace(_stopped=self.ended)
        return asyncio.create_task(self.consumer._drain_messages(fetcher))

    def skipped(self, first: int) -> list[int]:
        """List what did not come as the one after the last, from a new beginning on too."""
        due, missed = first, list[int]()
        for offset in self.got:
            missed += range(due, offset)
            due = offset + 1
        return missed


@pytest.mark.parametrize("committed", [7, None, 0])
@pytest.mark.parametrize("after", [0, 3, 11, 24])
async def test_a_seek_amid_what_was_fetched_skips_nothing(committed: int | None, after: int) -> None:
    """Partitions are active again before Faust seeks, so it reads and seeks at once."""
    first = committed or 0
    reading = Reading(committed)
    task = reading.start()
    await reading.at(first + after)
    await reading.consumer.perform_seek()
    begun = len(reading.got)
    reading.reached.clear()
    await reading.at(RECORDS - 1)
    reading.ended.set()
    await task
    assert reading.got[begun:] == list(range(first, RECORDS)), (
        "all from what is committed on comes again, in order"
    )
    assert not reading.skipped(first)
    assert not reading.consumer._gap[PLACE], "nothing counts as done that was not handed on"


@pytest.mark.parametrize("committed", [7, None, 0])
async def test_what_is_dropped_as_flow_stops_comes_again(committed: int | None) -> None:
    first = committed or 0
    reading = Reading(committed)
    task = reading.start()
    await reading.at(first + 4)
    reading.consumer.stop_flow()  # the rest of what was fetched is dropped
    await asyncio.sleep(0.05)
    await reading.consumer.perform_seek()
    begun = len(reading.got)
    reading.consumer.resume_flow()
    await reading.at(RECORDS - 1)
    reading.ended.set()
    await task
    assert reading.got[begun:] == list(range(first, RECORDS))


async def test_what_comes_while_flow_stops_is_sought_again_by_the_reader() -> None:
    reading = Reading(None)
    whole = reading.broker.getmany

    async def stopping(active_partitions: Any, timeout: float) -> dict[TP, list[int]]:  # noqa: ASYNC109
        found = await whole(active_partitions, timeout)
        reading.consumer._getmany = whole
        reading.consumer.stop_flow()
        return found

    reading.consumer._getmany = stopping
    task = reading.start()
    await asyncio.sleep(0.05)
    assert reading.got == []
    reading.consumer.resume_flow()
    await reading.at(RECORDS - 1)
    reading.ended.set()
    await task
    assert reading.got == list(range(RECORDS))
