"""The projector: reads `goods.stored` and `goods.rejected`, keeps goods information, verdicts, rejections. At least once.

It runs behind the stages: neither they nor the ledger wait for it. When it is behind it takes more records together, and then
writes each of the keys that they have in common once.
"""

import time
from collections.abc import Sequence

import msgspec
import structlog
from confluent_kafka import Message

from goodstrace.entry import Kind
from goodstrace.errors import EntryError
from services.collector import goods
from services.collector.following import Following
from services.collector.goods import Change
from services.collector.jobs import Seen, Verdicts, gather
from services.collector.metrics import Metrics
from services.collector.mongo import GoodsStore, JobStore
from services.collector.registry import registrations
from services.collector.registry.registrations import Changes
from services.collector.registry.store import RegistryStore
from services.collector.rejection_store import RejectionStore
from services.collector.rejections import Rejection, of_batch
from services.runtime import envelope, topics
from services.runtime.errors import EnvelopeError
from services.runtime.group_source import Source
from services.runtime.settings import KafkaSettings


class _Told(msgspec.Struct, frozen=True):
    """What a batch says: of goods by key, of merchants by number, what is registered, of captures, of what was refused."""

    goods: dict[str, Change]
    merchants: dict[int, Change]
    registered: Changes
    verdicts: list[Verdicts]
    rejections: list[Rejection]


class Projector(Following):
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
        source = Source(
            kafka.bootstrap_servers,
            kafka.topic("collector.projector"),
            [self._stored, kafka.topic(topics.GOODS_REJECTED)],
            on_partition=lambda *_: None,
            client="projector",
        )
        super().__init__("projector", source, metrics, log)

    async def _prepare(self) -> None:
        await self._jobs.prepare()
        await self._registry.prepare()
        await self._rejections.prepare()

    async def _keep(self, batch: Sequence[Message]) -> None:
        """Write what a batch says; goods first, so that where a job has finished its goods and rejections are known."""
        told = await self._thread.run(_gather, self._stored, batch)
        started = time.perf_counter()
        await self._goods.apply(told.goods, told.merchants)
        await self._registry.apply(told.registered)
        self._metrics.goods_seconds.observe(time.perf_counter() - started)
        await self._rejections.add(told.rejections)
        await self._jobs.add(told.verdicts)


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
