"""The collection `goods_states`: one document for each key of goods, its state and the sightings it is read off.

A document is read, joined with what is new and written where nobody else wrote it meanwhile (`rev`); else it is read again. Since joining
may be done in any order and repeatedly, two keepers that meet in a key end in the same document as one after the other.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from pymongo import InsertOne, ReplaceOne

from goodstrace.goods.sightings import Kept, joined
from goodstrace.goods.state import derived
from services.runtime.errors import ConflictError, UnavailableError
from services.runtime.goods_browses.steps import STATES
from services.runtime.mongo import Database, find_named, translated

KEYS_A_CALL: Final = 1000
_ATTEMPTS: Final = 20
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODER: Final = msgspec.msgpack.Decoder(Kept)

_Write = InsertOne[dict[str, Any]] | ReplaceOne[dict[str, Any]]


class StateStore:
    """The states of goods."""

    def __init__(self, database: Database) -> None:
        """Use the collection in `database`."""
        self._database, self._states = database, database[STATES]

    async def apply(self, said: Mapping[str, Kept]) -> int:
        """Join what is said into the documents; gives how many had to be written. Raises: UnavailableError."""
        keys = sorted(said)
        written = 0
        for start in range(0, len(keys), KEYS_A_CALL):
            written += await self._apply(keys[start : start + KEYS_A_CALL], said)
        return written

    async def _apply(self, keys: Sequence[str], said: Mapping[str, Kept]) -> int:
        """Try until nothing is left to be written: where another keeper was first, what it wrote is joined too."""
        written = 0
        for _ in range(_ATTEMPTS):
            writes = _writes(keys, said, await self._find(keys))
            if not writes:
                return written
            written += len(writes)
            try:
                async with translated():
                    result = await self._states.bulk_write(writes, ordered=False)
            except ConflictError:
                continue
            if result.inserted_count + result.matched_count == len(writes):
                return written
        raise UnavailableError(f"MongoDB: {len(keys)} states are written by others all the time")

    async def _find(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        found = await find_named(self._database, STATES, keys, {"rev": 1, "kept": 1})
        return {each["_id"]: each for each in found}


def document(key: str, kept: Kept, rev: int) -> dict[str, Any]:
    """Make the document of a key."""
    return {"_id": key, "rev": rev, **derived(key, kept), "kept": _ENCODE(kept)}


def _writes(
    keys: Sequence[str], said: Mapping[str, Kept], there: Mapping[str, dict[str, Any]]
) -> list[_Write]:
    writes: list[_Write] = []
    for key in keys:
        known = there.get(key)
        if known is None:
            writes.append(InsertOne(document(key, said[key], 1)))
            continue
        before = _DECODER.decode(known["kept"])
        after = joined(before, said[key])
        if after != before:
            rev = known["rev"]
            writes.append(ReplaceOne({"_id": key, "rev": rev}, document(key, after, rev + 1)))
    return writes
