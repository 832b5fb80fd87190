"""Named queries and webhooks in MongoDB: `epcis_queries` and `epcis_subscriptions`. They are sealed nowhere: back them up.

Any number of processes deliver. Before one reads for a webhook it takes a lease on it, and what it says of the progress counts
only as long as the lease is its own: whoever was too slow is not heard, and what it had sent is sent again.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pymongo import IndexModel, ReturnDocument

from services.query.webhooks.asked import NamedQuery
from services.query.webhooks.values import Locked, OwnerId, OwnerKind, Progress, Sees, State, Under, Webhook
from services.runtime.access.lasting import Credential
from services.runtime.errors import ConflictError
from services.runtime.mongo import Database, create_indexes, translated

QUERIES: Final = "epcis_queries"
SUBSCRIPTIONS: Final = "epcis_subscriptions"
INDEXES: Final = {SUBSCRIPTIONS: [IndexModel([("query", 1)], name="query")]}


class WebhookStore:
    """Named queries and webhooks of one database. Every method raises UnavailableError where the store is away."""

    def __init__(self, database: Database) -> None:
        """Use the collections in `database`."""
        self._database = database
        self._queries = database[QUERIES]
        self._subscriptions = database[SUBSCRIPTIONS]

    async def prepare(self) -> None:
        """Make the indexes that are not there."""
        await create_indexes(self._database, INDEXES)

    # ---- named queries

    async def add_query(
        self, query: NamedQuery, user: str, owner: str, now_ms: int, owner_id: OwnerId | None = None
    ) -> None:
        """Keep a query, `owner` by name and ID as of a webhook. Raises: ConflictError where there is one of that name."""
        async with translated():
            await self._queries.insert_one(
                {
                    "_id": query.name,
                    "query": msgspec.json.encode(query.query).decode(),
                    "user": user,
                    "owner": owner,
                    "created_ms": now_ms,
                    **owner_row(owner_id),
                }
            )

    async def queries(self, limit: int, owner: OwnerId | None = None) -> list[NamedQuery]:
        """List the queries by name: an owner's, or all."""
        async with translated():
            return [
                _query(each)
                async for each in self._queries.find(owner_row(owner)).sort("_id", 1).limit(limit)
            ]

    async def query(self, name: str, owner: OwnerId | None = None) -> NamedQuery | None:
        """Give a query, None where there is none, or none of the owner's where one is named."""
        async with translated():
            found = await self._queries.find_one({"_id": name, **owner_row(owner)})
        return _query(found) if found else None

    async def remove_query(self, name: str, owner: OwnerId | None = None) -> bool:
        """Remove a query; tell whether there was one. Raises: ConflictError where it has subscriptions."""
        async with translated():
            mine = {"_id": name, **owner_row(owner)}
            if not await self._queries.find_one(mine, {"_id": 1}):
                return False
            if await self._subscriptions.find_one({"query": name}, {"_id": 1}):
                raise ConflictError(f"the query {name} has subscriptions")
            return (await self._queries.delete_one(mine)).deleted_count == 1

    # ---- webhooks

    async def add(self, webhook: Webhook) -> None:
        """Keep a webhook; durable when it returns."""
        async with translated():
            await self._subscriptions.insert_one(_document(webhook))

    async def all(self, limit: int, query: str = "", owner: OwnerId | None = None) -> list[Webhook]:
        """List webhooks by the time they were made, those of a query and of an owner where one is named."""
        wanted = {**({"query": query} if query else {}), **owner_row(owner)}
        async with translated():
            found = self._subscriptions.find(wanted).sort([("created_ms", 1), ("_id", 1)]).limit(limit)
            return [_webhook(each) async for each in found]

    async def find(self, query: str, name: str, owner: OwnerId | None = None) -> Webhook | None:
        """Give a webhook of a query, None where there is none, or none of the owner's where one is named."""
        async with translated():
            found = await self._subscriptions.find_one({"_id": name, "query": query, **owner_row(owner)})
        return _webhook(found) if found else None

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
        return _webhook(found) if found else None

    async def say(self, name: str, owner: str, progress: Progress, until_ms: int) -> bool:
        """Keep the progress of a webhook and hold its lease until a time, 0 to give it up; durable when it returns.

        Returns: False where the lease was another's by then: nothing was kept.
        """
        change = {**_progress(progress), "lease_until_ms": until_ms}
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
        return _webhook(found) if found else None

    async def resume(self, webhook: Webhook, lessee: str) -> bool:
        """Keep who made a webhook, its secret and its progress, and give its lease up; durable when it returns.

        Returns: False where the lease was another's by then: nothing was kept.
        """
        change = {
            "user": webhook.user,
            **_maker(webhook),
            **_lock(webhook.locked),
            **_progress(webhook.progress),
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
        """List by ID what an earlier release has locked."""
        async with translated():
            found = self._subscriptions.find({"locked_under": {"$exists": False}}, {"locked": 1})
            return [(each["_id"], _locked(each)) async for each in found]

    async def relock(self, name: str, before: Locked, after: Locked) -> bool:
        """Put a secret in the place of what an earlier release has locked, durable when it returns; False where that is there no more."""
        still = {"_id": name, "locked": before.data, "locked_under": {"$exists": False}}
        async with translated():
            return (await self._subscriptions.update_one(still, {"$set": _lock(after)})).modified_count == 1


def owner_row(owner: OwnerId | None) -> dict[str, str]:
    """Give the members that say whose a document is, which find it, too; none for one that is the operators', or for all."""
    return {} if owner is None else {"owner_kind": owner.kind.value, "owner_id": owner.id}


def _query(document: Mapping[str, Any]) -> NamedQuery:
    return NamedQuery(document["_id"], msgspec.json.decode(document["query"]))


def _maker(webhook: Webhook) -> dict[str, Any]:
    return {"maker": msgspec.to_builtins(webhook.maker)} if webhook.maker else {}


def _lock(locked: Locked) -> dict[str, Any]:
    return {"locked": locked.data, "locked_under": locked.under.value}


def _locked(document: Mapping[str, Any]) -> Locked:
    """Read a secret. An earlier release did not say what it is under, and a member of its own cannot be mistaken for bytes of a nonce."""
    return Locked(bytes(document["locked"]), Under(document.get("locked_under", Under.INDEX)))


def _progress(progress: Progress) -> dict[str, Any]:
    """Write progress: what is searched for in fields of its own, the rest as JSON, since names of logs are no field names."""
    return {
        "state": progress.state.value,
        "next_ms": progress.next_ms,
        "progress": msgspec.json.encode(progress).decode(),
    }


def _document(webhook: Webhook) -> dict[str, Any]:
    return {
        "_id": webhook.id,
        "query": webhook.query,
        "definition": msgspec.json.encode(webhook.definition).decode(),
        "dest": webhook.dest,
        **_lock(webhook.locked),
        "user": webhook.user,
        "owner": webhook.owner,
        **owner_row(webhook.owner_id),
        "sees": webhook.sees.value,
        **_maker(webhook),
        "created_ms": webhook.created_ms,
        "lease_owner": "",
        "lease_until_ms": 0,
        **_progress(webhook.progress),
    }


def _webhook(document: Mapping[str, Any]) -> Webhook:
    kind, maker = document.get("owner_kind"), document.get("maker")
    return Webhook(
        id=document["_id"],
        query=document["query"],
        definition=msgspec.json.decode(document["definition"]),
        dest=document["dest"],
        locked=_locked(document),
        user=document["user"],
        owner=document.get("owner", ""),
        owner_id=OwnerId(OwnerKind(kind), document["owner_id"]) if kind else None,
        sees=Sees(document.get("sees", Sees.PUBLIC)),
        maker=msgspec.convert(maker, Credential) if maker else None,
        created_ms=document["created_ms"],
        progress=msgspec.json.decode(document["progress"], type=Progress),
    )
