"""Keeping the states of goods: follows `goods.stored` in a group of its own, so that neither stages nor verdicts wait for it.

A group that is new begins with the first record, so the states of goods that were sealed before there were states come too.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

import structlog
from confluent_kafka import Message

from goodstrace.errors import EntryError
from services.collector.following import Following
from services.collector.kafka import Source
from services.collector.metrics import Metrics
from services.collector.sightings import Kept, Placed, sightings
from services.collector.state_store import StateStore
from services.runtime import envelope, topics
from services.runtime.errors import EnvelopeError
from services.runtime.settings import KafkaSettings


class StateKeeper(Following):
    """Keeps the states of goods up to date until it is asked to stop."""

    def __init__(
        self, kafka: KafkaSettings, store: StateStore, metrics: Metrics, log: structlog.stdlib.BoundLogger
    ) -> None:
        """Join the keepers' group."""
        self._store = store
        source = Source(
            kafka.bootstrap_servers,
            kafka.topic("collector.states"),
            [kafka.topic(topics.GOODS_STORED)],
            on_partition=lambda *_: None,
        )
        super().__init__("states", source, metrics, log)

    async def _prepare(self) -> None:
        """Nothing is needed: a state is found by its ID."""

    async def _keep(self, batch: Sequence[Message]) -> None:
        started = time.perf_counter()
        said = await asyncio.get_running_loop().run_in_executor(self._thread, _said, batch)
        self._metrics.states_written.inc(await self._store.apply(said))
        self._metrics.states_seconds.observe(time.perf_counter() - started)


def placed(partition: int, offset: int, value: bytes) -> Placed:
    """Give a record of `goods.stored` its place in its log. Raises: EnvelopeError."""
    return Placed(f"goods/{partition}", offset, envelope.decode(value))


def gathered(records: Sequence[Placed]) -> Mapping[str, Kept]:
    """Gather what records say of goods. Raises: EnvelopeError."""
    try:
        return sightings(records)
    except EntryError as error:
        raise EnvelopeError(str(error)) from error


def _said(batch: Sequence[Message]) -> Mapping[str, Kept]:
    return gathered(
        [placed(int(each.partition() or 0), int(each.offset() or 0), each.value() or b"") for each in batch]
    )
