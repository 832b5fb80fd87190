"""The rounds of the root log: every so often, what each log has grown to goes onto the topic that the root log seals.

Only the process that owns partition 0 of that topic makes rounds. The writer of a round fences every earlier one before it
reads the logs' heads, and heads only grow: so the topic never goes backwards in any log, whoever was paused or killed. What
the one before had written and not marked as pinned is marked then, and not written again.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from goodstrace.entry import ID_BYTES, SALT_BYTES
from goodstrace.key_changes import KeyChange
from goodstrace.root import KEY_CHANGES_PART
from services.ledger import root_records
from services.ledger.metrics import RootMetrics
from services.runtime import envelope
from services.runtime.envelope import Part
from services.runtime.errors import ServiceError
from services.runtime.kafka import FencedError
from services.runtime.waiting import until_set
from services.sealing.pins import PinnedBlock, SignedHeader
from services.sealing.values import Head


class HeadStore(Protocol):
    """What rounds read of the logs and remember; see services.sealing.pins.Pins."""

    async def heads(self) -> dict[str, Head]:
        """Tell how far every log is published; the root log only where its changed key is to be pinned."""
        ...

    async def key_changes(self) -> dict[str, tuple[KeyChange, ...]]:
        """Tell how the keys of the logs changed; those of which none did are left out."""
        ...

    async def pinned(self, heads: Iterable[Head]) -> set[str]:
        """Tell of which of these heads the checkpoint is pinned."""
        ...

    async def headers(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], SignedHeader]:
        """Read the headers of blocks."""
        ...

    async def pin(self, heads: Iterable[Head]) -> None:
        """Remember that these are pinned."""
        ...

    async def pin_again(self, pinned: Iterable[PinnedBlock]) -> None:
        """Remember so of what was read back from the topic, as far as it is of this store."""
        ...


class RoundTopic(Protocol):
    """The topic that rounds are written to, by one writer at a time."""

    async def take_over(self) -> None:
        """Fence every earlier writer. Raises: UnavailableError."""
        ...

    async def write(self, values: Sequence[bytes]) -> None:
        """Write all values in order, or none; durable when it returns.

        Raises: FencedError where a later writer took over; UnavailableError where the outcome is not known.
        """
        ...

    async def newest(self, count: int) -> list[bytes]:
        """Read the last `count` values that were written, in order. Raises: UnavailableError."""
        ...

    async def give_up(self) -> None:
        """Forget the writer; `take_over` comes before the next `write`."""
        ...


class RootRounds:
    """Makes rounds as long as `owns` says that this process seals the root log."""

    def __init__(
        self,
        store: HeadStore,
        topic: RoundTopic,
        owns: Callable[[], bool],
        *,
        interval_s: float,
        now_ms: Callable[[], int],
        metrics: RootMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Pin what `store` holds on `topic`, at most every `interval_s` seconds."""
        self._store = store
        self._topic = topic
        self._owns = owns
        self._interval_s = interval_s
        self._now_ms = now_ms
        self._metrics = metrics
        self._log = log
        self._writing = False
        self._pinned: dict[str, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Make rounds until `stop`. What cannot be reached is tried again with the next round.

        Raises: CorruptError, where a published block is not there: it wants an operator.
        """
        try:
            while not stop.is_set():
                try:
                    await self.round()
                except ServiceError as error:
                    await self._forget()
                    if not (error.retry or isinstance(error, FencedError)):
                        raise
                    self._metrics.failures.inc()
                    self._log.warning("round not made", category=error.category, error=str(error))
                await until_set(stop, self._interval_s)
        finally:
            await self._topic.give_up()

    async def round(self) -> int:
        """Pin every log that grew since its last round; give how many there were.

        1. Where this process has just become the owner it fences the writers before it, and marks what they left unmarked.
        2. The heads are read after that, never before: else an older one could follow a newer.
        3. The records are written together, and once they are durable the checkpoints are marked as pinned.
        """
        if not self._owns():
            self._metrics.lag.set(0)  # it is the owner's to tell: what was known here grows old
            await self._forget()
            return 0
        if not self._writing:
            await self._topic.take_over()
            self._writing = True
            await self._mark_again()
        heads = root_records.grown(await self._store.heads(), self._pinned)
        known = await self._store.pinned(heads) if heads else set()
        self._remember(head for head in heads if head.checkpoint.log in known)
        heads = root_records.without(heads, known)
        headers = await self._store.headers(_places(heads)) if heads else {}
        self._metrics.lag.set(self._lag_s(heads, headers))
        if heads:
            changes = await self._store.key_changes()  # after the heads: no newer key has signed them
            await self._topic.write([self._value(head, headers, changes) for head in heads])
            await self._store.pin(heads)
            self._remember(heads)
        self._metrics.rounds.inc()
        self._metrics.pinned.inc(len(heads))
        return len(heads)

    async def _mark_again(self) -> None:
        """Mark what is on the topic and may not be marked: the last round at the most, since every writer begins with this."""
        if logs := await self._store.heads():
            values = await self._topic.newest(
                len(logs) + 1
            )  # a round has one record of a log; the root log may be one
            await self._store.pin_again(root_records.pinned(values))

    def _value(
        self,
        head: Head,
        headers: Mapping[tuple[str, int], SignedHeader],
        changes: Mapping[str, Sequence[KeyChange]],
    ) -> bytes:
        log = head.checkpoint.log
        new = root_records.unsealed(changes.get(log, ()), self._pinned.get(log, -1))
        record = root_records.checkpoint_record(
            head,
            headers[head.checkpoint.log, head.height].header,
            record_id=os.urandom(ID_BYTES),
            salt=os.urandom(SALT_BYTES),
            time_ms=self._now_ms(),
            beside=[Part(KEY_CHANGES_PART, os.urandom(SALT_BYTES), new)] if new else [],
        )
        return envelope.encode(record)

    def _lag_s(self, heads: Iterable[Head], headers: Mapping[tuple[str, int], SignedHeader]) -> float:
        """Say how long the block that waited longest has waited; 0 where none did. Raises: CorruptError."""
        decoded = [
            root_records.checked_header(head, headers[head.checkpoint.log, head.height].header)
            for head in heads
        ]
        return max(0.0, (self._now_ms() - min(each.time for each in decoded)) / 1000) if decoded else 0.0

    def _remember(self, heads: Iterable[Head]) -> None:
        self._pinned.update({head.checkpoint.log: head.checkpoint.size for head in heads})

    async def _forget(self) -> None:
        if self._writing:
            self._writing = False
            self._pinned.clear()
            await self._topic.give_up()


def _places(heads: Collection[Head]) -> list[tuple[str, int]]:
    return [(head.checkpoint.log, head.height) for head in heads]
