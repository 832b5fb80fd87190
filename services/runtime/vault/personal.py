"""Keys of what was taken out of goods events: one for each record, made by who captures it, found by the event's name for erasing.

They lie in `vault_keys` as those of users do, under the subject `personal:<record ID, hex>`, with three fields more: `record`, that ID, which
is public; `event`, the hash of the subject `event:<merchant>/<event ID>`, by which all records of one event are found (duplicates that
were refused among them); and `made_ms`, for retention.
"""

import os
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from pymongo import IndexModel

from services.runtime.aead import NONCE_BYTES
from services.runtime.mongo import Database, create_indexes, find_named, translated
from services.runtime.personal_values import PersonalKey, event_subject, personal_subject
from services.runtime.vault.keys import KEYS, Vault

_AT_ONCE: Final = 1_000


class StoredKey(msgspec.Struct, frozen=True):
    """A key as it was found for erasing: the hash of its subject, the record it is of, the key; `held_until_ms` is 0 where nothing holds it."""

    subject_hash: bytes
    record_id: bytes
    key: bytes
    held_until_ms: int


class PersonalKeys:
    """Keys of personal data in the vault. Every method raises UnavailableError, and VaultError where a key does not open."""

    def __init__(self, vault: Vault) -> None:
        """Use a vault."""
        self._vault = vault
        self._keys = vault.database[KEYS]

    async def keep(self, keys: Sequence[PersonalKey]) -> None:
        """Keep keys: durable when this returns, so that what they encrypt may go to Kafka."""
        ring, documents = self._vault.ring, []
        for each in keys:
            subject = await self._vault.hash_of(personal_subject(each.record_id))
            wrapped = ring.wrap(each.key, subject, os.urandom(NONCE_BYTES))
            event = await self._vault.hash_of(event_subject(each.merchant, each.event_id))
            documents.append(
                {"_id": subject, **wrapped, "record": each.record_id, "event": event, "made_ms": each.made_ms}
            )
        for begin in range(0, len(documents), _AT_ONCE):
            async with translated():
                await self._keys.insert_many(documents[begin : begin + _AT_ONCE], ordered=False)

    async def of_records(self, record_ids: Collection[bytes]) -> dict[bytes, bytes]:
        """Give the keys of records by their IDs; those that were destroyed are left out."""
        hashes = {await self._vault.hash_of(personal_subject(each)): each for each in record_ids}
        if not hashes:
            return {}
        found = await find_named(self._vault.database, KEYS, hashes)
        return {
            hashes[bytes(each["_id"])]: self._vault.ring.unwrap(each, bytes(each["_id"])) for each in found
        }

    async def of_event(self, merchant: int, event_id: str) -> list[StoredKey]:
        """Find the keys of all records of an event."""
        event = await self._vault.hash_of(event_subject(merchant, event_id))
        async with translated():
            found = await self._keys.find({"event": event}).to_list(None)
        return [self._stored(each) for each in found]

    async def older_than(self, before_ms: int, most: int) -> list[StoredKey]:
        """Find keys that were made before a time, the oldest first, but for those under a legal hold; at most `most`."""
        free = {"$not": {"$gt": self._vault.now_ms()}}
        wanted = {"made_ms": {"$lt": before_ms}, "hold_until_ms": free}
        async with translated():
            found = await self._keys.find(wanted).sort("made_ms", 1).limit(most).to_list(None)
        return [self._stored(each) for each in found]

    def _stored(self, document: dict[str, Any]) -> StoredKey:
        subject = bytes(document["_id"])
        until_ms = int(document.get("hold_until_ms", 0))
        key = self._vault.ring.unwrap(document, subject)
        return StoredKey(subject, bytes(document["record"]), key, until_ms)


async def provision(database: Database) -> None:
    """Make the indexes in the vault's database. Raises: UnavailableError."""
    await create_indexes(database, indexes())


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes by collection."""
    return {KEYS: [IndexModel("event", sparse=True), IndexModel("made_ms", sparse=True)]}
