"""`Vault`: a key for each subject, made once, wrapped, remembered for seconds, destroyed for good.

A subject is a text such as `user:ann`. On the disk it is HMAC-SHA-256(name key, subject), and the name key is itself wrapped: who has the
database and no key-encryption key learns neither names nor keys.

Collections: `vault_keys` {_id: the subject's hash, kind: such as "user", kek, wrapped, hold_until_ms, hold_reason}, `vault_names` {_id: "name-key" or "page-key", kek, wrapped}, and
`vault_days` and `pseudonyms` (`services.runtime.vault.people`).
"""

import hmac
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from services.runtime import clock
from services.runtime.aead import NONCE_BYTES
from services.runtime.errors import ConflictError
from services.runtime.merchants.directory import Remembered, Staleness
from services.runtime.mongo import Database, find_named, translated
from services.runtime.vault.errors import HeldError
from services.runtime.vault.wrapping import KEY_BYTES, Ring, beside, unwrap, wrap

KEYS: Final = "vault_keys"
NAMES: Final = "vault_names"
ASKED: Final = "asked_users"
FRESH_S: Final = 30.0
MAX_REASON_CHARS: Final = 500
USER: Final = "user"
_NAME_KEY: Final = "name-key"
_PAGE_KEY: Final = "page-key"
_HOLD: Final = b"hold:"


class Found(msgspec.Struct):
    """A subject's key; `made_now` until somebody has been told that it was made just now."""

    key: bytes
    made_now: bool = False


@dataclass(frozen=True, slots=True)
class _Subject:
    """A subject as it is remembered: by its hash; the kind is what stands before the colon, and is told where a key is made."""

    hash: bytes
    kind: str = field(default="", compare=False)


class _AbsentError(Exception):
    """There is no such key: nothing that is remembered."""


def user_subject(name: str) -> str:
    """Name the subject that a user is, by the name that browse records have."""
    return f"{USER}:{name}"


class Vault:
    """The vault in a MongoDB database of its own. Every method raises UnavailableError, and VaultError where a key does not open."""

    def __init__(
        self,
        database: Database,
        ring: Ring,
        *,
        fresh_s: float = FRESH_S,
        clock_s: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        """Use a database; keys are remembered for `fresh_s` at the most: so long a destroyed one may still encrypt."""
        self.database, self.ring, self.now_ms = database, ring, now_ms
        self._keys = database[KEYS]
        self._name_key: bytes | None = None
        self._page_key: bytes | None = None
        staleness = Staleness(min(fresh_s, FRESH_S), 0)
        self._made = Remembered(self._make, staleness, clock_s)
        self._read = Remembered(self._find, staleness, clock_s)

    async def key_of(self, subject: str, *, create: bool) -> bytes | None:
        """Give a subject's key, 32 bytes; None where there is none and none is to be made.

        It is made once: of several processes that make one at the same time all are given the same.
        """
        if create:
            return (await self.found(subject)).key
        try:
            return await self._read.get(await self.hash_of(subject))
        except _AbsentError:
            return None

    async def key_by_hash(self, subject_hash: bytes) -> bytes | None:
        """Give the key of the subject with this hash, None where there is none."""
        try:
            return await self._read.get(subject_hash)
        except _AbsentError:
            return None

    async def found(self, subject: str) -> Found:
        """Give a subject's key, made where there is none; who takes `made_now` is told alone."""
        return await self._made.get(_Subject(await self.hash_of(subject), subject.partition(":")[0]))

    async def hash_of(self, subject: str) -> bytes:
        """Give a subject's hash, 32 bytes: what stands for it wherever names do not belong."""
        if self._name_key is None:
            self._name_key = await self.once(NAMES, _NAME_KEY)
        return hmac.digest(self._name_key, subject.encode("utf-8", "surrogatepass"), "sha256")

    async def page_key(self) -> bytes:
        """Give the key of page tokens, 32 bytes: whoever shows records has the vault, and no client has what is in it."""
        if self._page_key is None:
            self._page_key = await self.once(NAMES, _PAGE_KEY)
        return self._page_key

    async def destroy(self, subject: str) -> bool:
        """Destroy a subject's key for good; False where there is none. Other processes remember it for `fresh_s` at the most.

        Raises: HeldError where a legal hold is on it.
        """
        return await self.destroy_hash(await self.hash_of(subject))

    async def destroy_hash(self, subject_hash: bytes) -> bool:
        """Destroy the key of the subject with this hash, as `destroy` does. Raises: HeldError."""
        async with translated():
            gone = await self._keys.delete_one(
                {"_id": subject_hash, "hold_until_ms": {"$not": {"$gt": self.now_ms()}}}
            )
            left = None if gone.deleted_count else await self._keys.find_one({"_id": subject_hash})
        if left is not None:
            raise HeldError(int(left["hold_until_ms"]))
        self._made.forget(_Subject(subject_hash))
        self._read.forget(subject_hash)
        return bool(gone.deleted_count)

    async def hold(self, subject: str, until_ms: int, reason: str) -> None:
        """Put a legal hold on a subject's key, which is made where there is none; 0 lifts it.

        Args:
            subject: as in `key_of`.
            until_ms: until when the key must not be destroyed, Unix milliseconds.
            reason: for people, at most 500 characters; kept encrypted under the subject's key.
        Raises: ValueError where the reason is longer.
        """
        if len(reason) > MAX_REASON_CHARS:
            raise ValueError(f"a reason of at most {MAX_REASON_CHARS} characters, please")
        subject_hash, key = await self.hash_of(subject), (await self.found(subject)).key
        sealed = wrap(beside(key), reason.encode(), _HOLD + subject_hash, os.urandom(NONCE_BYTES))
        async with translated():
            done = await self._keys.update_one(
                {"_id": subject_hash}, {"$set": {"hold_until_ms": until_ms, "hold_reason": sealed}}
            )
        if not done.matched_count:  # destroyed meanwhile, and remembered here
            self._made.forget(_Subject(subject_hash))
            await self.hold(subject, until_ms, reason)

    async def held(self, subject: str) -> tuple[int, str] | None:
        """Tell until when a legal hold is on a subject's key, and why; None where there is none now."""
        subject_hash = await self.hash_of(subject)
        async with translated():
            document = await self._keys.find_one({"_id": subject_hash})
        until_ms = int((document or {}).get("hold_until_ms", 0))
        if document is None or until_ms <= self.now_ms():
            return None
        key = self.ring.unwrap(document, subject_hash)
        reason = unwrap(beside(key), bytes(document["hold_reason"]), _HOLD + subject_hash)
        return until_ms, reason.decode()

    async def asked_of(self, record_ids: Collection[bytes]) -> dict[bytes, bytes]:
        """Give the keys of the users whom records ask for, by record ID (`services.runtime.vault.asked`); those of erased ones are left out."""
        rows = await find_named(self.database, ASKED, record_ids)
        found = {bytes(each["_id"]): await self.key_by_hash(bytes(each["subject"])) for each in rows}
        return {record_id: key for record_id, key in found.items() if key is not None}

    async def once(self, collection: str, name: str, **fields: Any) -> bytes:
        """Give the random key that lies under a name, made where there is none; the store settles who was first."""
        return (await self._once(collection, name, name.encode(), fields)).key

    async def users(self) -> list[tuple[bytes, bytes]]:
        """List the keys of all users with the hashes of their subjects: for who must find whose something is without being told."""
        async with translated():
            documents = self._keys.find({"kind": USER}, {"kek": 1, "wrapped": 1})
            return [
                (bytes(each["_id"]), self.ring.unwrap(each, bytes(each["_id"]))) async for each in documents
            ]

    async def _make(self, subject: _Subject) -> Found:
        return await self._once(KEYS, subject.hash, subject.hash, {"kind": subject.kind})

    async def _find(self, subject_hash: bytes) -> bytes:
        async with translated():
            document = await self._keys.find_one({"_id": subject_hash})
        if document is None:
            raise _AbsentError
        return self.ring.unwrap(document, subject_hash)

    async def _once(self, collection: str, name: str | bytes, about: bytes, fields: dict[str, Any]) -> Found:
        async with translated():
            document = await self.database[collection].find_one({"_id": name})
        if document is not None:
            return Found(self.ring.unwrap(document, about))
        key = os.urandom(KEY_BYTES)
        try:
            async with translated():
                await self.database[collection].insert_one(
                    {"_id": name, **self.ring.wrap(key, about, os.urandom(NONCE_BYTES)), **fields}
                )
        except ConflictError:  # another process was first: its key counts
            return await self._once(collection, name, about, fields)
        return Found(key, made_now=True)
