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
from services.runtime.vault.keys import KEYS, Vault
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


def destroyed_hashes(bootstrap: str, topic: str) -> set[str]:
    """Read which keys were destroyed, by the hex of their SHA-256, from the topic of looks, as far as it goes now. Blocks.

    Raises: BackupError where Kafka does not hold the topic from its first record on: what was erased is not known then. UnavailableError.
    """
    reader, found = TopicReader(bootstrap, topic), set[str]()
    try:
        if any(extent.low for extent in reader.extents.values()):
            raise BackupError(
                f"Kafka does not hold {topic} from its first record on: which keys were destroyed cannot be told"
            )
        reader.start(dict.fromkeys(reader.extents, 0))
        while not reader.finished:
            for _, records in reader.read(_BATCH, _POLL_S):
                for each in records:
                    found.update(_destroyed(each.value))
    finally:
        reader.close()
    return found


def _destroyed(value: bytes) -> list[str]:
    record = envelope.decode(value)
    contents = [part.content for part in record.parts if part.name == PART]
    return [msgspec.json.decode(content, type=_Content).destroyed for content in contents]


class Again:
    """Applies erasures to a restored store and its vault. Every method raises UnavailableError and VaultError, and may be repeated."""

    def __init__(self, database: Database, vault: Vault, steps: Mapping[str, EraseStep]) -> None:
        """Delete by `steps` what lies in `database`."""
        self._database, self._vault, self._steps = database, vault, steps
        self._tombstones = Tombstones(vault.database)

    async def apply(self, destroyed: set[str]) -> Applied:
        """Destroy again what had been destroyed, and delete what is left of users who were erased."""
        applied = Applied()
        async for subject, digest in self._digests():
            if digest in destroyed:
                await self._tombstones.add(subject, self._vault.now_ms())
                async with translated():  # also under a legal hold: it was gone
                    await self._vault.database[KEYS].delete_one({"_id": subject})
                applied.keys += 1
        for subject, erased_ms in (await self._tombstones.all()).items():
            count = await self._delete(subject, erased_ms)
            applied.users += bool(count)
            applied.documents += count
        return applied

    async def _digests(self) -> AsyncIterator[tuple[bytes, str]]:
        """Give the hash of each key's subject, and of the key."""
        async with translated():
            async for row in self._vault.database[KEYS].find({}, {"_id": 1, "kek": 1, "wrapped": 1}):
                subject = bytes(row["_id"])
                key = self._vault.ring.unwrap(row, subject)
                yield subject, hashlib.sha256(key).hexdigest()

    async def _delete(self, subject: bytes, erased_ms: int) -> int:
        """Delete what is left of a subject; gives how many documents. One that has come back by that name since is left alone."""
        name, made_ms = await self._account(subject)
        if made_ms > erased_ms:
            return 0
        pseudonyms = self._vault.database[PSEUDONYMS]
        async with translated():
            rows = await pseudonyms.find({"subject": subject}, {"_id": 1}).to_list(None)
        known = Known(name, subject, tuple(str(each["_id"]) for each in rows), self._vault.database)
        count = sum([await step(self._database, known) for step in self._steps.values()])
        async with translated():
            return count + (await pseudonyms.delete_many({"subject": subject})).deleted_count

    async def _account(self, subject: bytes) -> tuple[str, int]:
        """Find the account of a subject: its name, and when it was made; a name that nobody has where there is none."""
        async with translated():
            async for each in self._database[ACCOUNTS].find({}, {"name": 1, "created_ms": 1}):
                name = str(each.get("name", ""))
                if await self._vault.hash_of(user_subject(name)) == subject:
                    return name, int(each.get("created_ms", 0))
        return _NOBODY, 0
