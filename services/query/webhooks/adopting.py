"""Owners of queries and webhooks that an earlier release kept: it knew them by name alone, which another may have by now.

A merchant's name is its number. An account's stands for the account if that was there already when the query or webhook was made: names are
unique, and none is ever changed. Names that end as the identity provider's do stand for no account: an account may be called so, too. All others
stay the operators'. What they send is public, as before.
"""

from collections.abc import Mapping
from typing import Any, Final

from services.query.webhooks.documents import owner_row
from services.query.webhooks.store import QUERIES, SUBSCRIPTIONS
from services.query.webhooks.values import OwnerId, OwnerKind
from services.runtime.access.accounts import ACCOUNTS
from services.runtime.mongo import Database, translated

_OF_MERCHANTS: Final = "merchant:"


async def adopt(database: Database, provider_host: str) -> int:
    """Give kind and ID of its owner to what has none, where they can be told; may be repeated. Raises: UnavailableError.

    Args:
        database: of queries, webhooks and accounts.
        provider_host: with which names of the identity provider end; "" where there is none.
    Returns: how many documents were given one.
    """
    count = 0
    for name in (QUERIES, SUBSCRIPTIONS):
        without = {"owner_kind": {"$exists": False}}
        async with translated():
            async for each in database[name].find(without, {"owner": 1, "created_ms": 1}):
                named = str(each.get("owner") or "")
                is_providers = bool(provider_host) and named.lower().endswith(f"@{provider_host.lower()}")
                owner = None if is_providers else await _owner(database, named, _created_ms(each))
                if owner is not None:
                    change = {"$set": owner_row(owner)}
                    done = await database[name].update_one({"_id": each["_id"], **without}, change)
                    count += done.modified_count
    return count


def _created_ms(document: Mapping[str, Any]) -> int:
    """Give when a document was made; 0, before every account, where it is damaged and does not say so."""
    told = document.get("created_ms")
    return told if isinstance(told, int) else 0


async def _owner(database: Database, name: str, created_ms: int) -> OwnerId | None:
    number = name.removeprefix(_OF_MERCHANTS)
    if name.startswith(_OF_MERCHANTS) and number.isascii() and number.isdigit():
        return OwnerId(OwnerKind.MERCHANT, number)
    found: Any = await database[ACCOUNTS].find_one({"name": name}, {"created_ms": 1}) if name else None
    if found is None or found.get("created_ms", created_ms + 1) > created_ms:
        return None
    return OwnerId(OwnerKind.ACCOUNT, found["_id"])
