"""A bench on which tests run sealers: a store, a topic and keys in memory."""

import asyncio
from collections.abc import Callable

import pytest
import structlog
from prometheus_client import CollectorRegistry

from services.runtime import retry
from services.runtime.monitoring import Readiness
from services.sealing.core import Limits
from services.sealing.metrics import SealMetrics
from services.sealing.publishing import AtOnce, Publishing
from services.sealing.service import Sealer
from services.sealing.writer import SealerParts
from tests.log_checks import assert_store_intact
from tests.memory_store import Killed, MemoryKeys, MemorySource, MemoryStore, MemoryTopic, TestClock
from tests.records import make_record, make_value

LOG = "goods/0"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once, in modules that import this."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(retry, "LONGEST_WAIT_S", 0.0)


async def until(condition: Callable[[], bool], deadline_s: float = 20) -> None:
    """Let the loop turn until a condition holds."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is a store's state, which tells nobody
            await asyncio.sleep(0)


class Bench:
    """A topic and a store that outlive the processes that seal one into the other."""

    def __init__(self, partitions: int = 1, *, prefix: str = "goods") -> None:
        self.prefix = prefix
        self.topic = MemoryTopic(partitions)
        self.store = MemoryStore()
        self.keys = MemoryKeys()
        self.clock = TestClock()
        self.epochs = 0
        self.readiness = Readiness()
        self.metrics = SealMetrics("test", CollectorRegistry())
        self.publishing: Publishing = AtOnce()

    def fill(self, count: int, *, partition: int = 0, hole: int = 0) -> None:
        first = len(self.topic.records[partition])
        for number in range(first, first + count):
            self.topic.append(partition, make_value(number, partition=partition), hole=hole)

    def new_epoch(self) -> str:
        self.epochs += 1
        return f"epoch{self.epochs}"

    def sealer(
        self,
        *,
        entries: int = 4,
        source: MemorySource | None = None,
        age_ms: int = 1,
        spacing_ms: int = 0,
    ) -> Sealer:
        self.store.dead = False
        self.metrics = SealMetrics("test", CollectorRegistry())
        self.readiness = Readiness()
        parts = SealerParts(
            store=self.store,
            source=source or MemorySource(self.topic),
            now_ms=self.clock.now_ms,
            limits=Limits(entries=entries, age_ms=age_ms, spacing_ms=spacing_ms),
            new_epoch=self.new_epoch,
            metrics=self.metrics,
            log=structlog.get_logger(),
            publishing=self.publishing,
        )
        return Sealer(parts, self.keys, prefix=self.prefix, name="test.local", readiness=self.readiness)

    async def run(self, *, entries: int = 4) -> None:
        """Run one process until all is sealed and published, then ask it to stop."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.sealer(entries=entries).run(stop))
        await until(lambda: task.done() or self.done())
        stop.set()
        await task

    def done(self) -> bool:
        heads = [self.store.heads.get(f"{self.prefix}/{p}") for p in range(len(self.topic.records))]
        sizes = [head.checkpoint.size if head else 0 for head in heads]
        return sizes == [len(records) for records in self.topic.records]

    def crash(self) -> bool:
        """Run one process that may be killed on its way; False where it was not."""
        try:
            asyncio.run(self.run())
        except Killed:
            return True
        return False

    async def entries(self, *, partition: int = 0) -> list[bytes]:
        return await assert_store_intact(self.store, f"{self.prefix}/{partition}")

    def expected(self, partition: int = 0) -> list[bytes]:
        count = len(self.topic.records[partition])
        return [make_record(number, partition=partition).entry for number in range(count)]
