"""A topic from where each log is to where it ends now, as the sealer's source: adapter behind `ports.RecordSource`."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from services.replay.reading import Batches, TopicReader
from services.runtime.threads import OneThread
from services.sealing.core import Fetched, TopicIdentity

Change = Callable[[int, Sequence[Fetched]], list[Fetched]]
Watch = Callable[[int, Sequence[Fetched]], Awaitable[None]]


class ReplaySource:
    """Gives the records of every partition once; `finished` is set when the sealer has had all of them."""

    def __init__(
        self, reader: TopicReader, *, change: Change | None = None, from_the_first: bool = False, watch: Watch
    ) -> None:
        """Read from `reader`.

        Args:
            reader: the topic; closed with this source.
            change: makes of a partition's records those that are to be sealed.
            from_the_first: `change` must see each partition from its first record on; what is sealed already is dropped
                behind it.
            watch: awaited with each partition's batch before the sealer gets it.
        """
        self._reader = reader
        self._change = change
        self._from_the_first = from_the_first
        self._watch = watch
        self._thread = OneThread("replay")
        self._next: dict[int, int] = {}
        self.finished = asyncio.Event()
        self.joined = False

    async def start(
        self, taken: Callable[[int], Awaitable[int]], given_up: Callable[[Sequence[int]], Awaitable[None]]
    ) -> None:
        """See RecordSource; all partitions that were ever written to are taken at once and none is ever given up."""
        del given_up
        for partition, extent in sorted(self._reader.extents.items()):
            if extent.end:
                self._next[partition] = await taken(partition)
        start = dict.fromkeys(self._next, 0) if self._from_the_first else self._next
        await self._thread.run(self._reader.start, start)
        self.joined = True

    async def poll(self, max_records: int, timeout_s: float) -> Batches:
        """See RecordSource."""
        if self._reader.finished:
            self.finished.set()
            await asyncio.sleep(timeout_s)
            return []
        batches = await self._thread.run(self._read, max_records, timeout_s)
        for partition, records in batches:
            await self._watch(partition, records)
        return batches

    async def identity(self) -> TopicIdentity:
        """See RecordSource."""
        return await asyncio.to_thread(self._reader.identity)

    async def hold(self, partitions: Iterable[int]) -> None:
        """See RecordSource."""
        wanted = list(partitions)
        await self._thread.run(self._reader.hold, wanted)

    async def close(self) -> None:
        """See RecordSource."""
        await self._thread.run(self._reader.close)
        self._thread.close()

    def _read(self, max_records: int, timeout_s: float) -> Batches:
        batches = self._reader.read(max_records, timeout_s)
        if self._change is not None:
            batches = [(partition, self._change(partition, records)) for partition, records in batches]
        wanted = [
            (partition, [each for each in records if each.offset >= self._next[partition]])
            for partition, records in batches
        ]
        return [(partition, records) for partition, records in wanted if records]
