"""Answering EPCIS queries: a page is found, its look recorded, and only then shown (design.md, invariant 4)."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from goodstrace.facts import Facts
from services.query import epcis_matching, epcis_values, epcis_walk
from services.query.epcis_document import Page, SealedAt, collection, event_json
from services.query.epcis_parameters import NEXT_PAGE_TOKEN, Asked, EventsQuery
from services.query.epcis_problems import ParameterError, TooLargeError
from services.query.epcis_values import ValuePage
from services.query.epcis_walk import Found, Place, Step
from services.query.metrics import QueryMetrics
from services.query.shown import Shown
from services.query.sight import Sight, VisibleLogs
from services.runtime.access.current import principal
from services.runtime.call_errors import InvalidRequestError, NotFoundError
from services.runtime.page_tokens import NOT_OURS, PageTokens, TokenKey, fixed_key
from services.sealing import disclosure, showing
from services.sealing.browse import Browse, BrowseRecorder
from services.sealing.reader import LogReader

EVENTS: Final = "QueryEvents"
VALUES: Final = "ListValues"
LOOKED_AT: Final = 2_000  # records, for one page
UNTOLD_S: Final = 5.0
"""For so long one page looks at records of which nothing may be told. By a count it would tell that there are that many; by
the time it tells no more than how long the answer took."""
_KIND: Final = "goods"
_NO_SECRET: Final = fixed_key(
    bytes(32)
)  # of pages of lists that stand in the standard: they tell nothing, and want no vault


class Look(msgspec.Struct, frozen=True):
    """Who asks, why, and how: `query` is the request's path and query string, without the token."""

    user: str
    purpose: str
    query: str


class Answer(msgspec.Struct, frozen=True):
    """One page: `browse_id` is empty where nothing of any record is shown, `token` where it is the last one.

    shown: how many records it shows something of. hidden: how many events were passed over for it, of which content or facts are
    withheld or erased.
    """

    body: bytes
    shown: int = 0
    token: str = ""
    browse_id: str = ""
    hidden: int = 0


class EpcisQueries:
    """Answers queries for events and for values; errors leave as exceptions, for the edge's table."""

    def __init__(
        self,
        reader: LogReader,
        recorder: BrowseRecorder,
        *,
        sight: Sight,
        secret: bytes,
        page_key: TokenKey,
        max_events: int,
        page_bytes: int,
        max_walks: int,
        metrics: QueryMetrics,
        log: structlog.stdlib.BoundLogger,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer from `reader`'s logs.

        Args:
            reader: finds records.
            recorder: records looks.
            sight: says who may see what.
            secret: the index secret, 32 bytes.
            page_key: of page tokens.
            max_events: how many events an answer in order is made of at the most.
            page_bytes: how many bytes of events a page has at the most; one event is on it in any case.
            max_walks: how many requests are answered at a time; the others wait.
            metrics: counts what is shown.
            log: told of each look.
            clock_s: seconds that pass.
        """
        self._reader, self._shown = reader, Shown(recorder, metrics, log)
        self._sight = sight
        self._secret = secret
        self._max_events, self._page_bytes = max_events, page_bytes
        self._turns = asyncio.Semaphore(max_walks)
        self._tokens = PageTokens(page_key, Place)
        self._words = PageTokens(_NO_SECRET, Place)
        self._metrics, self._clock_s = metrics, clock_s

    async def events(self, asked: Asked, look: Look) -> Answer:
        """Give a page of the events that a query means.

        Raises: QueryProblemError, InvalidRequestError, and what reading and recording raise.
        """
        bound = asked.query.encode()
        logs = await self._logs()
        async with self._turns:
            place = await self._place(bound, asked.token)
            page = Page(asked.per_page, self._page_bytes)
            hashes: list[str] = []
            try:
                rest, hidden = await self._fill(logs, page, asked, place, hashes)
            except TooLargeError:  # how many there are is told of what is sealed, too
                named = epcis_matching.names(asked.query)
                await self._record(EVENTS, look, logs, place.sizes, keys=named, shown=0)
                raise
            created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            body, shown = page.document(created), len(page.events)
            keys = epcis_matching.names(asked.query) or tuple(sorted(set(hashes)))
            token = await self._sealed(
                bound, rest
            )  # may fail, and what was not shown is not recorded as shown
            browse_id = await self._record(EVENTS, look, logs, place.sizes, keys=keys, shown=shown)
            return Answer(body, shown, token, browse_id, hidden)

    async def event(self, asked: Asked, look: Look) -> Answer:
        """Give the events of an event ID. Raises: NotFoundError, once the look is recorded, where there is none."""
        answer = await self.events(asked, look)
        if not answer.shown and not answer.hidden and not answer.token and not asked.token:
            raise NotFoundError("there is no event of this ID, or it is not sealed yet")
        return answer

    async def values(self, name: str, per_page: int, token: str, look: Look) -> Answer:
        """Give a page of what the newest events name: "epcs", "bizLocations" or "readPoints"."""
        bound = msgspec.json.encode((VALUES, name))
        logs = await self._logs()
        async with self._turns:
            start = await self._place(bound, token)
            page = ValuePage(per_page)
            rest = await self._collect(logs, page, epcis_values.NAMED[name], start)
            body = msgspec.json.encode(collection(page.values))
            keys = tuple(page.values)
            after = await self._sealed(bound, rest)
            browse_id = await self._record(VALUES, look, logs, start.sizes, keys=keys, shown=page.events)
            return Answer(body, page.events, after, browse_id)

    async def vocabulary(self, name: str, per_page: int, token: str) -> Answer:
        """Give a page of a standard vocabulary: it shows nothing of any record, and so no look is recorded."""
        bound = msgspec.json.encode((VALUES, name))
        words = epcis_values.VOCABULARIES[name]
        start = (await _opened(self._words, bound, token)).offset if token else 0
        end = start + per_page
        body = msgspec.json.encode(collection(words[start:end]))
        rest = Place({}, offset=end) if end < len(words) else None
        return Answer(body, 0, await self._words.seal(bound, rest) if rest else "")

    async def _logs(self) -> VisibleLogs:
        """Give the logs as the caller may see them. Raises: UnauthenticatedError, ForbiddenError, UnavailableError."""
        return await self._sight.logs(self._reader, principal(), self._secret, self._max_events)

    async def _fill(
        self, logs: VisibleLogs, page: Page, asked: Asked, place: Place, hashes: list[str]
    ) -> tuple[Place | None, int]:
        """Put events on a page until one does not fit or enough was looked at.

        Gives where to go on, None at the end, and how many events were passed over since they are hidden.
        """
        last, looked_at, hidden, until_s = place, 0, 0, self._clock_s() + UNTOLD_S
        async with aclosing(self._steps(logs, asked.query, place)) as steps:
            async for step in steps:
                if looked_at >= LOOKED_AT and not step.is_untold:
                    return last, hidden
                if step.is_untold and self._clock_s() > until_s:
                    return step.after, hidden
                looked_at += not step.is_untold
                found = step.found
                if found is not None and epcis_matching.matches(asked.query, found.facts, found.record_ms):
                    if not _put(page, found, place.sizes[found.log]):
                        return last, hidden
                    hashes.append(found.facts.event_hash)
                hidden += step.hidden
                last = step.after
        return None, hidden

    async def _collect(
        self, logs: VisibleLogs, page: ValuePage, named: Callable[[Facts], list[str]], start: Place
    ) -> Place | None:
        """Put what events name on a page until it is full or enough was looked at; give where to go on, None at the end."""
        last, skip, looked_at = msgspec.structs.replace(start, offset=0), start.offset, 0
        async with aclosing(epcis_walk.without_index(logs, last)) as steps:
            async for step in steps:
                if looked_at >= LOOKED_AT:
                    return last
                looked_at += 1
                values = named(step.found.facts)[skip:] if step.found else []
                taken = page.take(values)
                if taken < len(values):
                    return msgspec.structs.replace(last, offset=skip + taken)
                last, skip = step.after, 0
        return None

    def _steps(self, logs: VisibleLogs, query: EventsQuery, place: Place) -> AsyncGenerator[Step, None]:
        tags = epcis_matching.tags(query, self._secret)
        if query.order or query.most_events:
            return epcis_walk.in_order(logs, tags, query, place, self._max_events)
        if tags:
            return epcis_walk.by_tag(logs, tags, place, query)
        return epcis_walk.without_index(logs, place, query)

    async def _place(self, bound: bytes, token: str) -> Place:
        """Give where to begin: the token's place, else the beginning of the newest checkpoints."""
        if not token:
            return Place(showing.sizes_of(await disclosure.vector(self._reader, _KIND)))
        place = await _opened(self._tokens, bound, token)
        if await disclosure.exactly(self._reader, _KIND, place.sizes) is None:
            raise ParameterError("its checkpoints are not those of these logs", NEXT_PAGE_TOKEN)
        return place

    async def _sealed(self, bound: bytes, rest: Place | None) -> str:
        return await self._tokens.seal(bound, rest) if rest else ""

    async def _record(
        self,
        method: str,
        look: Look,
        logs: VisibleLogs,
        sizes: Mapping[str, int],
        *,
        keys: tuple[str, ...],
        shown: int,
    ) -> str:
        """Record the look: nothing may leave before this has returned (design.md, invariant 4)."""
        browse = Browse(
            user=look.user,
            merchant=logs.eyes.merchant,
            method=method,
            keys=keys,
            sizes=sizes,
            purpose=look.purpose,
            events=shown,
            query=look.query,
        )
        browse_id = await self._shown.record(browse)
        self._metrics.withheld.inc(len(logs.withheld))
        return browse_id


def _put(page: Page, found: Found, size: int) -> bool:
    sealed = SealedAt(found.log, found.index, size, found.facts.event_hash)
    return page.take(event_json(found.content, found.facts.context), sealed)


async def _opened(tokens: PageTokens[Place], bound: bytes, token: str) -> Place:
    try:
        return await tokens.open(bound, token)
    except InvalidRequestError as error:
        raise ParameterError(NOT_OURS, NEXT_PAGE_TOKEN) from error
