"""The collection `idempotency_keys`: which capture an Idempotency-Key stands for. MongoDB removes what has expired."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from services.runtime.errors import ConflictError
from services.runtime.mongo import Database, translated

KEYS: Final = "idempotency_keys"
EXPIRES: Final = "expires"
DEFAULT_LIFETIME_S: Final = 24 * 3600


class Reservation(msgspec.Struct, frozen=True):
    """A key, taken for one request.

    Attributes:
        name: digest of the merchant and the key.
        request: digest of all that the request's effect depends on.
        capture: the capture ID that was chosen for it, hex; no other reservation has it.
        owner: the process that works on it: its instance and a number of its own for each start.
        until_ms: when the owner has ended at the latest, Unix milliseconds.
        expires_ms: when the key is forgotten, Unix milliseconds.
    """

    name: str
    request: str
    capture: str
    owner: str
    until_ms: int
    expires_ms: int


class KeyStore:
    """Idempotency keys in MongoDB: reserved by a unique `_id`, taken over by comparing and swapping."""

    def __init__(self, database: Database) -> None:
        """Use the collection in `database`."""
        self._keys = database[KEYS]

    async def reserve(self, wanted: Reservation) -> Reservation | None:
        """Take a key; gives who holds it already, None where it is taken now. Raises: UnavailableError."""
        try:
            async with translated():
                await self._keys.insert_one(_document(wanted))
        except ConflictError:
            async with translated():
                found = await self._keys.find_one({"_id": wanted.name})
            # It was there a moment ago: who removed it is as good as who holds it, and the next attempt takes it.
            return msgspec.convert({**found, "name": wanted.name}, Reservation) if found else wanted
        return None

    async def take_over(self, held: Reservation, wanted: Reservation) -> bool:
        """Take a key from who held it, unless another one did so first. Raises: UnavailableError."""
        document = _document(wanted)
        del document["_id"]
        async with translated():
            done = await self._keys.update_one(
                {"_id": held.name, "capture": held.capture}, {"$set": document}
            )
        return bool(done.matched_count)

    async def release(self, held: Reservation) -> None:
        """Give a key back. Raises: UnavailableError."""
        async with translated():
            await self._keys.delete_one({"_id": held.name, "capture": held.capture})


def _document(reservation: Reservation) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(reservation)
    document["_id"] = document.pop("name")
    document[EXPIRES] = datetime.fromtimestamp(reservation.expires_ms / 1000, UTC)
    return document
