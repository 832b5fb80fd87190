"""Registering: checked, sealed like an event, and at once in the documents that follow from what is sealed."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from goodstrace.entry import ID_BYTES
from goodstrace.registration import merchant_key
from services.collector.errors import DocumentError, Fault, OverloadedError
from services.collector.flow import to_wire
from services.collector.preparing import Ports
from services.collector.producer import GroupCommit, Placed
from services.collector.registry import contents, registrations
from services.collector.registry.claims import overlap
from services.collector.registry.gate import Caller
from services.collector.registry.registrations import Registered, Registration
from services.collector.registry.store import RegistryStore
from services.collector.registry.under_way import UnderWay
from services.runtime import topics
from services.runtime.errors import UnavailableError
from services.runtime.merchants.api_keys import ApiKey, new_key
from services.runtime.merchants.directory import Directory
from services.runtime.merchants.errors import ForbiddenError, TakenError, UnknownError
from services.runtime.merchants.values import Goods, Merchant, Place, What, plain
from services.runtime.partitioner import event_key, partition_of
from services.runtime.settings import KafkaSettings

_Read = Callable[[], Awaitable[tuple[Merchant, Registered | None]]]
"""Gives a merchant as it is to be, and as it is registered."""
_ATTEMPTS: Final = 50
_WAIT_S: Final = 0.1


class Registrar:
    """Registers one thing after the other: what is checked must still hold when it is written, see `under_way`."""

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

        async def read() -> tuple[Merchant, Registered | None]:
            return merchant, None

        return await self._register_merchant(0, read)

    async def change_merchant(self, number: int, patch: object) -> Registered:
        """Register a merchant anew, changed by a merge patch. Raises: DocumentError, UnknownError, TakenError, ServiceError."""

        async def read() -> tuple[Merchant, Registered | None]:
            known = await self.find(What.MERCHANT, number)
            return contents.read_merchant(contents.merged(known.registration.content, patch)), known

        return await self._register_merchant(number, read)

    async def _register_merchant(self, number: int, read: _Read) -> Registered:
        """Check a merchant against all others, also those that other collectors are registering, and register it.

        Where it is not known whether Kafka has it, what it wants stays under way, until that must be known.
        """
        async with self._lock:
            mine, merchant, known = await self._begin(number, read)
            try:
                number = number or await self._store.reserve_number()
                wanted = Registration(What.MERCHANT, merchant_key(number), number, plain(merchant))
                made = await self._seal(wanted, known)
            except OverloadedError:
                await self._end(mine)
                raise
            await self._end(mine)
            return made

    async def _end(self, mine: UnderWay) -> None:
        with contextlib.suppress(UnavailableError):  # it ends by itself
            await self._store.end(mine)

    async def _begin(self, number: int, read: _Read) -> tuple[UnderWay, Merchant, Registered | None]:
        for _ in range(_ATTEMPTS):
            seen, now_ms = await self._store.under_way(), self._ports.now_ms()
            if not seen.changes(number, now_ms) and not seen.is_full(now_ms):
                merchant, known = await read()
                await self._refuse_overlap(merchant, number, list(seen.counting(now_ms)))
                mine = UnderWay(self._ports.random(ID_BYTES).hex(), number, now_ms, plain(merchant))
                if await self._store.begin(seen, seen.with_one(mine, now_ms)):
                    return mine, merchant, known
            await asyncio.sleep(_WAIT_S)
        raise TakenError("the merchant is being registered by another one: try again in two minutes")

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

    async def registered_by(self, what: What, merchant: int, after: str, limit: int) -> list[Registered]:
        """List goods or places that a merchant registered, by key, from the one after `after`. Raises: ServiceError."""
        return await self._store.registered_by(what, merchant, after, limit)

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

    async def _refuse_overlap(
        self, merchant: Merchant, number: int, under_way: Sequence[UnderWay] = ()
    ) -> None:
        for one in under_way:
            shared = overlap(merchant, one.merchant())
            if shared is not None:
                raise TakenError(
                    f"{shared} overlaps with what another merchant is being registered for: try again in two minutes"
                )
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
