"""How goods stand by the logs: what is kept of each key, folded from its records newest first, in bounded memory."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from goodstrace import entry as entries
from goodstrace import facts as sealed_facts
from goodstrace import registration as registrations
from goodstrace.entry import Kind, TagKind, tag
from goodstrace.goods.corrections import NOBODY, Given, Givers, asked, deciding
from goodstrace.goods.registered import PART
from goodstrace.goods.sightings import Kept, Placed, joined, sightings
from goodstrace.goods.standing import next_key, places_in, registered_under, traded_in
from goodstrace.goods.state import GoodsState, state_of
from goodstrace.registration import merchant_key
from services.sealing.showing import Position, position, record_bytes
from services.sealing.values import SealedRecord

BATCH: Final = 256  # records read at a time
REGISTRATIONS: Final = 10  # the newest by the time they were sealed: the newest registered is among them
_FACTS: Final = "facts"
_EVENT: Final = "event"


class NewestFirst(Protocol):
    """Where records are found; `services.sealing.reader.LogReader` is the real one, and says what the method does."""

    async def find_newest(
        self, tag: bytes, sizes: Mapping[str, int], limit: int, before: Position | None = None
    ) -> list[SealedRecord]:
        """Find records by one tag, newest first."""
        ...


class Standing(msgspec.Struct, frozen=True):
    """How goods stand, and by which events.

    kept: by key, that asked for first. identities: of the events, hex, by their first 12 bytes. places: of the events by
    identity, sorted. costs: what each takes in an answer, in bytes. givers: registrations that say for which merchants' events corrections
    by others count; deciding: the records of those that do so here. truncated: a key has more records than were looked at.
    """

    kept: dict[str, Kept]
    identities: dict[bytes, str]
    places: dict[str, Position]
    costs: dict[Position, int]
    givers: Givers
    deciding: tuple[SealedRecord, ...]
    registration: SealedRecord | None
    truncated: bool

    def state(self, key: str) -> GoodsState:
        """Give the state of a key that was found."""
        return state_of(key, self.kept[key], self.givers)


class Standings:
    """Finds how goods stand."""

    def __init__(self, reader: NewestFirst, secret: bytes, max_events: int) -> None:
        """Look up in `reader`'s logs; at most `max_events` records in all are looked at for one answer."""
        self._reader, self._secret, self._max_events = reader, secret, max_events

    async def find(self, key: str, sizes: Mapping[str, int]) -> Standing:
        """Find how goods stand, and what they are in. Raises: UnavailableError, CorruptError, EntryError."""
        gathering = _Gathering(sizes)
        states: dict[str, GoodsState] = {}
        while (each := next_key(key, states)) is not None:
            gathering.kept[each] = await self._decided(each, gathering)
            states[each] = state_of(each, gathering.kept[each], gathering.givers)
        for each in traded_in(key, states):
            kept = await self._decided(each, gathering)
            if kept.sightings:
                gathering.kept[each] = kept
        keys = registered_under(key, states[key])
        registration = await newest_registration(self._reader, self._secret, keys, sizes)
        return gathering.standing(registration)

    async def _decided(self, key: str, gathering: "_Gathering") -> Kept:
        """Give what is kept of a key, and find the registrations that say what of it stands."""
        kept = await self._kept(key, gathering)
        for merchant in sorted(asked(kept).keys() - gathering.asked_of):
            gathering.take(merchant, await self._registered(merchant, gathering.sizes))
        return kept

    async def _registered(self, merchant: int, sizes: Mapping[str, int]) -> list[SealedRecord]:
        """Find the registrations of a merchant."""
        wanted = tag(self._secret, TagKind.REGISTRATION, merchant_key(merchant))
        found: list[SealedRecord] = []
        while len(found) < self._max_events:
            before = position(found[-1]) if found else None
            records = await self._reader.find_newest(wanted, sizes, BATCH, before)
            found += records
            if len(records) < BATCH:
                break
        return found

    async def _kept(self, key: str, gathering: "_Gathering") -> Kept:
        wanted = tag(self._secret, TagKind.KEY, key)
        kept, before = Kept(()), None
        while True:
            limit = max(1, min(BATCH, self._max_events - gathering.looked_at))
            records = await self._reader.find_newest(wanted, gathering.sizes, limit, before)
            if records and gathering.looked_at >= self._max_events:
                gathering.truncated = True
                return Kept(
                    kept.sightings, tuple(sorted({name for each in kept.sightings for name, _ in each.says}))
                )
            said = await asyncio.to_thread(gathering.fold, key, records)
            kept = joined(kept, said)
            if len(records) < limit:
                return kept
            before = position(records[-1])


async def newest_registration(
    reader: NewestFirst, secret: bytes, keys: Sequence[str], sizes: Mapping[str, int]
) -> SealedRecord | None:
    """Find the newest registration of the nearest key that has one. Raises: UnavailableError, CorruptError, EntryError."""
    for key in keys:
        found = await reader.find_newest(tag(secret, TagKind.REGISTRATION, key), sizes, REGISTRATIONS)
        whole = [each for each in found if content_of(each, PART)]
        if whole:
            return max(whole, key=_registered)
    return None


class _Gathering:
    """What was found so far of all keys of one answer."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.kept: dict[str, Kept] = {}
        self.asked_of: set[int] = set()
        self.givers = NOBODY
        self.looked_at = 0
        self.truncated = False
        self._given: dict[str, SealedRecord] = {}
        self._identities: dict[bytes, str] = {}
        self._costs: dict[Position, int] = {}

    def take(self, merchant: int, registered: Iterable[SealedRecord]) -> None:
        """Take in the registrations of a merchant; one that is erased says nothing."""
        self.asked_of.add(merchant)
        self._given |= {entries.decode(each.entry).id: each for each in registered if content_of(each, PART)}
        self.givers = Givers(map(_given, self._given.values()))

    def fold(self, key: str, records: Sequence[SealedRecord]) -> Kept:
        """Give what records say of a key."""
        self.looked_at += len(records)
        placed = [each for record in records if (each := self._placed(record)) is not None]
        return sightings(placed, {key}).get(key, Kept(()))

    def standing(self, registration: SealedRecord | None) -> Standing:
        """Give all that was found, without what is not needed any more."""
        places = places_in(self.kept)
        return Standing(
            kept=self.kept,
            identities={each: self._identities[each] for each in places},
            places=dict(sorted((self._identities[each], place) for each, place in places.items())),
            costs={place: self._costs[place] for place in places.values()},
            givers=self.givers,
            deciding=tuple(self._given[each.record] for each in deciding(self.kept.values(), self.givers)),
            registration=registration,
            truncated=self.truncated,
        )

    def _placed(self, record: SealedRecord) -> Placed | None:
        """Take a record apart; None where it is no event, or its facts are not there any more."""
        entry, facts = entries.decode(record.entry), content_of(record, _FACTS)
        if entry.kind is not Kind.EVENT or not facts:
            return None
        known = sealed_facts.decode(facts)
        identity = sealed_facts.identity(entry.merchant, known)
        self._identities[bytes.fromhex(identity)[:12]] = identity
        self._costs[position(record)] = record_bytes(record, self.sizes[record.log])
        return Placed(
            log=record.log,
            index=record.index,
            merchant=entry.merchant,
            record_ms=entry.time,
            record_id=entry.id,
            facts=known,
            content=content_of(record, _EVENT),
        )


def content_of(record: SealedRecord, name: str) -> bytes:
    """Give a part of a record, empty where it is not there."""
    return next((part.content for part in record.parts if part.name == name), b"")


def _given(record: SealedRecord) -> Given:
    entry = entries.decode(record.entry)
    return Given(entry.time, entry.id, registrations.decode(content_of(record, PART)))


def _registered(record: SealedRecord) -> tuple[int, str]:
    entry = entries.decode(record.entry)
    return entry.time, entry.id
