"""Between names and the pseudonyms by which the watch knows users, for as long as the vault keeps what links them; nothing of it is stored."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from goodstrace.audit.v1 import watch_pb2
from services.audit.watch.daily import DAY_MS, is_pseudonym
from services.audit.watch.store import forget
from services.audit.watch.values import Kind
from services.runtime import clock
from services.runtime.access.current import principal
from services.runtime.access.values import Role
from services.runtime.blocking import USER, Blocks
from services.runtime.mongo import Database
from services.runtime.vault import People
from services.runtime.vault.lately import pseudonyms

_USERS: Final = (Kind.USER, Kind.SERIES)
_AT_ONCE: Final = 50


async def forget_user(database: Database, people: People, name: str, retention_days: int) -> int:
    """Delete what the watch keeps of a user: alerts, statistics and blocks, as when the user is erased; tells how many documents.

    Before the vault forgets the user's pseudonyms, or after: they are derived anew from the keys of the days. What was of earlier days is gone already.
    Raises: UnavailableError, VaultError.
    """
    now_ms = people.vault.now_ms()
    gone = await Blocks(database).forget([f"{USER}:{name}"])
    return gone + await forget(
        database, await pseudonyms(people, name, now_ms - retention_days * DAY_MS, now_ms)
    )


class WatchNames:
    """Finds users by name, and names them for operators. Every method raises UnavailableError."""

    def __init__(
        self,
        people: People,
        retention_days: int,
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        """Ask the vault, which keeps days for so many days after them."""
        self._people, self._kept_ms, self._now_ms = people, retention_days * DAY_MS, now_ms

    async def subjects(self, user: str, start_ms: int, end_ms: int) -> list[str]:
        """Give a user's pseudonyms of a time, as far as they are kept; what is a pseudonym itself is one of them."""
        now_ms = self._now_ms()
        start_ms, end_ms = max(start_ms, now_ms - self._kept_ms), min(end_ms, now_ms)
        found = await pseudonyms(self._people, user, start_ms, end_ms) if start_ms <= end_ms else []
        return [*found, user]

    async def known(self, subjects: Iterable[tuple[str, str]]) -> Sequence[watch_pb2.KnownUser]:
        """Name who is behind pseudonyms, where an operator asks; subjects come with what they are counted by."""
        if Role.OPERATOR not in principal().roles:
            return []
        asked = sorted({subject for about, subject in subjects if about in _USERS and is_pseudonym(subject)})
        known: list[watch_pb2.KnownUser] = []
        for start in range(0, len(asked), _AT_ONCE):
            some = asked[start : start + _AT_ONCE]
            names = await asyncio.gather(*map(self._people.name_of, some))
            named = zip(some, names, strict=True)
            known += [watch_pb2.KnownUser(pseudonym=each, name=name) for each, name in named if name]
        return known
