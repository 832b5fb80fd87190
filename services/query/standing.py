"""How goods stand by the logs: what is kept of each key, folded from its records newest first, in bounded memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from goodstrace import entry as entries
from goodstrace import facts as sealed_facts
from goodstrace import registration as registrations
from goodstrace.entry import Kind, Position, TagKind, tag
from goodstrace.goods.corrections import NOBODY, Given, Givers, asked, deciding
from goodstrace.goods.registered import PART
from goodstrace.goods.sightings import Kept, Placed, joined, sightings
from goodstrace.goods.standing import next_key, places_in, registered_under, traded_in
from goodstrace.goods.state import GoodsState, state_of
from goodstrace.registration import lending, merchant_key
from services.query.whole_logs import UntoldRecord
from services.runtime.envelope import content_of
from services.sealing.showing import position, record_bytes
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
    identity, sorted. givers: registrations that say for which merchants' events corrections by others count, without what does not;
    deciding: the places of those that do so here. costs: what each event, and each of these, takes in an answer, in bytes. truncated: a key
    has more records, or a merchant more registrations, than were looked at.
    """

    kept: dict[str, Kept]
    identities: dict[bytes, str]
    places: dict[str, Position]
    costs: dict[Position, int]
    givers: Givers
    deciding: tuple[Position, ...]
    registration: SealedRecord | None
    truncated: bool

    def state(self, key: str) -> GoodsState:
        """Give the state of a key that was found."""
        return state_of(key, self.kept[key], self.givers)


class Standings:
    """Finds how goods stand."""

    def __init__(self, reader: NewestFirst, secret: bytes, max_events: int) -> None:
        """Look up in `reader`'s logs; for one answer at most `max_events` records of goods, and as many registrations of merchants."""
        self._reader, self._secret, self._max_events = reader, secret, max_events

    async def find(self, key: str, sizes: Mapping[str, int]) -> Standing:
        """Find how goods stand, and what they are in. Raises: UnavailableError, CorruptError, EntryError."""
        gathering = _Gathering(sizes, self._max_events)
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
            wanted = tag(self._secret, TagKind.REGISTRATION, merchant_key(merchant))
            async for records in self._newest_first(wanted, gathering.sizes, gathering.registrations):
                await asyncio.to_thread(gathering.take, records)
            gathering.has_asked(merchant)
        return kept

    async def _kept(self, key: str, gathering: "_Gathering") -> Kept:
        kept = Kept(())
        wanted = tag(self._secret, TagKind.KEY, key)
        async for records in self._newest_first(wanted, gathering.sizes, gathering.records):
            kept = joined(kept, await asyncio.to_thread(gathering.fold, key, records))
        if gathering.records.is_cut:
            return Kept(
                kept.sightings, tuple(sorted({name for each in kept.sightings for name, _ in each.says}))
            )
        return kept

    async def _newest_first(
        self, wanted: bytes, sizes: Mapping[str, int], looked: "_Looked"
    ) -> AsyncIterator[list[SealedRecord]]:
        """Yield the records of a tag, BATCH at a time, as long as more may be looked at.

        Those of which nothing may be told do not count: by where it ends one could tell how many there are.
        """
        before = None
        while True:
            found = await self._reader.find_newest(wanted, sizes, BATCH, before)
            records = [each for each in found if not isinstance(each, UntoldRecord)]
            taken = records[: looked.left]
            looked.left -= len(taken)
            yield taken
            if len(taken) < len(records):
                looked.is_cut = True
                return
            if len(found) < BATCH:
                return
            before = position(found[-1])


async def newest_registration(
    reader: NewestFirst, secret: bytes, keys: Sequence[str], sizes: Mapping[str, int]
) -> SealedRecord | None:
    """Find the newest registration of the nearest key that has one. Raises: UnavailableError, CorruptError, EntryError."""
    for key in keys:
        found = await reader.find_newest(tag(secret, TagKind.REGISTRATION, key), sizes, REGISTRATIONS)
        whole = [each for each in found if content_of(each.parts, PART)]
        if whole:
            return max(whole, key=_registered)
    return None


class _Looked(msgspec.Struct):
    """How many records more may be looked at for one answer; is_cut: there are more."""

    left: int
    is_cut: bool = False


class _Gathering:
    """What was found so far of all keys of one answer."""

    def __init__(self, sizes: Mapping[str, int], most: int) -> None:
        self.sizes = sizes
        self.records, self.registrations = _Looked(most), _Looked(most)
        self.kept: dict[str, Kept] = {}
        self.asked_of: set[int] = set()
        self.givers = NOBODY
        self._given: dict[str, Given] = {}
        self._given_at: dict[str, Position] = {}
        self._identities: dict[bytes, str] = {}
        self._costs: dict[Position, int] = {}

    def take(self, registered: Sequence[SealedRecord]) -> None:
        """Take in registrations of a merchant; one that is erased says nothing."""
        for record in registered:
            if content_of(record.parts, PART):
                given = _given(record)
                self._given[given.record], self._given_at[given.record] = given, position(record)
                self._note_cost(record)

    def has_asked(self, merchant: int) -> None:
        """Note that what can be known of a merchant's registrations is taken in."""
        self.asked_of.add(merchant)
        self.givers = Givers(self._given.values())

    def fold(self, key: str, records: Sequence[SealedRecord]) -> Kept:
        """Give what records say of a key."""
        placed = [each for record in records if (each := self._placed(record)) is not None]
        return sightings(placed, {key}).get(key, Kept(()))

    def standing(self, registration: SealedRecord | None) -> Standing:
        """Give all that was found, without what is not needed any more."""
        places = places_in(self.kept)
        decided = tuple(self._given_at[each.record] for each in deciding(self.kept.values(), self.givers))
        return Standing(
            kept=self.kept,
            identities={each: self._identities[each] for each in places},
            places=dict(sorted((self._identities[each], place) for each, place in places.items())),
            costs={place: self._costs[place] for place in (*places.values(), *decided)},
            givers=self.givers,
            deciding=decided,
            registration=registration,
            truncated=self.records.is_cut or self.registrations.is_cut,
        )

    def _note_cost(self, record: SealedRecord) -> None:
        self._costs[position(record)] = record_bytes(record, self.sizes[record.log])

    def _placed(self, record: SealedRecord) -> Placed | None:
        """Take a record apart; None where it is no event, or its facts are not there any more."""
        entry, facts = entries.decode(record.entry), content_of(record.parts, _FACTS)
        if entry.kind is not Kind.EVENT or not facts:
            return None
        known = sealed_facts.decode(facts)
        identity = sealed_facts.identity(entry.merchant, known)
        self._identities[bytes.fromhex(identity)[:12]] = identity
        self._note_cost(record)
        return Placed(
            log=record.log,
            index=record.index,
            merchant=entry.merchant,
            record_ms=entry.time,
            record_id=entry.id,
            facts=known,
            content=content_of(record.parts, _EVENT) or b"",
        )


def _given(record: SealedRecord) -> Given:
    entry = entries.decode(record.entry)
    return Given(entry.time, entry.id, lending(registrations.decode(content_of(record.parts, PART) or b"")))


def _registered(record: SealedRecord) -> tuple[int, str]:
    entry = entries.decode(record.entry)
    return entry.time, entry.id
