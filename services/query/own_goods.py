"""A merchant's own goods, listed by key: which there are is told by the goods information, how they stand by the logs, as far as the merchant may see them.

Own are goods whose keys lie under what the merchant is registered for, whoever captured events about them. The look is recorded before anything of it
is given (design.md, invariant 4).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from goodstrace import identifiers
from goodstrace.claims import Claims
from goodstrace.goods.state import ORDER, GoodsState, Told
from goodstrace.identifiers import Grade, canonical_key
from services.query.own_keys import KeyRange, begin_range, key_ranges, within
from services.query.shown import Shown
from services.query.sight import Eyes, Sight, VisibleLogs
from services.query.standing import Standing, Standings
from services.runtime.access.current import principal
from services.runtime.access.naming import recorded_name
from services.runtime.merchants.claims import claims_of
from services.runtime.merchants.directory import Directory
from services.runtime.merchants.errors import ForbiddenError
from services.runtime.mongo import Database, find_named, translated
from services.sealing import disclosure, showing
from services.sealing.browse import Browse
from services.sealing.reader import LogReader

METHOD: Final = "ListGoods"
MOST_PRODUCTS: Final = 500
_PROBES: Final = 64
_AT_ONCE: Final = 8
_COLLECTIONS: Final = ("goods_states", "goods")
_LOT: Final = re.compile(r"[!-~]{1,20}", re.ASCII)


class Keys(Protocol):
    """Which goods there are; `GoodsKeys` is the real one."""

    async def there(self, key_range: KeyRange, limit: int) -> list[str]:
        """List the first keys of a range, in order."""
        ...

    async def known(self, keys: Sequence[str]) -> list[str]:
        """Say which of some keys there are."""
        ...

    async def products(self, merchant: int, limit: int) -> list[str]:
        """List the first keys that a merchant has registered."""
        ...


class OwnRow(msgspec.Struct, frozen=True):
    """How one of the goods stands.

    place: where they are: where what they are in is. inside: the key of what they are in. flags: of the goods and of their lot,
    by name, with the IDs of rules that found something. step and time_us: of the newest event that the merchant may see; 0 where there is none.
    unsure: whether something of it cannot be told.
    """

    key: str
    grade: str
    place: str = ""
    inside: str = ""
    flags: tuple[str, ...] = ()
    step: str = ""
    time_us: int = 0
    unsure: bool = False


class OwnPage(msgspec.Struct, frozen=True):
    """A page of goods by key. after: where the next page begins behind; "" at the end. browse_id: of the look's record, hex."""

    rows: tuple[OwnRow, ...]
    after: str
    browse_id: str


class GoodsKeys:
    """The keys in the goods information, which the collector keeps in MongoDB."""

    def __init__(self, database: Database) -> None:
        """Use the collections in `database`."""
        self._database = database

    async def there(self, key_range: KeyRange, limit: int) -> list[str]:
        """List the first keys of a range, in order. Raises: UnavailableError."""
        first, end = key_range
        query = {"_id": {"$gte": first, "$lt": end}, "grade": {"$ne": ORDER}}
        found = await asyncio.gather(*(self._keys(name, query, limit) for name in _COLLECTIONS))
        return sorted({key for keys in found for key in keys})[:limit]

    async def known(self, keys: Sequence[str]) -> list[str]:
        """Say which of some keys there are, in order. Raises: UnavailableError."""
        found = await asyncio.gather(
            *(find_named(self._database, name, keys, {"_id": 1}) for name in _COLLECTIONS)
        )
        return sorted({row["_id"] for rows in found for row in rows})

    async def products(self, merchant: int, limit: int) -> list[str]:
        """List the first keys that a merchant has registered. Raises: UnavailableError."""
        return await self._keys("goods", {"registered.merchant": merchant}, limit)

    async def _keys(self, name: str, query: Mapping[str, object], limit: int) -> list[str]:
        async with translated():
            rows = self._database[name].find(query, {"_id": 1}).sort("_id", 1).limit(limit)
            return [row["_id"] async for row in rows]


class OwnGoods:
    """Lists the goods of whoever the guard says is calling."""

    def __init__(
        self,
        keys: Keys,
        reader: LogReader,
        shown: Shown,
        *,
        sight: Sight,
        claims: Callable[[int], Awaitable[Claims | None]],
        secret: bytes,
        max_events: int,
    ) -> None:
        """List what is in `keys`, stand as `reader`'s logs say; `claims` says what is a merchant's own, `sight` what it may see.

        At most `max_events` records are looked at to tell how one of them stands.
        """
        self._keys, self._reader, self._shown = keys, reader, shown
        self._sight, self._claims, self._secret, self._max_events = sight, claims, secret, max_events
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def page(self, asked: str, after: str, limit: int, purpose: str) -> OwnPage:
        """List a page.

        Args:
            asked: a key of which those are wanted that lie under it, or a lot number of registered products; all where it is empty.
            after: as the page before said; empty for the first.
            limit: the most rows.
            purpose: for the browse record.
        Raises: ForbiddenError where the caller acts for no merchant; UnavailableError, CorruptError.
        """
        who = principal()
        claims = await self._claims(who.merchant) if who.merchant else None
        if claims is None:
            raise ForbiddenError("this is for who acts for a merchant")
        keys, following = await self._listed(claims, who.merchant, asked, after, limit)
        eyes = await self._sight.eyes(who)
        sizes = showing.sizes_of(await disclosure.vector(self._reader, "goods"))
        found = await asyncio.gather(*(self._standing(key, eyes, sizes) for key in keys))
        places = {place for each in found for place in each.places.values()}
        browse = Browse(
            user=recorded_name(who, ()),
            merchant=who.merchant,
            method=METHOD,
            keys=tuple(keys),
            sizes=sizes,
            purpose=purpose,
            events=len(places),
            query=asked,
        )
        browse_id = await self._shown.record(browse)
        rows = tuple(own_row(key, each) for key, each in zip(keys, found, strict=True))
        return OwnPage(rows, following, browse_id)

    async def _standing(self, key: str, eyes: Eyes, sizes: Mapping[str, int]) -> Standing:
        logs = VisibleLogs(self._reader, eyes, self._secret, self._max_events)
        async with self._turns:
            return await Standings(logs, self._secret, self._max_events).find(key, sizes)

    async def _listed(
        self, claims: Claims, merchant: int, asked: str, after: str, limit: int
    ) -> tuple[list[str], str]:
        """Give the keys of a page, and behind which one the next begins."""
        ranges = key_ranges(claims)
        if asked:
            key = canonical_key(asked)
            if ":" not in key:
                return await self._of_lot(claims, merchant, asked, limit), ""
            ranges = within(ranges, begin_range(key))
        found: list[str] = []
        ranges = [(max(first, after), end) for first, end in ranges if end > after]
        for place in range(0, min(len(ranges), _PROBES), _AT_ONCE):
            some = ranges[place : place + _AT_ONCE]
            for keys in await asyncio.gather(*(self._keys.there(each, limit + 2) for each in some)):
                found += [key for key in keys if key > after and claims.cover(key)]
                if len(found) > limit:
                    return found[:limit], found[limit - 1]
                if len(keys) == limit + 2:  # there is more in this range
                    return found, keys[-1]
        return found, ranges[_PROBES][0] if len(ranges) > _PROBES else ""

    async def _of_lot(self, claims: Claims, merchant: int, asked: str, limit: int) -> list[str]:
        """Find the lot of that number of each registered product."""
        if not _LOT.fullmatch(asked):
            return []
        products = await self._keys.products(merchant, MOST_PRODUCTS)
        classes = [each for each in products if identifiers.grade(each) is Grade.CLASS and claims.cover(each)]
        lots = [canonical_key(f"{each}/10/{_escaped(asked)}") for each in classes]
        return (await self._keys.known(lots))[:limit] if lots else []


def claims_by(directory: Directory) -> Callable[[int], Awaitable[Claims | None]]:
    """Say what is a merchant's own by what it is registered for; what others lend it is not."""

    async def claims(number: int) -> Claims | None:
        merchant = await directory.merchant(number)
        return claims_of(merchant) if merchant else None

    return claims


def own_row(key: str, found: Standing) -> OwnRow:
    """Say how goods stand, by what was found of them, their lot and what they are in. Pure."""
    states = {each: found.state(each) for each in found.kept}
    own = states[key]
    lot = own.told.get("lot")
    about = [own, *([states[lot.value]] if lot and lot.value in states else [])]
    beside = {key, *(each.value for each in own.orders), *([lot.value] if lot else [])}
    around = [each for each in states if each not in beside]
    told = [*own.told.values(), *own.inside]
    newest = max((each.newest.time_us for each in told), default=0)
    inside = own.inside[0].value if own.inside else ""
    return OwnRow(
        key=key,
        grade=own.grade,
        place=_place([own, *(states[each] for each in around)]),
        inside=inside,
        flags=tuple(sorted({name for state in about for name in (*state.flags, *state.verdicts)})),
        step=_value(own.told.get("step")),
        time_us=newest,
        unsure=bool(own.unsure) or found.truncated,
    )


def _place(states: Sequence[GoodsState]) -> str:
    """Where the outermost is that has a place."""
    return next((each.told["place"].value for each in reversed(states) if "place" in each.told), "")


def _value(told: Told | None) -> str:
    return told.value if told else ""


def _escaped(text: str) -> str:
    return "".join(each if each.isalnum() else f"%{ord(each):02X}" for each in text)
