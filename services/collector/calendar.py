"""When each merchant captured: what makes listing a merchant's jobs, newest first, cost the same however many there are.

Time is cut into slots of 4 s, and 4,096 of them (nearly 5 hours) are a span. A job names its slot, `capture_calendar` the slots of
each span and the spans of each merchant. So a page is found by equality alone, through an index or `_id`: a store that
sorts all that is in a range before it cuts off the page (as SecantusDB does: 0.5 s at 20,000 jobs) is asked for no range.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from services.collector.jobs import Job
from services.runtime.mongo import Database, find_named, translated

CAPTURES: Final = "captures"
CALENDAR: Final = "capture_calendar"
SLOT: Final = "slot"
SLOT_MS: Final = 4096
SPAN_SLOTS: Final = 4096
SPANS_AT_ONCE: Final = 8
SLOTS_AT_ONCE: Final = (1, 4, 16, 64)  # a burst fills one slot, an idle merchant's jobs lie in many
_REMEMBERED: Final = 1024


class Position(msgspec.Struct, frozen=True, order=True):
    """Where a job is in the order of a listing: its time in Unix milliseconds, and its ID."""

    created_ms: int
    id: str


class Calendar:
    """The slots in which merchants captured, and the jobs of each."""

    def __init__(self, database: Database) -> None:
        """Use `captures` and `capture_calendar` in `database`."""
        self._database = database
        self._calendar = database[CALENDAR]
        self._marked: OrderedDict[tuple[int, int], None] = OrderedDict()

    async def mark(self, job: Job) -> str:
        """Note the slot of a job that is about to be written, and name it. Raises: UnavailableError."""
        slot = job.created_ms // SLOT_MS
        if (job.merchant, slot) not in self._marked:
            span = slot // SPAN_SLOTS
            await self._add(f"{job.merchant}", "spans", span)
            await self._add(f"{job.merchant}/{span}", "slots", slot)
            self._marked[job.merchant, slot] = None
            if len(self._marked) > _REMEMBERED:
                self._marked.popitem(last=False)
        return _slot_name(job.merchant, slot)

    async def page(self, merchant: int, before: Position | None, limit: int) -> list[Job]:
        """See JobStore.page."""
        found: list[tuple[Position, Job]] = []
        async for slots in self._slots(merchant, before):
            names = [_slot_name(merchant, slot) for slot in slots]
            documents = await find_named(self._database, CAPTURES, names, by=SLOT)
            jobs = [msgspec.convert({**each, "id": each["_id"]}, Job) for each in documents]
            placed = [(Position(job.created_ms, job.id), job) for job in jobs]
            found += [each for each in placed if before is None or each[0] < before]
            if len(found) >= limit:  # whatever is in other slots is older
                break
        found.sort(key=lambda each: each[0], reverse=True)
        return [job for _, job in found[:limit]]

    async def _slots(self, merchant: int, before: Position | None) -> AsyncIterator[Sequence[int]]:
        """Give the slots in which a merchant captured, newest first: a few at first, then more together."""
        newest = before.created_ms // SLOT_MS if before else None
        sizes = iter(SLOTS_AT_ONCE)
        size = next(sizes)
        spans = await self._listed(
            [f"{merchant}"], "spans", newest // SPAN_SLOTS if newest is not None else None
        )
        for start in range(0, len(spans), SPANS_AT_ONCE):
            names = [f"{merchant}/{span}" for span in spans[start : start + SPANS_AT_ONCE]]
            slots = await self._listed(names, "slots", newest)
            while slots:
                yield slots[:size]
                del slots[:size]
                size = next(sizes, size)

    async def _listed(self, names: Sequence[str], field: str, newest: int | None) -> list[int]:
        documents = await find_named(self._database, CALENDAR, names)
        numbers = {number for each in documents for number in each[field]}
        return sorted((number for number in numbers if newest is None or number <= newest), reverse=True)

    async def _add(self, name: str, field: str, number: int) -> None:
        async with translated():
            await self._calendar.update_one({"_id": name}, {"$addToSet": {field: number}}, upsert=True)


def _slot_name(merchant: int, slot: int) -> str:
    return f"{merchant}/{slot}"
