"""Deriving states of goods anew, a portion at a time, between other work: what `renewals` says, over the store.

A portion is done in this order: names of the next parts are read, their states are derived anew, the mark is moved. Killed anywhere,
the portion is done again, which changes nothing. Renewals under way take turns, so that a large merchant does not hold up the others.
"""

import time
from collections import deque
from collections.abc import Collection, Mapping
from typing import Final

import structlog

from services.collector.renewal_store import RenewalStore
from services.collector.renewals import Pace, Renewal, Renewed
from services.collector.state_store import StateStore
from services.runtime.errors import ConflictError

_TELL_S: Final = 10.0


class Renewing:
    """Derives anew what renewals of some logs ask for."""

    def __init__(self, states: StateStore, renewals: RenewalStore, log: structlog.stdlib.BoundLogger) -> None:
        """Derive `states`; nothing is known of `renewals` before the first portion."""
        self._states, self._renewals, self._log = states, renewals, log
        self._waiting: deque[Renewal] = deque()
        self._paces: dict[Renewed, Pace] = {}
        self._is_stale = True
        self._since_s = self._told_s = 0.0

    def look(self) -> None:
        """Read before the next portion what there is to do: others may have changed it. From any thread."""
        self._is_stale = True

    async def add(self, firsts: Mapping[Renewed, int]) -> None:
        """Have all derived anew that depends on registrations, which must be kept in the state store by then; durable when it returns.

        Where nothing depends on what was registered then or later, nothing is begun.

        Args:
            firsts: the record time of the earliest registration, Unix milliseconds, by log and merchant.
        Raises: UnavailableError: give them again.
        """
        wanted = {of: first_ms for of, first_ms in firsts.items() if await self._states.days(of[1], first_ms)}
        if wanted:
            await self._renewals.add(wanted)
            self.look()

    async def portion(self, logs: Collection[str] | None) -> int | None:
        """Derive a portion anew, of renewals in some logs (None: in all); gives how many states were written.

        None where nothing is left. Raises: UnavailableError: the same portion comes again.
        """
        renewal = await self._first(logs)
        if renewal is None:
            return None
        pace = self._paces[renewal.of]
        parts = renewal.window(pace.width)
        noted = await self._states.noted(renewal.merchant, parts, renewal.first_ms)
        keys = set(noted)
        written = await self._states.renew(keys)
        try:
            following = await self._renewals.advance(renewal, renewal.after(parts))
        except ConflictError:  # another registration, or the partition is another's by now
            self._waiting.rotate(-1)
            self.look()
            return written
        self._waiting.popleft()
        self._paces[renewal.of] = pace.after(parts, len(noted), len(keys))
        if following is None:
            del self._paces[renewal.of]
        else:
            self._waiting.append(following)
        self._tell()
        return written

    def states_left(self) -> int:
        """Estimate how many states are left to derive anew, of what is known here; 0 where there are none."""
        return sum(self._paces[each.of].states_left(each) for each in self._waiting)

    async def _first(self, logs: Collection[str] | None) -> Renewal | None:
        """Give the renewal whose turn it is."""
        if self._is_stale:
            self._is_stale = False  # before reading: what is said meanwhile is looked at next time
            try:
                found = await self._renewals.find(logs)
            except BaseException:
                self._is_stale = True
                raise
            if found and not self._waiting:
                self._since_s = self._told_s = time.monotonic()
                self._log.info("states have to be derived anew", registrations=len(found))
            # Those known before come first, in their turns: else one that is registered with each batch would leave no turn to others.
            turns = {each.of: turn for turn, each in enumerate(self._waiting)}
            self._waiting = deque(sorted(found, key=lambda each: turns.get(each.of, len(turns))))
            self._paces = {each.of: self._paces.get(each.of, Pace()) for each in found}
        while self._waiting and logs is not None and self._waiting[0].log not in logs:
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None

    def _tell(self) -> None:
        now_s = time.monotonic()
        if not self._waiting:
            self._log.info("states were derived anew", seconds=round(now_s - self._since_s, 1))
        elif now_s >= self._told_s + _TELL_S:
            self._told_s = now_s
            self._log.info(
                "states are being derived anew", registrations=len(self._waiting), about=self.states_left()
            )
