"""What is registered of goods, places and merchants, read from sealed records: public without a record of the look (design.md, invariant 4)."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from goodstrace import registration
from goodstrace.errors import EntryError
from goodstrace.identifiers import class_of
from goodstrace.registration import Registration, merchant_key
from services.query.standing import NewestFirst, newest_registration
from services.runtime.envelope import content_of
from services.sealing.values import SealedRecord

MOST_LOOKED_UP: Final = 120
_AT_ONCE: Final = 16


class Point(msgspec.Struct, frozen=True):
    """A point on Earth in degrees, WGS 84."""

    latitude: float
    longitude: float


class Thing(msgspec.Struct, frozen=True):
    """What is registered of goods, a place, or a merchant (whose one name stands under "").

    names: by language. merchant: the number of who registered it. attributes: of goods. point, country, city: of a place.
    """

    what: str
    key: str
    merchant: int
    names: Mapping[str, str]
    attributes: Mapping[str, str]
    point: Point | None
    country: str
    city: str
    record: SealedRecord


class _Content(msgspec.Struct, frozen=True):
    """The members that are shown, of goods, places and merchants; others are passed over."""

    name: str = ""
    names: dict[str, str] = {}
    attributes: dict[str, str] = {}
    coordinates: Point | None = None
    country: str = ""
    city: str = ""


class Register:
    """Finds the newest registrations."""

    def __init__(self, reader: NewestFirst, secret: bytes) -> None:
        """Look in `reader`'s logs, whose tags are made with `secret`."""
        self._reader, self._secret = reader, secret
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def thing(self, keys: Iterable[str], sizes: Mapping[str, int]) -> Thing | None:
        """Find the registration of the nearest key that has one. Raises: UnavailableError, CorruptError."""
        async with self._turns:
            record = await newest_registration(self._reader, self._secret, list(keys), sizes)
        return None if record is None else _thing(record)

    async def things(self, keys: Iterable[str], sizes: Mapping[str, int]) -> dict[str, Thing]:
        """Find the registrations of keys, each by itself; only the first 120 are looked for."""
        wanted = list(dict.fromkeys(keys))[:MOST_LOOKED_UP]
        found = await asyncio.gather(*(self.thing((key,), sizes) for key in wanted))
        return {key: thing for key, thing in zip(wanted, found, strict=True) if thing is not None}

    async def nearest(self, keys: Iterable[str], sizes: Mapping[str, int]) -> dict[str, Thing]:
        """Find for each key its registration, or that of its product; only the first 60 keys are looked for."""
        wanted = list(dict.fromkeys(keys))[: MOST_LOOKED_UP // 2]
        above = {key: class_of(key) or key for key in wanted}
        found = await self.things((*wanted, *above.values()), sizes)
        return {
            key: thing for key in wanted if (thing := found.get(key) or found.get(above[key])) is not None
        }

    async def merchants(self, numbers: Iterable[int], sizes: Mapping[str, int]) -> dict[int, str]:
        """Find the names of merchants; those that are not registered are left out."""
        wanted = sorted(set(numbers))[:MOST_LOOKED_UP]
        found = await self.things(map(merchant_key, wanted), sizes)
        return {
            number: found[key].names.get("", "")
            for number in wanted
            if (key := merchant_key(number)) in found
        }


def _thing(record: SealedRecord) -> Thing | None:
    try:
        found: Registration = registration.decode(content_of(record.parts, registration.PART) or b"")
        content = msgspec.convert(found.content, _Content)
    except (EntryError, msgspec.ValidationError):
        return None  # nothing here depends on what cannot be read: its key is shown in the place of a name
    names = {"": content.name} if found.what == registration.MERCHANT else content.names
    return Thing(
        what=found.what,
        key=found.key,
        merchant=found.merchant,
        names=names,
        attributes=content.attributes,
        point=content.coordinates,
        country=content.country,
        city=content.city,
        record=record,
    )
