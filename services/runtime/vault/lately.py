"""By which pseudonyms the watch knew a user lately: for whoever knows the user by name, and must not keep that beside them."""

from typing import Final

from services.runtime.access.naming import NOBODIES
from services.runtime.vault.people import People

DAY_MS: Final = 86_400_000


async def pseudonyms(people: People, name: str, start_ms: int, end_ms: int) -> list[str]:
    """Give a user's pseudonyms of the UTC days from one time to another, those of the last day first; those of nobody in particular are nobody's.

    Of a day that the vault has forgotten it would be made anew, and match nothing: ask for days that are kept.

    Args:
        people: who knows the keys of days.
        name: as records have it.
        start_ms: Unix milliseconds; 0 or later.
        end_ms: Unix milliseconds, not before `start_ms`.
    Raises: UnavailableError, VaultError.
    """
    if name in NOBODIES:
        return []
    days = range(end_ms // DAY_MS, start_ms // DAY_MS - 1, -1)
    return [await people.pseudonym(name, day * DAY_MS) for day in days]


async def of_today_and_yesterday(people: People, name: str) -> list[str]:
    """Give those by which a user may be blocked now: a block by a pseudonym ends within a day of the pseudonym's own."""
    now_ms = people.vault.now_ms()
    return await pseudonyms(people, name, now_ms - DAY_MS, now_ms)
