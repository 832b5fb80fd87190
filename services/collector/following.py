"""Following topics behind the stages: read a batch, keep what it says, commit. At least once, so what is kept must bear repetition."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog
from confluent_kafka import Message

from services.collector.metrics import Metrics
from services.collector.retry import persistently
from services.runtime.group_source import Source
from services.runtime.threads import OneThread

_BATCH_RECORDS: Final = 10_000
_BATCH_BYTES: Final = 16 * 1024 * 1024
_WAIT_S: Final = 0.2


class Following(ABC):
    """Keeps something up to date with topics until it is asked to stop; neither stages nor ledger wait for it."""

    def __init__(
        self, name: str, source: Source, metrics: Metrics, log: structlog.stdlib.BoundLogger
    ) -> None:
        """Follow `source`; `name` is the loop's in metrics and logs."""
        self._name = name
        self._source = source
        self._metrics = metrics
        self._log = log
        self._thread = OneThread(name)
        self._rewind = False

    async def run(self, stop: asyncio.Event, started: Callable[[], None] = lambda: None) -> None:
        """Keep batch after batch; `started` is called once it reads. Raises: ServiceError that a retry does not mend."""
        try:
            await persistently(self._prepare, self._name, stop, self._metrics, self._log)
            started()
            while not stop.is_set():
                await self._turn(stop)
                await persistently(partial(self._round, stop), self._name, stop, self._metrics, self._log)
        finally:
            await self._thread.run(self._source.close)

    @abstractmethod
    async def _prepare(self) -> None:
        """Make ready what the batches are kept in."""

    @abstractmethod
    async def _keep(self, batch: Sequence[Message]) -> None:
        """Keep what a batch says. Raises: ServiceError: it will come again."""

    async def _turn(self, stop: asyncio.Event) -> None:
        """Wait for the time to read the next batch: at once, where nothing else is said."""
        del stop
        await asyncio.sleep(0)

    async def _between(self, stop: asyncio.Event) -> None:
        """Do what is to be done between batches, for seconds at most: nobody polls meanwhile.

        Raises: ServiceError: it is tried again behind the next batch, so that a failure that lasts does not cost the membership.
        """
        del stop

    async def _round(self, stop: asyncio.Event) -> None:
        await self._cycle()
        await self._between(stop)

    async def _cycle(self) -> None:
        """Read a batch and keep it. One that failed is read again: who does not poll for minutes loses its partitions."""
        batch = await self._thread.run(self._read)
        if not batch:
            return
        self._rewind = True  # until this batch is committed
        await self._keep(batch)
        following = {
            (str(each.topic()), int(each.partition() or 0)): int(each.offset() or 0) + 1 for each in batch
        }
        await self._thread.run(self._source.commit, following)
        self._rewind = False
        self._metrics.kept_last.labels(self._name).set(time.time())

    def _read(self) -> list[Message]:
        if self._rewind:
            self._source.rewind()
            self._rewind = False
        batch = self._source.poll(_BATCH_RECORDS, _BATCH_BYTES, _WAIT_S)
        waiting = self._source.lag() if batch else 0
        self._metrics.behind.labels(self._name).set(waiting + len(batch))
        return batch
