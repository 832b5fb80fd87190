"""Named queries and webhooks in MongoDB: `epcis_queries` and `epcis_subscriptions`. They are sealed nowhere: back them up.

Any number of processes deliver. Before one reads for a webhook it takes a lease on it, and what it says of the progress counts
only as long as the lease is its own: whoever was too slow is not heard, and what it had sent is sent again.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pymongo import IndexModel, ReturnDocument

from services.query.webhooks import room as rooms
from services.query.webhooks.asked import NamedQuery
from services.query.webhooks.documents import (
    document_of,
    lock_row,
    locked_of,
    maker_row,
    owner_row,
    progress_row,
    query_of,
    query_or_damaged,
    webhook_of,
    webhook_or_damaged,
)
from services.query.webhooks.room import Room
from services.query.webhooks.values import Damaged, Locked, OwnerId, Progress, State, Webhook
from services.runtime.errors import ConflictError
from services.runtime.mongo import Collection, Database, create_indexes, translated

QUERIES: Final = "epcis_queries"
SUBSCRIPTIONS: Final = "epcis_subscriptions"
INDEXES: Final = {
    QUERIES: rooms.INDEXES,
    SUBSCRIPTIONS: [IndexModel([("query", 1)], name="query"), *rooms.INDEXES],
}


class WebhookStore:
    """Named queries and webhooks of one database. Every method raises UnavailableError where the store is away.

    What gives one query or webhook raises DamagedError where its document is damaged; what gives many says which are. Any can be removed.
    """

    def __init__(self, database: Database, room: Room = Room()) -> None:  # noqa: B008 - it is frozen
        """Use the collections in `database`; keep as many queries, and as many webhooks, as `room` says."""
        self._database, self._room = database, room
        self._is_prepared = False
        self._adding = asyncio.Lock()  # those of one process need not get into one another's way
        self._queries = database[QUERIES]
        self._subscriptions = database[SUBSCRIPTIONS]

    async def prepare(self) -> None:
        """Make the indexes that are not there."""
        await create_indexes(self._database, INDEXES)
        self._is_prepared = True

    # ---- named queries

    async def add_query(
        self, query: NamedQuery, user: str, owner: str, now_ms: int, owner_id: OwnerId | None = None
    ) -> None:
        """Keep a query, `owner` by name and ID as of a webhook.

        Raises: ConflictError where there is one of that name; NotPermittedError where there is no room.
        """
        document = {
            "_id": query.name,
            "query": msgspec.json.encode(query.query).decode(),
            "user": user,
            "owner": owner,
            "created_ms": now_ms,
            **owner_row(owner_id),
        }
        await self._keep(self._queries, document, owner_id, "queries")

    async def queries(self, limit: int, owner: OwnerId | None = None) -> list[NamedQuery | Damaged]:
        """List the queries by name: an owner's, or all. Damaged ones count for the limit."""
        async with translated():
            return [
                query_or_damaged(each)
                async for each in self._queries.find(owner_row(owner)).sort("_id", 1).limit(limit)
            ]

    async def query(self, name: str, owner: OwnerId | None = None) -> NamedQuery | None:
        """Give a query, None where there is none, or none of the owner's where one is named."""
        async with translated():
            found = await self._queries.find_one({"_id": name, **owner_row(owner)})
        return query_of(found) if found else None

    async def has_query(self, name: str, owner: OwnerId | None = None) -> bool:
        """Tell whether there is a query, damaged or not, or one of the owner's where one is named."""
        async with translated():
            return await self._queries.find_one({"_id": name, **owner_row(owner)}, {"_id": 1}) is not None

    async def remove_query(self, name: str, owner: OwnerId | None = None) -> bool:
        """Remove a query; tell whether there was one. Raises: ConflictError where it has subscriptions."""
        if not await self.has_query(name, owner):
            return False
        async with translated():
            if await self._subscriptions.find_one({"query": name}, {"_id": 1}):
                raise ConflictError(f"the query {name} has subscriptions")
            mine = {"_id": name, **owner_row(owner)}
            return (await self._queries.delete_one(mine)).deleted_count == 1

    # ---- webhooks

    async def add(self, webhook: Webhook) -> None:
        """Keep a webhook; durable when it returns. Raises: NotPermittedError where there is no room."""
        await self._keep(self._subscriptions, document_of(webhook), webhook.owner_id, "subscriptions")

    async def _keep(
        self, collection: Collection, document: Mapping[str, Any], owner: OwnerId | None, kind: str
    ) -> None:
        async with self._adding:
            if not self._is_prepared:  # without the indexes nothing would hold two off the same place
                await self.prepare()
            await rooms.keep(collection, document, owner, self._room, kind)

    async def count(self) -> int:
        """Count the webhooks."""
        async with translated():
            return await self._subscriptions.count_documents({})

    async def all(self, limit: int, query: str = "", owner: OwnerId | None = None) -> list[Webhook | Damaged]:
        """List webhooks by the time they were made, those of a query and of an owner where one is named. Damaged ones count for the limit."""
        wanted = {**({"query": query} if query else {}), **owner_row(owner)}
        async with translated():
            found = self._subscriptions.find(wanted).sort([("created_ms", 1), ("_id", 1)]).limit(limit)
            return [webhook_or_damaged(each) async for each in found]

    async def find(self, query: str, name: str, owner: OwnerId | None = None) -> Webhook | None:
        """Give a webhook of a query, None where there is none, or none of the owner's where one is named."""
        async with translated():
            found = await self._subscriptions.find_one({"_id": name, "query": query, **owner_row(owner)})
        return webhook_of(found) if found else None

    async def remove(self, query: str, name: str, owner: OwnerId | None = None) -> bool:
        """Remove a webhook; tell whether there was one. What is being sent may still arrive."""
        async with translated():
            wanted = {"_id": name, "query": query, **owner_row(owner)}
            return (await self._subscriptions.delete_one(wanted)).deleted_count == 1

    # ---- leases

    async def take(self, name: str, owner: str, now_ms: int, until_ms: int) -> Webhook | None:
        """Take the lease on a webhook that is due and that nobody holds; None where somebody does, or it is gone."""
        free = {
            "_id": name,
            "state": State.ACTIVE.value,
            "next_ms": {"$lte": now_ms},
            "lease_until_ms": {"$lte": now_ms},
        }
        lease = {"$set": {"lease_owner": owner, "lease_until_ms": until_ms}}
        async with translated():
            if not (await self._subscriptions.update_one(free, lease)).modified_count:
                return None
            found = await self._subscriptions.find_one({"_id": name, "lease_owner": owner})
        return webhook_of(found) if found else None

    async def say(self, name: str, owner: str, progress: Progress, until_ms: int) -> bool:
        """Keep the progress of a webhook and hold its lease until a time, 0 to give it up; durable when it returns.

        Returns: False where the lease was another's by then: nothing was kept.
        """
        change = {**progress_row(progress), "lease_until_ms": until_ms}
        async with translated():
            done = await self._subscriptions.update_one({"_id": name, "lease_owner": owner}, {"$set": change})
        return done.matched_count == 1

    async def seize(
        self, query: str, name: str, lessee: str, until_ms: int, owner: OwnerId | None = None
    ) -> Webhook | None:
        """Take the lease on a webhook from whoever holds it, who is not heard from then on, also where it is disabled or not due.

        Args:
            query: of the webhook.
            name: of the webhook.
            lessee: who takes it.
            until_ms: Unix milliseconds until which nobody else takes it.
            owner: whose it must be; None: anybody's.
        Returns: the webhook; None where there is none, or none of the owner's.
        """
        wanted = {"_id": name, "query": query, **owner_row(owner)}
        lease = {"$set": {"lease_owner": lessee, "lease_until_ms": until_ms}}
        async with translated():
            found = await self._subscriptions.find_one_and_update(
                wanted, lease, return_document=ReturnDocument.AFTER
            )
        return webhook_of(found) if found else None

    async def resume(self, webhook: Webhook, lessee: str) -> bool:
        """Keep who made a webhook, its secret and its progress, and give its lease up; durable when it returns.

        Returns: False where the lease was another's by then: nothing was kept.
        """
        change = {
            "user": webhook.user,
            **maker_row(webhook),
            **lock_row(webhook.locked),
            **progress_row(webhook.progress),
            "lease_until_ms": 0,
        }
        async with translated():
            done = await self._subscriptions.update_one(
                {"_id": webhook.id, "lease_owner": lessee}, {"$set": change}
            )
        return done.matched_count == 1

    async def release(self, name: str, owner: str) -> None:
        """Give the lease on a webhook up, its progress as it is."""
        async with translated():
            await self._subscriptions.update_one(
                {"_id": name, "lease_owner": owner}, {"$set": {"lease_until_ms": 0}}
            )

    # ---- secrets

    async def locked_under_index_secret(self) -> list[tuple[str, Locked]]:
        """List by ID what an earlier release has locked; damaged ones are passed over, of which `all` tells."""
        async with translated():
            old = {"_id": {"$type": "string"}, "locked_under": {"$exists": False}}
            found = self._subscriptions.find(old, {"locked": 1})
            return [(each["_id"], kept) async for each in found if (kept := locked_of(each)) is not None]

    async def relock(self, name: str, before: Locked, after: Locked) -> bool:
        """Put a secret in the place of what an earlier release has locked, durable when it returns; False where that is there no more."""
        still = {"_id": name, "locked": before.data, "locked_under": {"$exists": False}}
        async with translated():
            return (
                await self._subscriptions.update_one(still, {"$set": lock_row(after)})
            ).modified_count == 1
