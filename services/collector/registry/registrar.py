"""Registering: checked, sealed like an event, and at once in the documents that follow from what is sealed."""

import asyncio
from typing import Any

import msgspec

from goodstrace.registration import merchant_key
from services.collector.errors import DocumentError, Fault
from services.collector.flow import to_wire
from services.collector.intake import Ports
from services.collector.producer import GroupCommit, Placed
from services.collector.registry import contents, registrations
from services.collector.registry.api_keys import ApiKey, new_key
from services.collector.registry.claims import overlap
from services.collector.registry.directory import Directory
from services.collector.registry.errors import ForbiddenError, TakenError, UnknownError
from services.collector.registry.gate import Caller
from services.collector.registry.registrations import Registered, Registration
from services.collector.registry.store import RegistryStore
from services.collector.registry.values import Goods, Merchant, Place, What, plain
from services.runtime import topics
from services.runtime.partitioner import event_key, partition_of
from services.runtime.settings import KafkaSettings


class Registrar:
    """Registers one thing after the other: what is checked must still hold when it is written.

    That is so within one process. Two operators who register the same prefix through two collectors in the same moment
    would both get it: let one collector serve `/registry`.
    """

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        commits: GroupCommit,
        store: RegistryStore,
        directory: Directory | None,
        ports: Ports,
    ) -> None:
        """Register into `store`, by way of Kafka; `directory` is told what changes."""
        self._kafka = kafka
        self._commits = commits
        self._store = store
        self._directory = directory
        self._ports = ports
        self._lock = asyncio.Lock()

    async def add_merchant(self, values: object) -> Registered:
        """Register a new merchant under the next number. Raises: DocumentError, TakenError, ServiceError."""
        merchant = contents.read_merchant(values)
        async with self._lock:
            await self._refuse_overlap(merchant, 0)
            number = await self._store.reserve_number()
            return await self._seal(
                Registration(What.MERCHANT, merchant_key(number), number, plain(merchant))
            )

    async def change_merchant(self, number: int, patch: object) -> Registered:
        """Register a merchant anew, changed by a merge patch. Raises: DocumentError, UnknownError, TakenError, ServiceError."""
        async with self._lock:
            known = await self.find(What.MERCHANT, number)
            merchant = contents.read_merchant(contents.merged(known.registration.content, patch))
            await self._refuse_overlap(merchant, number)
            return await self._seal(
                msgspec.structs.replace(known.registration, content=plain(merchant)), known
            )

    async def register_goods(self, caller: Caller, values: object) -> Registered:
        """Register goods that the caller may speak for. Raises: DocumentError, ForbiddenError, ServiceError."""
        return await self._register(caller, What.GOODS, contents.read_goods(values))

    async def register_place(self, caller: Caller, values: object) -> Registered:
        """Register a place or party that the caller may speak for. Raises: DocumentError, ForbiddenError, ServiceError."""
        return await self._register(caller, What.PLACE, contents.read_place(values))

    async def _register(self, caller: Caller, what: What, content: Goods | Place) -> Registered:
        if caller.speech is not None and not caller.speech.owns(content.key):
            raise ForbiddenError(f"{content.key} is not the merchant's to register")
        async with self._lock:
            known = await self._store.find(what, content.key)
            return await self._seal(Registration(what, content.key, caller.merchant, plain(content)), known)

    async def find(self, what: What, own: int | str) -> Registered:
        """Give what is registered. Raises: UnknownError, ServiceError."""
        found = await self._store.find(what, own)
        if found is None:
            raise UnknownError(f"no such {what}")
        return found

    async def merchants(self, after: int, limit: int) -> list[tuple[int, Merchant]]:
        """List merchants by number, from the one after `after`. Raises: ServiceError."""
        return [each async for each in self._store.merchants(after, limit)]

    async def new_key(self, merchant: int, label: str) -> tuple[ApiKey, str]:
        """Make an API key for a merchant: what is kept, and the key. Raises: UnknownError, ServiceError."""
        await self.find(What.MERCHANT, merchant)
        kept, key = new_key(merchant, label, self._ports.now_ms(), self._ports.random)
        await self._store.add_key(kept)
        return kept, key

    async def keys(self, merchant: int) -> list[ApiKey]:
        """List a merchant's keys. Raises: UnknownError, ServiceError."""
        await self.find(What.MERCHANT, merchant)
        return await self._store.keys(merchant)

    async def revoke_key(self, merchant: int, identifier: str) -> None:
        """Take a key back: here at once, in other processes within seconds. Raises: UnknownError, ServiceError."""
        if not await self._store.revoke_key(merchant, identifier, self._ports.now_ms()):
            raise UnknownError("no such key")
        if self._directory is not None:
            self._directory.changed_key(identifier)

    async def _refuse_overlap(self, merchant: Merchant, number: int) -> None:
        async for other, content in self._store.merchants():
            shared = overlap(merchant, content) if other != number else None
            if shared is not None:
                raise TakenError(f"{shared} overlaps with what merchant {other} speaks for")
        for index, each in enumerate(merchant.delegations):
            if each.to == number or await self._store.find(What.MERCHANT, each.to) is None:
                raise DocumentError(Fault(f"/delegations/{index}/to", "is no other merchant's number"))

    async def _seal(self, registration: Registration, known: Registered | None = None) -> Registered:
        """Have a registration durable in Kafka, then in its document; the same one again is left as it is.

        Where the document cannot be written the projector does it, later.
        """
        if known is not None and known.registration == registration:
            return known
        time_ms = max(self._ports.now_ms(), known.time_ms + 1 if known else 0)
        item = registrations.item_of(registration, time_ms, self._ports.random)
        partition = partition_of(event_key(registration.merchant, registration.key), self._kafka.partitions)
        topic = self._kafka.topic(topics.GOODS_COLLECTED)
        await self._commits.commit([Placed(topic, partition, to_wire(item))])
        await self._store.apply(registrations.changes([item.record]))
        if self._directory is not None and registration.what is What.MERCHANT:
            self._directory.changed_merchants()
        return registrations.registered(item.record)


def told(found: Registered) -> dict[str, Any]:
    """Give a registration as JSON: who, what, and the record that holds it."""
    registration = found.registration
    return {
        "what": registration.what.value,
        "key": registration.key,
        "merchant": registration.merchant,
        "content": registration.content,
        "recordID": found.record,
        "timeMs": found.time_ms,
    }
