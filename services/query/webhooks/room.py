"""Room for queries and webhooks: so many of one owner and so many of all, whatever comes at once and from however many processes.

Each document takes two places with the insert that keeps it: one of its owner's and one of all. A place is a number under a unique index, so nobody
takes another's: of two that want the last one the second is refused, and not both. It is the lowest number that is free, which is what bounds those that
stand elsewhere: what an earlier release kept has no place, and where a limit was lowered some places are over it. Whoever took the highest place p has
seen 0 to p - 1 taken and, with all that stand elsewhere, fewer than the limit; nobody has taken a higher one since.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from pymongo import IndexModel

from services.query.epcis_problems import NotPermittedError
from services.query.webhooks.documents import owner_row
from services.query.webhooks.values import OwnerId
from services.runtime.errors import ConflictError, UnavailableError
from services.runtime.mongo import Collection, translated

PLACE: Final = "place"
OWNER_PLACE: Final = "owner_place"
INDEXES: Final = [
    IndexModel([(name, 1)], name=name, unique=True, sparse=True) for name in (PLACE, OWNER_PLACE)
]
_FIELDS: Final = {PLACE: 1, OWNER_PLACE: 1, "owner_kind": 1, "owner_id": 1}
_TRIES: Final = 100
_PAUSE_S: Final = 0.01
"""Whose place was taken looks again after this, since what somebody has just written may not be shown yet."""


class Room(msgspec.Struct, frozen=True):
    """How many there may be: `most` in all, `most_of_owner` of one owner. Without a setting as settings have it."""

    most: int = 100
    most_of_owner: int = 20


def places(
    there: Iterable[Mapping[str, Any]], owner: OwnerId | None, room: Room, kind: str
) -> dict[str, Any]:
    """Give the members of a document that take its places. Pure.

    Args:
        there: all documents that are kept, of them what _FIELDS names.
        owner: whose the new one is, None for one of which nobody knows whose.
        room: the limits.
        kind: what they are called, in the plural.
    Raises: NotPermittedError where there is no room.
    """
    kept = list(there)
    row = owner_row(owner)
    of_owner = [
        each
        for each in kept
        if {name: each[name] for name in ("owner_kind", "owner_id") if name in each} == row
    ]
    if len(of_owner) >= room.most_of_owner:
        raise NotPermittedError(f"you have {room.most_of_owner} {kind} already: remove one first")
    if len(kept) >= room.most:
        raise NotPermittedError(f"there are {room.most} {kind} already")
    named = f"{owner.kind}:{owner.id}" if owner else ""
    # As many numbers as places, each document has one at the most, and there are fewer of these: one is free.
    taken = {number for each in kept if isinstance(number := each.get(PLACE), int)}
    taken_of_owner = {told for each in kept if isinstance(told := each.get(OWNER_PLACE), str)}
    return {
        PLACE: next(number for number in range(room.most) if number not in taken),
        OWNER_PLACE: next(
            mine
            for number in range(room.most_of_owner)
            if (mine := f"{named}/{number}") not in taken_of_owner
        ),
    }


async def keep(
    collection: Collection, document: Mapping[str, Any], owner: OwnerId | None, room: Room, kind: str
) -> None:
    """Insert a document where there is room for it, durable when it returns; the indexes are there.

    Raises: NotPermittedError where there is no room; ConflictError where its `_id` is another's; UnavailableError, also where others
        have taken its place again and again.
    """
    for _ in range(_TRIES):
        async with translated():
            there = [each async for each in collection.find({}, _FIELDS)]
        try:
            async with translated():
                await collection.insert_one({**document, **places(there, owner, room, kind)})
        except ConflictError:
            async with translated():
                if await collection.find_one({"_id": document["_id"]}, {"_id": 1}):
                    raise
            await asyncio.sleep(_PAUSE_S)
        else:
            return
    raise UnavailableError(f"others make {kind} at this moment")
