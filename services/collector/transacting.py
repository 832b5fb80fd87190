"""Taking batches from Kafka within transactions, again and again, until asked to stop: the loop of the stages and of the ingress.

A cycle: read a batch in the thread, do something with it that ends in one transaction with its offsets, count it. Whatever fails:
the transaction is aborted, and the next cycle goes back to the committed offsets.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from confluent_kafka import Message

from services.collector.metrics import Metrics
from services.collector.retry import persistently
from services.collector.transactions import Transactions
from services.runtime.errors import ServiceError
from services.runtime.group_source import Source
from services.runtime.threads import OneThread

WAIT_S: Final = 0.2


class Transacting(ABC):
    """One such loop. What it does with Kafka is done by one thread of its own."""

    def __init__(
        self,
        name: str,
        transactions: Transactions,
        metrics: Metrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Write by `transactions`; `name` is the loop's in metrics and logs."""
        self._name = name
        self._transactions = transactions
        self._metrics = metrics
        self._log = log
        self._thread = OneThread(name)
        self._source: Source | None = None
        self._rewind = False

    async def run(self, stop: asyncio.Event, started: Callable[[], None] = lambda: None) -> None:
        """Run cycle after cycle; one that has begun is finished before it returns. `started` is called once it reads.

        Raises: ServiceError that a retry does not mend: fenced, offsets lost, a gap in the topic, a record that is none of ours.
        """
        try:
            await self._persistently(self._prepare, stop)
            await self._persistently(lambda: self._thread.run(self._start), stop)
            started()
            while not stop.is_set():
                await self._persistently(self._cycle, stop)
        finally:
            await self._thread.run(self._close)

    @abstractmethod
    async def _prepare(self) -> None:
        """Do what must be done before anything is read."""

    @abstractmethod
    def _open(self) -> Source:
        """Connect to what is read. Called once, in the thread."""

    @abstractmethod
    def _poll(self, source: Source) -> list[Message]:
        """Read a batch, perhaps an empty one. Called in the thread."""

    @abstractmethod
    async def _take(self, batch: list[Message]) -> None:
        """Do with a batch what is to be done, up to the transaction with its offsets."""

    async def _cycle(self) -> None:
        batch = await self._thread.run(self._read)
        if batch:
            self._rewind = True  # until this batch is committed
            await self._take(batch)

    def _committed(self) -> None:
        """Note that the batch at hand is committed: from here on no failure reads it again."""
        self._rewind = False

    @property
    def _reading(self) -> Source:
        assert self._source is not None
        return self._source

    def _start(self) -> None:
        # First take the transactional ID over: what a killed predecessor left open is aborted, and its offsets are stable.
        self._transactions.start()
        if self._source is None:
            self._source = self._open()

    def _read(self) -> list[Message]:
        source = self._reading
        self._transactions.start()
        if self._rewind:
            source.rewind()
            self._rewind = False
        return self._poll(source)

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._transactions.close()

    async def _persistently(self, attempt: Callable[[], Awaitable[Any]], stop: asyncio.Event) -> Any:
        try:
            return await persistently(attempt, self._name, stop, self._metrics, self._log)
        except ServiceError as error:
            self._log.error(f"the {self._name} loop stops", category=error.category, error=str(error))
            raise


def place_of(message: Message) -> tuple[int, int]:
    """Give the partition and the offset of a message."""
    return int(message.partition() or 0), int(message.offset() or 0)
