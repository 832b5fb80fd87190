"""The projector: reads `goods.stored` and `goods.rejected`, keeps goods information, verdicts, rejections. At least once.

It runs behind the stages: neither they nor the ledger wait for it. When it is behind it takes more records together, and then
writes each of the keys that they have in common once.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import structlog
from confluent_kafka import Message

from goodstrace.entry import Kind
from goodstrace.errors import EntryError
from services.collector import goods
from services.collector.goods import Change
from services.collector.jobs import Seen, Verdicts, gather
from services.collector.kafka import Source
from services.collector.metrics import Metrics
from services.collector.mongo import GoodsStore, JobStore
from services.collector.registry import registrations
from services.collector.registry.registrations import Changes
from services.collector.registry.store import RegistryStore
from services.collector.rejection_store import RejectionStore
from services.collector.rejections import Rejection, of_batch
from services.collector.retry import persistently
from services.runtime import envelope, topics
from services.runtime.errors import EnvelopeError
from services.runtime.settings import KafkaSettings

_BATCH_RECORDS = 10_000
_BATCH_BYTES = 16 * 1024 * 1024
_WAIT_S = 0.2


class _Told(msgspec.Struct, frozen=True):
    """What a batch says: of goods by key, of merchants by number, what is registered, of captures, of what was refused."""

    goods: dict[str, Change]
    merchants: dict[int, Change]
    registered: Changes
    verdicts: list[Verdicts]
    rejections: list[Rejection]


class Projector:
    """Keeps goods information and jobs up to date until it is asked to stop."""

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        jobs: JobStore,
        goods: GoodsStore,
        rejections: RejectionStore,
        registry: RegistryStore,
        metrics: Metrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Join the projectors' group."""
        self._jobs = jobs
        self._goods = goods
        self._rejections = rejections
        self._registry = registry
        self._stored = kafka.topic(topics.GOODS_STORED)
        self._metrics = metrics
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="projector")
        self._rewind = False
        self._source = Source(
            kafka.bootstrap_servers,
            kafka.topic("collector.projector"),
            [self._stored, kafka.topic(topics.GOODS_REJECTED)],
            on_partition=lambda *_: None,
        )

    async def run(self, stop: asyncio.Event, started: Callable[[], None] = lambda: None) -> None:
        """Project batch after batch; `started` is called once it reads. Raises: ServiceError that a retry does not mend."""
        loop = asyncio.get_running_loop()
        try:
            for prepare in (self._jobs.prepare, self._registry.prepare, self._rejections.prepare):
                await persistently(prepare, "projector", stop, self._metrics, self._log)
            started()
            while not stop.is_set():
                await persistently(self._cycle, "projector", stop, self._metrics, self._log)
        finally:
            await loop.run_in_executor(self._thread, self._source.close)

    async def _cycle(self) -> None:
        """Read a batch and keep it. One that failed is read again: who does not poll for minutes loses its partitions."""
        batch = await asyncio.get_running_loop().run_in_executor(self._thread, self._read)
        if batch:
            self._rewind = True  # until this batch is committed
            await self._keep(batch)
            self._rewind = False

    def _read(self) -> list[Message]:
        if self._rewind:
            self._source.rewind()
            self._rewind = False
        return self._source.poll(_BATCH_RECORDS, _BATCH_BYTES, _WAIT_S)

    async def _keep(self, batch: Sequence[Message]) -> None:
        """Write what a batch says; goods first, so that where a job has finished its goods and rejections are known."""
        loop = asyncio.get_running_loop()
        told = await loop.run_in_executor(self._thread, _gather, self._stored, batch)
        started = time.perf_counter()
        await self._goods.apply(told.goods, told.merchants)
        await self._registry.apply(told.registered)
        self._metrics.goods_seconds.observe(time.perf_counter() - started)
        await self._rejections.add(told.rejections)
        await self._jobs.add(told.verdicts)
        following = {
            (str(each.topic()), int(each.partition() or 0)): int(each.offset() or 0) + 1 for each in batch
        }
        await loop.run_in_executor(self._thread, self._source.commit, following)


def _gather(stored: str, batch: Sequence[Message]) -> _Told:
    seen = [
        Seen(
            topic=str(message.topic()),
            partition=int(message.partition() or 0),
            offset=int(message.offset() or 0),
            written_ms=int(message.timestamp()[1]),
            record=envelope.decode(message.value() or b""),
        )
        for message in batch
    ]
    records = [each.record for each in seen if each.topic == stored]
    try:
        known, merchants = goods.changes(each for each in records if each.kind is Kind.EVENT)
    except EntryError as error:
        raise EnvelopeError(str(error)) from error
    return _Told(known, merchants, registrations.changes(records), gather(seen), of_batch(seen))
