"""What was erased stays erased: a copy may be older than an erasure, and has then what was destroyed.

Whose key was destroyed is sealed for ever, by the key's hash (`services.sealing.erasure.records`): these records are read from Kafka, each key of the
restored vault is compared with them, and goes where it is one of them. Users whose keys went are known by the hash of their subject, and those of the
restored accounts who are among them are deleted as `goodstrace audit erase user` does.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec

from services.backup.errors import BackupError
from services.replay.reading import TopicReader
from services.runtime import envelope
from services.runtime.access.accounts import ACCOUNTS
from services.runtime.mongo import Database, translated
from services.runtime.vault import user_subject
from services.runtime.vault.keys import KEYS, USER, Vault
from services.runtime.vault.people import PSEUDONYMS
from services.sealing.erasure.records import PART
from services.sealing.erasure.steps import EraseStep, Known
from services.sealing.erasure.tombstones import Tombstones

_NOBODY: Final = "\x00erased"  # no account and no user is called so
_BATCH: Final = 1000
_POLL_S: Final = 0.5


class Applied(msgspec.Struct):
    """What was found erased: keys that were destroyed again, users deleted again, documents deleted."""

    keys: int = 0
    users: int = 0
    documents: int = 0


class _Content(msgspec.Struct):
    destroyed: str


def destroyed_hashes(bootstrap: str, topic: str) -> dict[bytes, int]:
    """Read which keys were destroyed, by their SHA-256, and when (Unix ms), from the topic of looks, as far as it goes now. Blocks.

    Raises: BackupError where Kafka does not hold the topic from its first record on: what was erased is not known then. UnavailableError.
    """
    reader, found = TopicReader(bootstrap, topic), dict[bytes, int]()
    try:
        if any(extent.low for extent in reader.extents.values()):
            raise BackupError(
                f"Kafka does not hold {topic} from its first record on: which keys were destroyed cannot be told"
            )
        reader.start(dict.fromkeys(reader.extents, 0))
        while not reader.finished:
            for _, records in reader.read(_BATCH, _POLL_S):
                for each in records:
                    found.update(destroyed_in(each.value))
    finally:
        reader.close()
    return found


def destroyed_in(value: bytes) -> dict[bytes, int]:
    """Give the SHA-256 of the key that a record says was destroyed, with the record's time; nothing where it says none. Raises: EnvelopeError, BackupError."""
    record = envelope.decode(value)
    contents = [part.content for part in record.parts if part.name == PART]
    try:
        told = [msgspec.json.decode(content, type=_Content).destroyed for content in contents]
        return {bytes.fromhex(each): record.time_ms for each in told}
    except ValueError as error:
        raise BackupError(f"record {record.id.hex()} is no record of an erasure: {error}") from error


class Again:
    """Applies erasures to a restored store and its vault. Every method raises UnavailableError and VaultError, and may be repeated."""

    def __init__(self, database: Database, vault: Vault, steps: Mapping[str, EraseStep]) -> None:
        """Delete by `steps` what lies in `database`."""
        self._database, self._vault, self._steps = database, vault, steps
        self._keys = vault.database[KEYS]
        self._tombstones = Tombstones(vault.database)

    async def apply(self, destroyed: Mapping[bytes, int]) -> Applied:
        """Destroy again what had been destroyed, and delete what is left of users who were erased.

        Args:
            destroyed: when each key was destroyed (Unix ms), by its SHA-256.
        """
        applied = Applied()
        async for subject, kind, digest in self._digests():
            if digest in destroyed:
                if kind == USER:
                    await self._tombstones.add(subject, destroyed[digest])
                async with translated():  # also under a legal hold: it was gone
                    await self._keys.delete_one({"_id": subject})
                applied.keys += 1
        if erased := await self._tombstones.all():
            accounts = await self._accounts()
            for subject, erased_ms in erased.items():
                count = await self._delete(subject, erased_ms, *accounts.get(subject, (_NOBODY, 0)))
                applied.users += bool(count)
                applied.documents += count
        return applied

    async def _digests(self) -> AsyncIterator[tuple[bytes, str, bytes]]:
        """Give the hash of each key's subject, of what kind that is, and the SHA-256 of the key."""
        async with translated():
            async for row in self._keys.find({}, {"_id": 1, "kind": 1, "kek": 1, "wrapped": 1}):
                subject = bytes(row["_id"])
                key = self._vault.ring.unwrap(row, subject)
                yield subject, str(row.get("kind", "")), hashlib.sha256(key).digest()

    async def _delete(self, subject: bytes, erased_ms: int, name: str, made_ms: int) -> int:
        """Delete what is left of a subject; gives how many documents. One that has come back by that name since is left alone.

        So is what the vault has, where there is a key again: it is of whoever came back, whose account the copy may be too old for.
        """
        if made_ms > erased_ms:
            return 0
        async with translated():
            is_back = await self._keys.find_one({"_id": subject}, {"_id": 1}) is not None
        pseudonyms = self._vault.database[PSEUDONYMS]
        if is_back:
            return await self._stepped(Known(name, b"", (), self._vault.database))
        async with translated():
            rows = await pseudonyms.find({"subject": subject}, {"_id": 1}).to_list(None)
        own = tuple(str(each["_id"]) for each in rows)
        count = await self._stepped(Known(name, subject, own, self._vault.database))
        async with translated():
            return count + (await pseudonyms.delete_many({"subject": subject})).deleted_count

    async def _stepped(self, known: Known) -> int:
        return sum([await step(self._database, known) for step in self._steps.values()])

    async def _accounts(self) -> dict[bytes, tuple[str, int]]:
        """Give the name of each account and when it was made, by the hash of its subject."""
        found = {}
        async with translated():
            async for each in self._database[ACCOUNTS].find({}, {"name": 1, "created_ms": 1}):
                name = str(each.get("name", ""))
                subject = await self._vault.hash_of(user_subject(name))
                found[subject] = name, int(each.get("created_ms", 0))
        return found
