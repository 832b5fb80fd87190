"""Who looks, as a record and the watch know them: a key to encrypt under, and a pseudonym that is another one every day.

The pseudonym is the hex of the first 12 bytes of HMAC-SHA-256(day key, name); the day is the UTC day of the record's time. A day's key is random and lies
wrapped in the vault. With it goes, some days later, what links pseudonyms with people: `pseudonyms` {_id: pseudonym, subject: the user's hash,
name: encrypted under the user's key, day}.
"""

import hmac
import os
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from pymongo import IndexModel

from services.runtime.access.naming import NOBODIES
from services.runtime.aead import NONCE_BYTES
from services.runtime.errors import ConflictError
from services.runtime.merchants.directory import Remembered, Staleness
from services.runtime.mongo import Database, create_indexes, find_named, translated
from services.runtime.vault.asked import AskedUsers, IsAccount
from services.runtime.vault.keys import FRESH_S, KEYS, Vault, user_subject
from services.runtime.vault.wrapping import beside, unwrap, wrap

DAYS: Final = "vault_days"
PSEUDONYMS: Final = "pseudonyms"
PSEUDONYM_BYTES: Final = 12


class Person(msgspec.Struct, frozen=True):
    """Who looks. key: the user's, 32 bytes. first_seen: it was made just now. pseudonym: of the day."""

    key: bytes
    pseudonym: str
    first_seen: bool


def day_of(time_ms: int) -> str:
    """Give the UTC day of a time, such as "2026-11-26"."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat()


def pseudonym_of(day_key: bytes, name: str) -> str:
    """Derive a user's pseudonym of a day: 24 hexadecimal digits."""
    return hmac.digest(day_key, name.encode("utf-8", "surrogatepass"), "sha256")[:PSEUDONYM_BYTES].hex()


async def _no_account(_name: str) -> bool:
    return False


class People:
    """Knows people by the vault. Every method raises UnavailableError and VaultError."""

    def __init__(
        self,
        vault: Vault,
        *,
        retention_days: int = 2,
        clock_s: Callable[[], float] = time.monotonic,
        is_account: IsAccount = _no_account,
    ) -> None:
        """Keep a day's pseudonyms for `retention_days` after it; `is_account` tells of names that the vault does not know whether they are somebody's."""
        self._asked = AskedUsers(vault, is_account)
        self.vault, self._retention_days = vault, retention_days
        self._pseudonyms = vault.database[PSEUDONYMS]
        staleness = Staleness(FRESH_S, 0)
        self._days = Remembered(self._day_key, staleness, clock_s)
        self._known = Remembered(self._know, staleness, clock_s)

    async def person(self, name: str, time_ms: int) -> Person:
        """Give who looks at a time, by the name that records have; keys and the pseudonym of the day are made where there are none."""
        found = await self.vault.found(user_subject(name))
        first_seen, found.made_now = found.made_now, False
        pseudonym = name if name in NOBODIES else await self._known.get((name, day_of(time_ms)))
        return Person(found.key, pseudonym, first_seen)

    async def asked(self, name: str, record_id: bytes) -> bytes:
        """Give the key under which a record names a user that it asks for; see `services.runtime.vault.asked`."""
        return await self._asked.key_for(name, record_id)

    async def pseudonym(self, name: str, time_ms: int) -> str:
        """Give a user's pseudonym at a time, without keeping it: for who asks about a user that is known by name."""
        return name if name in NOBODIES else pseudonym_of(await self._days.get(day_of(time_ms)), name)

    async def subjects_of(self, pseudonyms: Collection[str]) -> dict[str, bytes]:
        """Give the hashes of the subjects that pseudonyms stand for, of those that are known."""
        asked = sorted(set(pseudonyms) - NOBODIES)
        found = await find_named(self.vault.database, PSEUDONYMS, asked, {"subject": 1})
        known = {str(each["_id"]): bytes(each["subject"]) for each in found}
        for name in NOBODIES.intersection(pseudonyms):
            known[name] = await self.vault.hash_of(user_subject(name))
        return known

    async def name_of(self, pseudonym: str) -> str | None:
        """Give the name behind a pseudonym; None where the day or the user is forgotten."""
        if pseudonym in NOBODIES:
            return pseudonym
        async with translated():
            document = await self._pseudonyms.find_one({"_id": pseudonym})
        key = await self.vault.key_by_hash(bytes(document["subject"])) if document else None
        if document is None or key is None:
            return None
        return unwrap(beside(key), bytes(document["name"]), _about(pseudonym)).decode(
            "utf-8", "surrogatepass"
        )

    async def forget_user(self, name: str) -> int:
        """Delete the pseudonyms of a user whose key was destroyed; tells how many there were."""
        subject_hash = await self.vault.hash_of(user_subject(name))
        async with translated():
            gone = await self._pseudonyms.delete_many({"subject": subject_hash})
        for known in (day_of(self.vault.now_ms()), day_of(self.vault.now_ms() - 86_400_000)):
            self._known.forget((name, known))
        return gone.deleted_count

    async def forget_days(self) -> int:
        """Delete the keys and pseudonyms of days that are over for longer than they are kept; tells how many pseudonyms."""
        today = datetime.fromtimestamp(self.vault.now_ms() / 1000, UTC).date()
        over = {"$lt": (today - timedelta(days=self._retention_days)).isoformat()}
        async with translated():
            await self.vault.database[DAYS].delete_many({"day": over})
            gone = await self._pseudonyms.delete_many({"day": over})
        return gone.deleted_count

    async def _day_key(self, day: str) -> bytes:
        return await self.vault.once(DAYS, day, day=day)

    async def _know(self, asked: tuple[str, str]) -> str:
        """Keep whose pseudonym it is, and give it."""
        name, day = asked
        pseudonym = pseudonym_of(await self._days.get(day), name)
        async with translated():
            there = await self._pseudonyms.find_one({"_id": pseudonym}, {"_id": 1})
        if there is None:
            found = await self.vault.found(user_subject(name))
            text = name.encode("utf-8", "surrogatepass")
            document = {
                "_id": pseudonym,
                "subject": await self.vault.hash_of(user_subject(name)),
                "name": wrap(beside(found.key), text, _about(pseudonym), os.urandom(NONCE_BYTES)),
                "day": day,
            }
            try:
                async with translated():
                    await self._pseudonyms.insert_one(document)
            except ConflictError:
                pass  # another process was first
        return pseudonym


async def provision(database: Database) -> None:
    """Make the indexes of the vault's database. Raises: UnavailableError."""
    await create_indexes(database, indexes())


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes by collection."""
    return {
        KEYS: [IndexModel("kind")],
        PSEUDONYMS: [IndexModel("subject"), IndexModel("day")],
        DAYS: [IndexModel("day")],
    }


def _about(pseudonym: str) -> bytes:
    return b"pseudonym:" + pseudonym.encode()
