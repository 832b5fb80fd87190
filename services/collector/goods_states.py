"""What records of `goods.stored` say of goods, as the pure derivation of `goodstrace.goods` takes it. Pure."""

from collections.abc import Iterable, Iterator

import msgspec

from goodstrace import facts as facts_format
from goodstrace import registration
from goodstrace.entry import Kind
from goodstrace.goods import sightings as goods
from goodstrace.goods.corrections import Given
from goodstrace.goods.sightings import Kept
from services.collector.flow import EVENT_PART, FACTS_PART, REGISTRATION_PART
from services.runtime.envelope import Committed


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A record of `goods.stored` and where it lies: the log of its partition, its offset."""

    log: str
    offset: int
    record: Committed


def placed(stored: Stored) -> goods.Placed:
    """Give an event as the derivation takes it. Raises: EntryError where it has no facts of an event."""
    record = stored.record
    return goods.Placed(
        log=stored.log,
        index=stored.offset,
        merchant=record.merchant,
        record_ms=record.time_ms,
        record_id=record.id.hex(),
        facts=facts_format.decode(record.part(FACTS_PART).content),
        content=record.part(EVENT_PART).content,
    )


def events(stored: Iterable[Stored]) -> Iterator[goods.Placed]:
    """Give the events among records. Raises: EntryError."""
    return (placed(each) for each in stored if each.record.kind is Kind.EVENT)


def sightings(stored: Iterable[Stored]) -> dict[str, Kept]:
    """Gather what records say of goods, by key; those that are no events say nothing. Raises: EntryError."""
    return goods.sightings(events(stored))


def registered(stored: Iterable[Stored]) -> Iterator[tuple[Stored, Given]]:
    """Give the registrations of merchants among records: they say whose corrections count. Raises: EntryError."""
    for each in stored:
        if each.record.kind is Kind.REGISTRATION:
            read = registration.decode(each.record.part(REGISTRATION_PART).content)
            if read.what == registration.MERCHANT:
                yield each, Given(each.record.time_ms, each.record.id.hex(), read)
