"""The job projector: reads `goods.stored` and `goods.rejected` and keeps each capture's verdicts. At least once."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog
from confluent_kafka import Message

from services.collector.jobs import Seen, Verdicts, gather
from services.collector.kafka import Source
from services.collector.metrics import Metrics
from services.collector.mongo import JobStore
from services.collector.retry import persistently
from services.runtime import envelope, topics
from services.runtime.settings import KafkaSettings

_BATCH_RECORDS = 2_000
_BATCH_BYTES = 16 * 1024 * 1024
_WAIT_S = 0.2


class Projector:
    """Keeps jobs up to date until it is asked to stop."""

    def __init__(
        self, kafka: KafkaSettings, jobs: JobStore, metrics: Metrics, log: structlog.stdlib.BoundLogger
    ) -> None:
        """Join the projectors' group."""
        self._jobs = jobs
        self._metrics = metrics
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="projector")
        self._source = Source(
            kafka.bootstrap_servers,
            kafka.topic("collector.projector"),
            [kafka.topic(topics.GOODS_STORED), kafka.topic(topics.GOODS_REJECTED)],
            on_partition=lambda *_: None,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Project batch after batch. Raises: ServiceError that a retry does not mend."""
        loop = asyncio.get_running_loop()
        try:
            await persistently(self._jobs.prepare, "projector", stop, self._metrics, self._log)
            while not stop.is_set():
                batch = await persistently(self._poll, "projector", stop, self._metrics, self._log)
                if batch:
                    keep = partial(self._keep, batch)
                    await persistently(keep, "projector", stop, self._metrics, self._log)
        finally:
            await loop.run_in_executor(self._thread, self._source.close)

    async def _poll(self) -> list[Message]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, self._source.poll, _BATCH_RECORDS, _BATCH_BYTES, _WAIT_S
        )

    async def _keep(self, batch: Sequence[Message]) -> None:
        loop = asyncio.get_running_loop()
        await self._jobs.add(await loop.run_in_executor(self._thread, _gather, batch))
        following = {
            (str(each.topic()), int(each.partition() or 0)): int(each.offset() or 0) + 1 for each in batch
        }
        await loop.run_in_executor(self._thread, self._source.commit, following)


def _gather(batch: Sequence[Message]) -> list[Verdicts]:
    return gather(
        Seen(
            topic=str(message.topic()),
            partition=int(message.partition() or 0),
            offset=int(message.offset() or 0),
            written_ms=int(message.timestamp()[1]),
            record=envelope.decode(message.value() or b""),
        )
        for message in batch
    )
