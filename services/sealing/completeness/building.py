"""Writing runs: of rows that are sorted, and of runs that become one; with a turn for others after each few thousand rows."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from goodstrace.completeness.leaf import Run
from goodstrace.completeness.rows import ROW_BYTES, split
from services.sealing.completeness import layout
from services.sealing.completeness.layout import CHUNK_ROWS, Builder, Place, run_id
from services.sealing.errors import CorruptError

ROWS_AT_ONCE: Final = 4 * CHUNK_ROWS
WRITE_AT_ONCE: Final = 64


class RunStore(Protocol):
    """Where runs are kept; see services.sealing.completeness.store.MongoRuns."""

    async def begin(self, since: int, to: int, most_rows: int) -> None:
        """Say that a run is being written."""
        ...

    async def put(self, run: str, documents: dict[Place, bytes]) -> None:
        """Write documents of a run."""
        ...

    async def finish(self, run: Run) -> None:
        """Say that a run is written."""
        ...

    async def documents(self, run: str, places: Iterable[Place]) -> dict[Place, bytes]:
        """Read documents of a run."""
        ...


async def build(store: RunStore, since: int, to: int, rows: Iterable[bytes], most_rows: int) -> Run:
    """Write the run of sorted rows, of which there are at most `most_rows`; durable when it returns.

    Raises: UnavailableError, CorruptError.
    """
    return await _write(store, since, to, most_rows, _slices(iter(rows)))


async def merge(store: RunStore, runs: Sequence[Run]) -> Run:
    """Write the run that takes the place of neighbours; holds a chunk of each. Durable when it returns.

    Raises: UnavailableError, CorruptError, also where what is read is not the runs.
    """
    total = sum(run.rows for run in runs)
    made = await _write(store, runs[0].since, runs[-1].to, total, _merged(store, runs))
    if made.rows != total:
        raise CorruptError(f"merging gave {made.rows} rows of {total}")
    return made


async def _write(store: RunStore, since: int, to: int, most_rows: int, slices: AsyncIterator[bytes]) -> Run:
    name = run_id(since, to)
    await store.begin(since, to, most_rows)
    builder = Builder()
    waiting: dict[Place, bytes] = {}
    async for rows in slices:
        waiting.update(builder.add(rows))
        if len(waiting) >= WRITE_AT_ONCE:
            await store.put(name, waiting)
            waiting = {}
        await asyncio.sleep(0)
    waiting.update(builder.finish())
    await store.put(name, waiting)
    run = Run(builder.built.root.hex(), builder.built.rows, since, to)
    await store.finish(run)
    return run


async def _slices(rows: Iterator[bytes]) -> AsyncIterator[bytes]:
    while some := b"".join(islice(rows, ROWS_AT_ONCE)):
        yield some


async def _merged(store: RunStore, runs: Sequence[Run]) -> AsyncIterator[bytes]:
    """Give the rows of runs in order: those that are not above the last row held of any run that goes on."""
    sources = [_Source(store, run) for run in runs if run.rows]
    while sources:
        for source in sources:
            await source.fill()
        bound = min((source.held[-1] for source in sources if source.goes_on), default=b"\xff" * ROW_BYTES)
        rows = [row for source in sources for row in source.take(bound)]
        rows.sort()
        sources = [source for source in sources if source.held or source.goes_on]
        if rows:
            yield b"".join(rows)


class _Source:
    """A run that is read chunk by chunk."""

    def __init__(self, store: RunStore, run: Run) -> None:
        self._store, self._name = store, run_id(run.since, run.to)
        self._chunks = iter(range(layout.counts(run.rows)[0]))
        self._left = layout.counts(run.rows)[0]
        self.held: list[bytes] = []

    @property
    def goes_on(self) -> bool:
        return self._left > 0

    async def fill(self) -> None:
        """Hold a chunk, if there is one left and none is held."""
        if not self.held and self._left:
            place = Place(0, next(self._chunks))
            self._left -= 1
            self.held = split((await self._store.documents(self._name, [place]))[place])

    def take(self, bound: bytes) -> list[bytes]:
        """Give and forget the rows up to a bound."""
        count = bisect_right(self.held, bound)
        taken, self.held = self.held[:count], self.held[count:]
        return taken
