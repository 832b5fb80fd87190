"""What a process remembers of the ranges that are registered of goods: `collect` asks for them with each event in which sensors report.

A look-up: (1) what is fresh is given from memory; (2) what is missing is asked for in questions of one call to the store, one after the other;
(3) when LOOK_UP_S are over, what was answered by then counts, and of the rest what is remembered from before. Look-ups of the same turn of the
loop share questions, and each asks for the keys of one call at a time: so a small one waits for a call beside a large one, not for all of its calls.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from services.collector.registry.ranges import Kept, Known
from services.runtime.errors import UnavailableError
from services.runtime.merchants.directory import Answers, Staleness
from services.runtime.merchants.store import LOOK_UP_S
from services.runtime.mongo import NAMES_A_CALL

_HOLD_OFF_S: Final = 1.0
_Question = asyncio.Task[Known | None]
"""What the store answers of some keys; None where it does not."""


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
        """Ask `source`; `clock_s` never goes back, `failed` is told of each time that it did not answer, or not all of a look-up in time."""
        self._source, self._clock_s, self._failed = source, clock_s, failed
        self._answers: Answers[str, Kept | None] = Answers(staleness, clock_s)
        self._under_way: dict[str, _Question] = {}
        self._next: list[str] = []
        self._question: _Question | None = None
        self._away_until_s = clock_s()

    async def of(self, keys: Iterable[str]) -> Known:
        """Give what is registered of goods, after LOOK_UP_S at the latest; a key of which it could not be read is left out. Raises nothing.

        Each key takes a moment of the loop, so their number is for the caller to bound; where time is short the first ones count.
        """
        asked = list(dict.fromkeys(keys))
        fresh = {key: known.value for key in asked if (known := self._answers.fresh(key)) is not None}
        missing = [key for key in asked if key not in fresh]
        if not missing:
            return fresh
        answered = await self._ask(missing)
        left = [key for key in missing if key not in answered]
        stale = {key: known.value for key in left if (known := self._answers.stale(key)) is not None}
        return {**fresh, **answered, **stale}

    async def _ask(self, keys: Sequence[str]) -> dict[str, Kept | None]:
        """Ask for keys, until the time is up or the store is away, and give what was answered."""
        time_s = asyncio.get_running_loop().time
        until_s = time_s() + LOOK_UP_S
        found: dict[str, Kept | None] = {}
        for start in range(0, len(keys), NAMES_A_CALL):
            some = keys[start : start + NAMES_A_CALL]
            if self._is_away():
                break  # each capture would wait in vain
            done, waiting = await asyncio.wait(self._asked_in(some), timeout=until_s - time_s())
            answers = [each.result() for each in done]
            for answer in answers:
                found |= {key: answer[key] for key in some if key in answer} if answer else {}
            if waiting and start:
                self._failed()  # it answers, and is slow: others may have asked for less
            elif waiting:
                self._note_away()
            if waiting or None in answers:
                break
        return found

    def _asked_in(self, keys: Sequence[str]) -> set[_Question]:
        """Give the questions in which keys are asked for; what nobody asks for comes into that of this turn of the loop."""
        for key in keys:
            if key not in self._under_way:
                if self._question is None or len(self._next) == NAMES_A_CALL:
                    self._next = []
                    self._question = asyncio.create_task(self._answer(self._next))
                self._next.append(key)
                self._under_way[key] = self._question
        return {self._under_way[key] for key in keys}

    async def _answer(self, keys: Sequence[str]) -> Known | None:
        if keys is self._next:
            self._question = None  # who comes from now on asks anew
        begun_s = self._clock_s()
        try:
            kept = await self._source.kept(keys)
        except UnavailableError:
            self._note_away()
            return None
        finally:
            for key in keys:
                del self._under_way[key]
        answer = {key: kept.get(key) for key in keys}
        for key, value in answer.items():
            self._answers.keep(key, value, begun_s)
        return answer

    def _is_away(self) -> bool:
        return self._clock_s() < self._away_until_s

    def _note_away(self) -> None:
        """Ask for nothing for a second; who waited for the same answer notes the same failure."""
        if not self._is_away():
            self._failed()
        self._away_until_s = self._clock_s() + _HOLD_OFF_S
