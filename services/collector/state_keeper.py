"""Keeping the states of goods, and the events that were flagged: follows `goods.stored` in a group of its own, so that neither stages nor verdicts wait for it.

Where stages run in the same process it lets them go first: while they have work it takes a batch each `PATIENCE_S` only. So a burst of
captures is sealed at full speed, and the states of a key that is in many of its events are written once.

What a registration changes of states that are there is only noted with its batch, and derived anew in portions between the batches
(`renewing.py`): by who follows the partition of the registration, so that the group shares it and takes it over from who was killed.

A group that is new begins with the first record, so the states of goods that were sealed before there were states come too.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog
from confluent_kafka import Message

from goodstrace.errors import EntryError
from goodstrace.goods.corrections import Given
from goodstrace.goods.sightings import Kept, sightings
from services.collector.flagged import flagged
from services.collector.flagged_store import FlaggedStore
from services.collector.following import Following
from services.collector.goods_states import Stored, events, registered
from services.collector.metrics import Metrics
from services.collector.renewal_store import RenewalStore
from services.collector.renewals import Renewed
from services.collector.renewing import Renewing
from services.collector.state_store import StateStore
from services.runtime import envelope, topics
from services.runtime.errors import EnvelopeError
from services.runtime.group_source import Source
from services.runtime.merchants.flagged import FlaggedEvent
from services.runtime.settings import KafkaSettings
from services.runtime.waiting import until_set

PATIENCE_S: Final = 10.0
_LOOK_S: Final = 0.2
_RENEWING_S: Final = 1.0
"""How long states are derived anew between two batches, and a portion longer: other goods wait for it."""


class StateKeeper(Following):
    """Keeps the states of goods up to date until it is asked to stop."""

    def __init__(
        self,
        kafka: KafkaSettings,
        store: StateStore,
        renewals: RenewalStore,
        flagged_events: FlaggedStore,
        *,
        metrics: Metrics,
        log: structlog.stdlib.BoundLogger,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """Join the keepers' group; `is_busy` says whether the stages of this process have work."""
        self._store, self._flagged = store, flagged_events
        self._renewing = Renewing(store, renewals, log)
        self._is_busy = is_busy
        source = Source(
            kafka.bootstrap_servers,
            kafka.topic("collector.states"),
            [kafka.topic(topics.GOODS_STORED)],
            on_partition=lambda *_: self._renewing.look(),
            client="states",
        )
        super().__init__("states", source, metrics, log)

    async def _prepare(self) -> None:
        await self._store.prepare()
        await self._flagged.prepare()

    async def _turn(self, stop: asyncio.Event) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while self._is_busy() and not stop.is_set() and time.monotonic() < until_s:
            await until_set(stop, _LOOK_S)

    async def _keep(self, batch: Sequence[Message]) -> None:
        started = time.perf_counter()
        told = await self._thread.run(_told, batch)
        self._metrics.states_written.inc(await self._store.apply(told.said, told.given))
        await self._renewing.add(told.firsts)
        await self._flagged.add(told.flagged)
        self._metrics.states_seconds.observe(time.perf_counter() - started)

    async def _between(self, stop: asyncio.Event) -> None:
        until_s = time.monotonic() + _RENEWING_S
        logs = {log_of(partition) for _, partition in self._source.assigned()}
        while not stop.is_set():
            written = await self._renewing.portion(logs)
            self._metrics.states_to_renew.set(self._renewing.states_left())
            self._metrics.states_written.inc(written or 0)
            if written is None or time.monotonic() >= until_s:  # one at least, however long it takes
                break


def log_of(partition: int) -> str:
    """Name the log into which a partition of `goods.stored` is sealed."""
    return f"goods/{partition}"


def placed(partition: int, offset: int, value: bytes) -> Stored:
    """Give a record of `goods.stored` its place in its log. Raises: EnvelopeError."""
    return Stored(log_of(partition), offset, envelope.decode_committed(value))


class Gathered(msgspec.Struct, frozen=True):
    """What a batch says: of goods by key, of merchants, and which of its events are flagged.

    firsts: of which merchants it has registrations, by log, and the record time of the earliest, Unix milliseconds.
    """

    said: Mapping[str, Kept]
    given: Sequence[Given]
    firsts: Mapping[Renewed, int]
    flagged: Sequence[FlaggedEvent]


def gathered(records: Sequence[Stored]) -> Gathered:
    """Gather what records say. Raises: EnvelopeError."""
    try:
        seen = list(events(records))
        told, firsts = list(registered(records)), dict[Renewed, int]()
        for stored, each in told:
            of = stored.log, each.registration.merchant
            firsts[of] = min(each.record_ms, firsts.get(of, each.record_ms))
        return Gathered(sightings(seen), [each for _, each in told], firsts, list(flagged(seen)))
    except EntryError as error:
        raise EnvelopeError(str(error)) from error


def _told(batch: Sequence[Message]) -> Gathered:
    return gathered(
        [placed(int(each.partition() or 0), int(each.offset() or 0), each.value() or b"") for each in batch]
    )
