"""Events of a merchant's own in which something was noticed, newest first. The look is recorded before anything of it is given."""

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from goodstrace.read_runs import Said, runs
from services.query.shown import Shown
from services.runtime.access.current import principal
from services.runtime.access.naming import recorded_name
from services.runtime.call_errors import InvalidRequestError
from services.runtime.merchants.errors import ForbiddenError
from services.runtime.merchants.flagged import FLAGGED, FlaggedEvent, flagged_of
from services.runtime.mongo import Database, translated
from services.sealing.browse import Browse

METHOD: Final = "ListFlagged"
MAX_NAME_CHARS: Final = 200
KEYS_SHOWN: Final = 5
_PLACE: Final = re.compile(r"([0-9]{1,16})-([0-9a-f]{32})", re.ASCII)
Place = tuple[int, str]
"""Record time in milliseconds and record ID of an event, by which they are ordered."""


class Flagged(Protocol):
    """Where such events are found; `FlaggedEvents` is the real one."""

    async def page(self, merchant: int, name: str, before: Place | None, limit: int) -> list[FlaggedEvent]:
        """List a merchant's, newest first."""
        ...


class FlaggedEvents:
    """What the collector keeps of them in MongoDB."""

    def __init__(self, database: Database) -> None:
        """Use the collection in `database`."""
        self._events = database[FLAGGED]

    async def page(self, merchant: int, name: str, before: Place | None, limit: int) -> list[FlaggedEvent]:
        """List a merchant's, newest first, those older than `before`; only those with the flag or rule `name` where it is given.

        Raises: UnavailableError.
        """
        query: dict[str, Any] = {"merchant": merchant}
        if name:
            query["names"] = name
        if before:
            time_ms, identifier = before
            query["$or"] = [
                {"record_ms": {"$lt": time_ms}},
                {"record_ms": time_ms, "_id": {"$lt": identifier}},
            ]
        async with translated():
            rows = self._events.find(query).sort([("record_ms", -1), ("_id", -1)]).limit(limit)
            return [flagged_of(row) async for row in rows]


class FlaggedPage(msgspec.Struct, frozen=True):
    """A page of events, newest first. before: of the next page; "" at the end.

    rows: reads that repeat each other, and in which the same was noticed, are one; any other event is one of its own. Of each event the first
    KEYS_SHOWN keys.
    """

    rows: Sequence[Sequence[FlaggedEvent]]
    before: str
    browse_id: str

    @property
    def events(self) -> list[FlaggedEvent]:
        """The events of all rows."""
        return [each for row in self.rows for each in row]


def _said(event: FlaggedEvent) -> Said:
    """Tell what counts for putting reads together; what names more goods than are kept is no read here: the others may be different ones."""
    found = [(each.name, each.severity) for each in event.findings]
    shown = event.merchant, event.step, event.place, event.keys, found
    is_read = event.read > 0 and event.goods == len(event.keys)
    return Said(event.time_us, is_read, event.read > 1, shown)


def _cut(event: FlaggedEvent) -> FlaggedEvent:
    return msgspec.structs.replace(event, keys=event.keys[:KEYS_SHOWN])


class FlaggedLooks:
    """Shows them to whoever the guard says is calling."""

    def __init__(self, flagged: Flagged, shown: Shown) -> None:
        """Show what is in `flagged`, recorded by `shown`."""
        self._flagged, self._shown = flagged, shown

    async def page(self, name: str, before: str, limit: int, purpose: str) -> FlaggedPage:
        """Show a page. Raises: ForbiddenError where the caller acts for no merchant; InvalidRequestError, UnavailableError."""
        who = principal()
        if not who.merchant:
            raise ForbiddenError("this is for who acts for a merchant")
        if len(name) > MAX_NAME_CHARS:
            raise InvalidRequestError(f"at most {MAX_NAME_CHARS} characters", "rule")
        found = await self._flagged.page(who.merchant, name, place_of(before), limit + 1)
        rows = [[_cut(each) for each in row] for row in runs(found[:limit], _said)]
        shown = [each for row in rows for each in row]
        browse = Browse(
            user=recorded_name(who, ()),
            merchant=who.merchant,
            method=METHOD,
            keys=tuple(sorted({key for each in shown for key in each.keys})),
            sizes={},
            purpose=purpose,
            events=len(shown),
            query=name,
        )
        browse_id = await self._shown.record(browse)
        following = f"{shown[-1].record_ms}-{shown[-1].id}" if len(found) > limit else ""
        return FlaggedPage(rows, following, browse_id)


def place_of(text: str) -> Place | None:
    """Read where a page begins. Raises: InvalidRequestError."""
    if not text:
        return None
    match = _PLACE.fullmatch(text)
    if match is None:
        raise InvalidRequestError("it is none of ours", "before")
    return int(match[1]), match[2]
