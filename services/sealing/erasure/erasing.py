"""Erasing a user, or the personal data of an event, so that a kill at any point is mended by doing it again.

The order: (1) no legal hold is on it; (2) what will be done is noted in the vault's database, with the record that will be sealed;
(3) account, sessions, index and all else that packages keep is deleted; (4) the key is destroyed: from here on nobody reads what it
encrypted; (5) the pseudonyms go, by which (3) found things, and (3) once more for what came in between; (6) the record is acknowledged by
Kafka; (7) the note goes. What is done twice does nothing, but (6): two records with one ID say the same.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from goodstrace.entry import ID_BYTES, SALT_BYTES
from services.runtime import envelope
from services.runtime.acknowledged import AcknowledgedProducer
from services.runtime.mongo import Database, translated
from services.runtime.partitioner import partition_of
from services.runtime.personal_values import personal_subject
from services.runtime.vault import HeldError, People, user_subject
from services.runtime.vault.keys import FRESH_S
from services.runtime.vault.people import PSEUDONYMS
from services.runtime.vault.personal import PersonalKeys, StoredKey
from services.sealing.erasure.intents import Intents
from services.sealing.erasure.records import Erasure, Scope, Why, erasure_record
from services.sealing.erasure.steps import EraseStep, Known

AT_ONCE: Final = 200
_SETTLE_S: Final = FRESH_S + 1.0


class Sealing(msgspec.Struct, frozen=True):
    """Where records of erasures go: the topic of looks, with so many partitions; the index secret; how long Kafka may take."""

    producer: AcknowledgedProducer
    topic: str
    partitions: int
    secret: bytes
    timeout_s: float = 10.0


class Report(msgspec.Struct, frozen=True):
    """What was done: documents deleted, by step; IDs of the records that say so, hex: none where there was no key."""

    deleted: Mapping[str, int]
    records: tuple[str, ...]


class Erasing:
    """Erases. Every method raises UnavailableError and VaultError; what was begun goes on when it is asked for again."""

    def __init__(
        self,
        database: Database,
        people: People,
        sealing: Sealing,
        steps: Mapping[str, EraseStep],
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Delete by `steps` what lies in `database`; `pause` waits until all processes have forgotten a destroyed key."""
        self.database, self.people, self.sealing, self._steps = database, people, sealing, steps
        self.vault = people.vault
        self._personal = PersonalKeys(people.vault)
        self._intents = Intents(people.vault.database)
        self._pause = pause

    async def user(self, name: str, why: Why, *, settle: bool = True) -> Report:
        """Erase a user: account, sessions, lists, pseudonyms, alerts, and by their key the content of all their looks.

        With `settle` it is done once more after 31 s, when every process has forgotten the key: a look that was under way when the key
        was destroyed may have made another.
        Raises: HeldError, and nothing is done.
        """
        first = await self._user(name, why)
        if not settle:
            return first
        await self._pause(_SETTLE_S)
        again = await self._user(name, why)
        deleted = {step: count + again.deleted[step] for step, count in first.deleted.items()}
        return Report(deleted, first.records + again.records)

    async def event(self, merchant: int, event_id: str, why: Why) -> Report:
        """Erase the personal data of an event, with that of all its duplicates. Raises: HeldError, and nothing is done."""
        found = await self._personal.of_event(merchant, event_id)
        now_ms = self.vault.now_ms()
        for each in found:
            if each.held_until_ms > now_ms:
                raise HeldError(
                    *(await self.vault.held(personal_subject(each.record_id)) or (each.held_until_ms, ""))
                )
        return Report({}, tuple(await self._keys(found, why)))

    async def records_of(self, merchant: int, event_id: str) -> list[bytes]:
        """Give the IDs of the records of an event whose personal data is held."""
        return [each.record_id for each in await self._personal.of_event(merchant, event_id)]

    async def older_than(self, before_ms: int) -> int:
        """Destroy the keys of personal data in events captured before a time, but those under a legal hold; tells how many."""
        count = 0
        while found := await self._personal.older_than(before_ms, AT_ONCE):
            count += len(await self._keys(found, Why.RETENTION))
        return count

    async def finish(self) -> tuple[int, int]:
        """Go on with erasures that were broken off; tells how many are done now, and how many are of users, to be asked for by name again."""
        found = await self._intents.all(AT_ONCE)
        events = [each for each in found if each.scope is Scope.EVENT]
        for each in events:
            await self._destroyed(each)
        return len(events), len(found) - len(events)

    async def known(self, name: str) -> Known:
        """Give what the vault knows of a user."""
        subject = await self.vault.hash_of(user_subject(name))
        async with translated():
            rows = self.vault.database[PSEUDONYMS].find({"subject": subject}, {"_id": 1})
            pseudonyms = tuple([str(each["_id"]) async for each in rows])
        return Known(name, subject, pseudonyms, self.vault.database)

    async def _user(self, name: str, why: Why) -> Report:
        subject = user_subject(name)
        if held := await self.vault.held(subject):
            raise HeldError(*held)
        known = await self.known(name)
        key = await self.vault.key_of(subject, create=False)
        if key is not None:
            await self._begin(known.subject, key, Scope.USER, why, b"")
        under_way = await self._intents.of(known.subject)
        deleted = await self._deleted(known)
        await self.vault.destroy(subject)
        deleted["pseudonyms"] = await self.people.forget_user(name)
        for step, count in (await self._deleted(known)).items():
            deleted[step] += count
        for each in under_way:
            await self._sealed(each)
        return Report(deleted, tuple(each.record_id.hex() for each in under_way))

    async def _deleted(self, known: Known) -> dict[str, int]:
        return {name: await step(self.database, known) for name, step in self._steps.items()}

    async def _keys(self, found: Sequence[StoredKey], why: Why) -> list[str]:
        records = []
        for each in found:
            erasure = await self._begin(each.subject_hash, each.key, Scope.EVENT, why, each.record_id)
            await self._destroyed(erasure)
            records.append(erasure.record_id.hex())
        return records

    async def _destroyed(self, erasure: Erasure) -> None:
        await self.vault.destroy_hash(erasure.subject)
        await self._sealed(erasure)

    async def _begin(self, subject: bytes, key: bytes, scope: Scope, why: Why, about: bytes) -> Erasure:
        return await self._intents.begin(
            Erasure(
                subject=subject,
                scope=scope,
                why=why,
                destroyed=hashlib.sha256(key).hexdigest(),
                about=about,
                record_id=os.urandom(ID_BYTES),
                salt=os.urandom(SALT_BYTES),
                time_ms=self.vault.now_ms(),
            )
        )

    async def _sealed(self, erasure: Erasure) -> None:
        """Have the record acknowledged, and forget the note of it."""
        to = self.sealing
        record = erasure_record(erasure, to.secret)
        partition = partition_of(record.id, to.partitions)
        await to.producer.send(to.topic, partition, record.id, envelope.encode(record), to.timeout_s)
        await self._intents.end(erasure)
