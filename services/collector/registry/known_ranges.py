"""What a process remembers of the ranges that are registered of goods: `collect` asks for them with each event in which sensors report."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from services.collector.registry.ranges import Kept, Known
from services.runtime.errors import UnavailableError
from services.runtime.merchants.directory import Remembered, Staleness

_HOLD_OFF_S: Final = 1.0


class RangeSource(Protocol):
    """Where registrations of goods are read; `services.collector.registry.store.RegistryStore` is the real one."""

    async def kept(self, keys: Sequence[str]) -> Mapping[str, Kept]:
        """Give what is registered of goods, by canonical key. Raises: UnavailableError."""
        ...


class KnownRanges:
    """Ranges of goods, for seconds. Where the store is away, what is known counts on as `Staleness` says, and captures go on without the rest."""

    def __init__(
        self,
        source: RangeSource,
        staleness: Staleness,
        clock_s: Callable[[], float],
        failed: Callable[[], None],
    ) -> None:
        """Ask `source`; `clock_s` never goes back, `failed` is told of each time that it did not answer."""
        self._source, self._clock_s, self._failed = source, clock_s, failed
        self._remembered: Remembered[str, Kept | None] = Remembered(self._load, staleness, clock_s)
        self._keys: list[str] = []
        self._asking: asyncio.Task[Mapping[str, Kept]] | None = None
        self._away_until_s = clock_s()

    async def of(self, keys: Iterable[str]) -> Known:
        """Give what is registered of goods; a key of which it could not be read is left out. Raises nothing."""
        asked = list(dict.fromkeys(keys))
        found = await asyncio.gather(*map(self._read, asked))
        return {key: kept[0] for key, kept in zip(asked, found, strict=True) if kept is not None}

    async def _read(self, key: str) -> tuple[Kept | None] | None:
        try:
            return (await self._remembered.get(key),)
        except UnavailableError:
            return None

    async def _load(self, key: str) -> Kept | None:
        """Ask for a key, together with all that are asked for in the same turn of the loop."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        self._keys.append(key)
        return (await self._asking).get(key)

    async def _ask(self) -> Mapping[str, Kept]:
        keys, self._keys, self._asking = self._keys, [], None  # who comes from now on asks anew
        if self._clock_s() < self._away_until_s:
            raise UnavailableError("the store did not answer a moment ago")  # each capture would wait in vain
        try:
            return await self._source.kept(keys)
        except UnavailableError:
            self._away_until_s = self._clock_s() + _HOLD_OFF_S
            self._failed()
            raise
