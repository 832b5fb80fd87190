"""The collection `goods_states`: one document for each key of goods, its state and the sightings it is read off.

A document is read, joined with what is new and written where nobody else wrote it meanwhile (`rev`); else it is read again. Since joining
may be done in any order and repeatedly, two keepers that meet in a key end in the same document as one after the other.

What a correction by another merchant is worth follows from registrations, which come by themselves, in any order. A document names the
merchants it depends on (`asked`), and `goods_asking` says it by merchant: an index over all states would cost each of them a write (decision 31).
Who writes such a document notes that there and looks at the registrations once more afterwards, and who keeps a registration looks for what is
noted afterwards: of two at the same time one sees what the other wrote. What is noted may be any number, so it is looked at by days and parts
(`renewals`), a day and a range of parts in one call: what cannot matter is not read. SecantusDB uses an index only for equal values and one range
behind them; two ranges, `$in`, or a range of `_id` make it go through the whole collection (decision 26).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from pymongo import IndexModel, ReplaceOne

from goodstrace.goods.corrections import NOBODY, Given, Givers, asked
from goodstrace.goods.sightings import Kept, joined
from goodstrace.goods.state import derived
from goodstrace.identifiers import Grade
from goodstrace.tracing.events import grade
from services.collector.delegation_store import DelegationStore
from services.collector.renewals import part_of
from services.runtime.errors import UnavailableError
from services.runtime.goods_browses.steps import STATES
from services.runtime.mongo import (
    Database,
    create_indexes,
    find_all,
    find_named,
    insert_missing,
    translated,
)

KEYS_A_CALL: Final = 1000
REPLACED_A_CALL: Final = 200
"""SecantusDB makes each replacement durable by itself: 1,000 took more than the 10 s of a call on a machine with other work."""
ASKING: Final = "goods_asking"
INDEXES: Final = {
    ASKING: [
        IndexModel([("merchant", 1), ("until_ms", 1), ("part", 1)], name="notes"),
        IndexModel(
            [("asked", 1), ("until_ms", 1)], name="days", partialFilterExpression={"asked": {"$gt": 0}}
        ),
    ]
}
_DAY_MS: Final = 86_400_000
_ATTEMPTS: Final = 20
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODER: Final = msgspec.msgpack.Decoder(Kept)
_NOTHING: Final = Kept(())
_STAMP: Final = {"_id", "rev", "kept"}


class StateStore:
    """The states of goods."""

    def __init__(self, database: Database) -> None:
        """Use the collection in `database`, and what is kept of delegations there."""
        self._database, self._states = database, database[STATES]
        self._delegations = DelegationStore(database)
        self._are_new = False  # whether most goods that were told of last had no document yet

    async def prepare(self) -> None:
        """Make the indexes that are not there. Raises: UnavailableError."""
        await create_indexes(self._database, INDEXES)
        await self._delegations.prepare()

    async def apply(self, said: Mapping[str, Kept], given: Sequence[Given] = ()) -> int:
        """Join what is said into the documents; gives how many had to be written. Raises: UnavailableError.

        Args:
            said: of goods, by key.
            given: registrations of merchants; they are kept. What else depends on them is derived anew afterwards (`Renewing`).
        """
        await self._delegations.add(given)
        written, asking = 0, dict[str, Mapping[int, int]]()
        for some in _chunks(list(said)):  # goods of one event together: what is made of it is made once
            written += await self._apply(some, said, asking)
        await insert_missing(self._database[ASKING], list(_notes(asking)))
        return written + await self.renew(asking)

    async def renew(self, keys: Collection[str]) -> int:
        """Derive documents anew by the registrations that are known now; gives how many had to be written. Raises: UnavailableError."""
        written = 0
        for some in _chunks(sorted(keys)):
            written += await self._apply(some, {}, {})
        return written

    async def days(self, merchant: int, first_ms: int) -> list[int]:
        """Give the days until the end of which any document depends on a merchant's registrations, in order; of most merchants there are none.

        Args:
            merchant: its number.
            first_ms: Unix milliseconds; only days that end then or later.
        Returns: their ends, Unix milliseconds. Raises: UnavailableError.
        """
        query = {"asked": merchant, "until_ms": {"$gte": first_ms}}
        rows = await find_all(self._database, ASKING, query, {"until_ms": 1})
        return sorted(each["until_ms"] for each in rows)

    async def noted(self, merchant: int, parts: range, first_ms: int) -> list[str]:
        """Name the documents in some parts that depend on what a merchant registered at a time or later; a key comes once for each such day.

        One that is written meanwhile, and passed over, is derived by the registrations that are known then, by who writes it.

        Args:
            merchant: its number.
            parts: see `renewals`, without steps.
            first_ms: record time, Unix milliseconds.
        Returns: keys; nothing else is read. Raises: UnavailableError.
        """
        keys: list[str] = []
        for until_ms in await self.days(merchant, first_ms):
            query = {
                "merchant": merchant,
                "until_ms": until_ms,
                "part": {"$gte": parts.start, "$lt": parts.stop},
            }
            keys += [each["key"] for each in await find_all(self._database, ASKING, query, {"key": 1})]
        return keys

    async def _apply(
        self, keys: Sequence[str], said: Mapping[str, Kept], asking: dict[str, Mapping[int, int]]
    ) -> int:
        """Try until nothing is left to be written: where another keeper was first, what it wrote is joined too.

        Where most goods were new of late, all are taken to be so at first, and the store says of which there are documents: to look for one that is
        not there costs it half of what it costs to insert one.

        Args:
            keys: of the documents.
            said: what is new, by key; where it is empty, documents are derived anew.
            asking: takes in the keys that depend on registrations: of which merchants, up to which record time (Unix milliseconds).
        """
        written, left = 0, keys
        for attempt in range(_ATTEMPTS):
            is_guess = bool(said) and attempt == 0 and self._are_new
            there = {} if is_guess else await self._find(left, {"rev": 1, "kept": 1} if said else None)
            before = {key: _DECODER.decode(known["kept"]) for key, known in there.items()}
            after = {key: _joined(before.get(key), said.get(key)) for key in left}
            asked_of = {key: merchants for key, kept in after.items() if (merchants := asked(kept))}
            asking.update(asked_of)
            givers = (
                await self._delegations.find({each for some in asked_of.values() for each in some})
                if asked_of
                else NOBODY
            )
            documents = Documents(givers)
            new = [
                documents.of(key, kept, 1)
                for key, kept in after.items()
                if key not in there and kept.sightings
            ]
            changed = {
                key: (known["rev"], made)
                for key, known in there.items()
                if (made := documents.changed(key, after[key], known, before[key]))
            }
            taken = await insert_missing(self._states, new)
            replaced = await self._replace(changed)
            written += len(new) - len(taken) + replaced
            if said and attempt == 0:
                self._are_new = 2 * (len(there) + len(taken)) < len(left)
            left = taken if replaced == len(changed) else [*taken, *changed]
            if not left:
                return written
        raise UnavailableError(f"MongoDB: {len(left)} states are written by others all the time")

    async def _replace(self, changed: Mapping[str, tuple[int, dict[str, Any]]]) -> int:
        """Write documents in the place of those of a revision, but where another keeper was first; gives how many."""
        writes = [ReplaceOne({"_id": key, "rev": rev}, made) for key, (rev, made) in changed.items()]
        replaced = 0
        for start in range(0, len(writes), REPLACED_A_CALL):
            async with translated():
                result = await self._states.bulk_write(writes[start : start + REPLACED_A_CALL], ordered=False)
            replaced += result.matched_count
        return replaced

    async def _find(self, keys: Sequence[str], fields: dict[str, int] | None) -> dict[str, dict[str, Any]]:
        found = await find_named(self._database, STATES, keys, fields)
        return {each["_id"]: each for each in found}


def document(key: str, kept: Kept, rev: int, givers: Givers = NOBODY) -> dict[str, Any]:
    """Make the document of a key."""
    return Documents(givers).of(key, kept, rev)


class Documents:
    """Makes documents while what is kept lasts: of goods of a grade of which one event says the same, all but the key is made once."""

    def __init__(self, givers: Givers = NOBODY) -> None:
        """Derive by these registrations of merchants."""
        self._givers = givers
        self._made: dict[tuple[int, Grade], dict[str, Any]] = {}

    def of(self, key: str, kept: Kept, rev: int) -> dict[str, Any]:
        """Make the document of a key."""
        alike = id(kept), grade(key)
        made = self._made.get(alike)
        if made is None:
            made = self._made[alike] = {**derived(key, kept, self._givers), "kept": _ENCODE(kept)}
        return {"_id": key, "rev": rev, **made}

    def changed(self, key: str, kept: Kept, known: Mapping[str, Any], before: Kept) -> dict[str, Any] | None:
        """Make the document that is to stand in the place of the one known; None where it is so already.

        Of a document that was read without its state it is enough that the same is kept: what else its state depends on is looked at later.
        """
        rev = known["rev"]
        is_same = before == kept if known.keys() == _STAMP else self.of(key, kept, rev) == known
        return None if is_same else self.of(key, kept, rev + 1)


def _joined(before: Kept | None, said: Kept | None) -> Kept:
    """Join what a document has with what is new; either may be missing."""
    if before is None or said is None:
        return before or said or _NOTHING
    return joined(before, said)


def _notes(asking: Mapping[str, Mapping[int, int]]) -> Iterable[dict[str, Any]]:
    """Make what is noted of documents that depend on registrations: never changed, and one more where they matter up to a later day.

    By days, since a lot may be corrected any number of times: what is noted of a key is read at once. Of each merchant and day it is noted, too,
    that there are any: those of a merchant are few, and of most merchants there are none.
    """
    noted = [
        (key, merchant, (time_ms // _DAY_MS + 1) * _DAY_MS)
        for key, merchants in asking.items()
        for merchant, time_ms in merchants.items()
    ]
    for merchant, until_ms in dict.fromkeys(each[1:] for each in noted):
        yield {"_id": f"{merchant}@{until_ms}", "asked": merchant, "until_ms": until_ms}
    for key, merchant, until_ms in noted:
        yield {
            "_id": f"{merchant}/{until_ms}/{key}",
            "merchant": merchant,
            "part": part_of(key),
            "until_ms": until_ms,
            "key": key,
        }


def _chunks(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    return (keys[start : start + KEYS_A_CALL] for start in range(0, len(keys), KEYS_A_CALL))
