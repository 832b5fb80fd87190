"""The last step of `collect`, whatever way a capture came: what is registered of the goods that sensors report of goes into the facts."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from services.collector.collect import Sent
from services.collector.flow import Item, to_wire
from services.collector.preparing import Prepared
from services.collector.producer import Placed
from services.collector.registry.ranges import Known, first_of, narrowest


class Ranges(Protocol):
    """Tells what is registered; `services.collector.registry.known_ranges.KnownRanges` is the real one."""

    async def of(self, keys: Iterable[str]) -> Known:
        """Give what is registered of goods; a key of which it could not be read is left out. Raises nothing."""
        ...


async def with_ranges(ranges: Ranges, prepared: Sequence[Prepared]) -> list[Prepared]:
    """Look up once what all these captures ask for, and write it into their records; those that ask for nothing cost nothing.

    Of all of them together MOST_TOGETHER keys are asked for, so that the time that it takes has a bound, whatever is captured.
    """
    asked = [sent.goods for each in prepared for sent in each.sent if sent.goods.keys]
    if not asked:
        return list(prepared)
    known = await ranges.of(await asyncio.to_thread(first_of, asked))
    return await asyncio.to_thread(lambda: [with_known(each, known) for each in prepared])


def with_known(prepared: Prepared, known: Known) -> Prepared:
    """Write what is known of the goods into the records of a capture. Pure.

    It goes into what Kafka gets and into `sent`; `lines` have what their sender is told, which this is no part of.
    """
    pairs = [_ranged(*each, known) for each in zip(prepared.sent, prepared.placed, strict=True)]
    return msgspec.structs.replace(
        prepared, sent=[sent for sent, _ in pairs], placed=[placed for _, placed in pairs]
    )


def _ranged(sent: Sent, placed: Placed, known: Known) -> tuple[Sent, Placed]:
    item = sent.outcome
    found = narrowest(sent.goods, known) if isinstance(item, Item) else None
    if found is None or not isinstance(item, Item):
        return sent, placed
    whole = item.with_facts(registered_range=found)
    return (
        msgspec.structs.replace(sent, outcome=whole),
        msgspec.structs.replace(placed, value=to_wire(whole)),
    )
