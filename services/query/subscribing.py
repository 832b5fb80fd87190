"""`TraceService.Subscribe`: events as they are published, each message recorded before it is sent, from a cursor on."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import structlog

from goodstrace import facts as sealed_facts
from goodstrace.entry import Position, TagKind, tag
from goodstrace.errors import FilterError
from goodstrace.event_filter import EventFilter, event_filter
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import subscribe_pb2, withheld_pb2
from goodstrace.tracing.model import NameKind
from services.query.cursors import FIELD, Cursors
from services.query.forward import Forward, Gathered, Heads, Positions, Seen
from services.query.metrics import QueryMetrics
from services.query.shown import Shown
from services.query.sight import Eyes, Sight, bare, told_tags
from services.query.withheld import found_by
from services.runtime.access.current import principal
from services.runtime.call_errors import ExhaustedError, InvalidRequestError, OutOfRangeError
from services.runtime.call_limits import MAX_PURPOSE_CHARS, check_text, checked_page_size
from services.runtime.errors import UnavailableError
from services.runtime.grpc import Context, caller
from services.runtime.shares import Shares
from services.runtime.waiting import until_set
from services.sealing import disclosure, showing
from services.sealing.browse import Browse, BrowseRecorder
from services.sealing.reader import LogReader
from services.sealing.showing import checkpoint_message, position
from services.sealing.values import StoredCheckpoint

METHOD: Final = "Subscribe"
DEFAULT_PAGE_SIZE: Final = 200
DEFAULT_HEARTBEAT_S: Final = 15
MAX_HEARTBEAT_S: Final = 300
Checkpoints = Mapping[str, StoredCheckpoint]


class Filtered(msgspec.Struct, frozen=True):
    """A filter as the logs are read for it, by somebody: keys are found by their tags. `found` has the tags of what is withheld."""

    filter: EventFilter
    secret: bytes
    eyes: Eyes
    found: dict[Position, bytes] = {}

    async def visible(self, events: Sequence[Seen]) -> Sequence[Seen]:
        """Give events as the reader may see them; of those that it may not, and that keys were to find, those that goods did find.

        Raises: UnavailableError.
        """
        seen = await self.eyes.see([(each.entry, each.facts) for each in events])
        shown = (
            each if is_seen else self._withheld(each) for each, is_seen in zip(events, seen, strict=True)
        )
        return [each for each in shown if each is not None]

    def _withheld(self, seen: Seen) -> Seen | None:
        if self.filter.keys:
            told = told_tags(self.secret, seen.facts)
            mine = next((each for each in self.tags() if each in told), None)
            if mine is None:
                return None
            self.found[position(seen.record)] = mine
        return Seen(bare(seen.record), seen.entry, None)

    def tags(self) -> Sequence[bytes]:
        """Give the tags of the keys."""
        return [tag(self.secret, TagKind.KEY, key) for key in self.filter.keys]

    def wants(self, seen: Seen) -> bool:
        """Say whether an event is meant."""
        return self.filter.matches(seen.entry.merchant, seen.facts)

    def found_by(self, seen: Seen) -> withheld_pb2.FoundBy | None:
        """Prove by which key a withheld event was found; None for any other, and where no keys are asked for."""
        mine = self.found.get(position(seen.record))
        if mine is None:
            return None
        names = dict(zip(self.tags(), self.filter.keys, strict=True))
        return found_by(seen.record, mine, (NameKind.KEY, names[mine]))


class _Asked(msgspec.Struct, frozen=True):
    """A request, read and checked."""

    user: str
    purpose: str
    filter: EventFilter
    page_size: int
    heartbeat_s: float


class Subscriptions:
    """All subscriptions of one process."""

    def __init__(
        self,
        reader: LogReader,
        recorder: BrowseRecorder,
        forward: Forward,
        heads: Heads,
        *,
        sight: Sight,
        secret: bytes,
        page_bytes: int,
        most: int,
        share: float,
        stop: asyncio.Event,
        metrics: QueryMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Serve at most `most` at a time and of these each caller a `share`, messages of `page_bytes`, until `stop`; `sight` says who may see what."""
        self._reader, self._shown = reader, Shown(recorder, metrics, log)
        self._forward, self._heads = forward, heads
        self._sight = sight
        self._secret, self._page_bytes, self._most = secret, page_bytes, most
        self._stop = stop
        self._open, self._shares = 0, Shares(most, share, "subscriptions")
        self._cursors = Cursors(secret)
        self._metrics = metrics

    async def serve(self, request: subscribe_pb2.SubscribeRequest, context: Context) -> None:
        """Send messages until the caller goes away.

        1. The cursor is opened, or one is made; a first message without events says it.
        2. What was published since is gathered, as the caller may see it now: a message takes what fits, and a browse record of it is
           acknowledged.
        3. The message is sent. Writing waits where the client reads slowly: nothing is gathered meanwhile.
        4. Where there is nothing more, the newest checkpoints are waited for; a heartbeat says the cursor.

        The guard of the port cuts it off once the caller does not count any more.

        Raises: InvalidRequestError, OutOfRangeError, ExhaustedError; UnauthenticatedError and ForbiddenError, also where the caller's
            merchant was suspended meanwhile; UnavailableError, also where the service stops.
        """
        asked = _asked(request, caller(context))
        await self._eyes()
        if self._open >= self._most:
            raise ExhaustedError(f"there are {self._most} subscriptions already: try again later")
        with self._shares.taken():
            self._open += 1
            try:
                # Another process may have sent what is behind the cursor a moment ago, or the caller seen it elsewhere: it takes nothing older.
                checkpoints = await self._heads.newest(at_once=True)
                positions = self._positions(request, checkpoints)
                await context.write(self._message(checkpoints, positions, (), ""))
                await self._send(asked, positions, context)
            finally:
                self._open -= 1

    async def _send(self, asked: _Asked, positions: Positions, context: Context) -> None:
        said_at, said_end = time.monotonic(), False
        while True:
            checkpoints = await self._heads.newest()
            interest = Filtered(asked.filter, self._secret, await self._eyes())
            gathered = await self._gather(asked, interest, positions, checkpoints)
            self._metrics.forward_entries.inc(gathered.looked_at)
            positions = gathered.after
            at_end = is_at_end(positions, checkpoints)
            is_due = time.monotonic() - said_at >= asked.heartbeat_s
            if gathered.events:
                await context.write(await self._proved(asked, interest, gathered, checkpoints))
            elif is_due or (at_end and not said_end):
                await context.write(self._message(checkpoints, positions, (), ""))
            if gathered.events or is_due or (at_end and not said_end):
                said_at, said_end = time.monotonic(), at_end
            if at_end:
                await self._rest()
            elif self._stop.is_set():
                raise UnavailableError("the service stops")

    async def _gather(
        self, asked: _Asked, interest: Filtered, positions: Positions, checkpoints: Checkpoints
    ) -> Gathered:
        return await self._forward.gather(
            interest,
            positions,
            showing.sizes_of(checkpoints),
            most_events=asked.page_size,
            most_bytes=self._page_bytes,
        )

    async def _proved(
        self, asked: _Asked, interest: Filtered, gathered: Gathered, checkpoints: Checkpoints
    ) -> subscribe_pb2.SubscribeResponse:
        """Prove the events and record that they are shown: nothing may leave before this has returned."""
        within = {each.record.log: checkpoints[each.record.log] for each in gathered.events}
        sizes = showing.sizes_of(within)
        entries = await disclosure.disclose(self._reader, [each.record for each in gathered.events], sizes)
        events = [
            subscribe_pb2.SubscribedEvent(
                identity=sealed_facts.identity(each.entry.merchant, each.facts) if each.facts else "",
                sealed=entries[position(each.record)],
                found_by=interest.found_by(each),
            )
            for each in gathered.events
        ]
        browse = Browse(
            user=asked.user,
            merchant=interest.eyes.merchant,
            method=METHOD,
            keys=asked.filter.keys or hashes_of(gathered.events),
            sizes=sizes,
            purpose=asked.purpose,
            events=len(events),
            query=asked.filter.text(),
        )
        browse_id = await self._shown.record(browse)
        message = self._message(within, gathered.after, events, browse_id)
        message.caught_up = is_at_end(gathered.after, checkpoints)
        return message

    def _message(
        self,
        checkpoints: Checkpoints,
        positions: Positions,
        events: Sequence[subscribe_pb2.SubscribedEvent],
        browse_id: str,
    ) -> subscribe_pb2.SubscribeResponse:
        return subscribe_pb2.SubscribeResponse(
            events=events,
            checkpoints=map(checkpoint_message, checkpoints.values()),
            cursor=self._cursors.seal(positions),
            positions=[log_pb2.LogSize(log=log, size=each) for log, each in sorted(positions.items())],
            caught_up=is_at_end(positions, checkpoints),
            browse_id=browse_id,
        )

    def _positions(self, request: subscribe_pb2.SubscribeRequest, checkpoints: Checkpoints) -> Positions:
        if not request.cursor:
            beginning = request.start == subscribe_pb2.SUBSCRIBE_START_BEGINNING
            return {} if beginning else showing.sizes_of(checkpoints)
        positions = self._cursors.open(request.cursor)
        for log, index in positions.items():
            size = checkpoints[log].size if log in checkpoints else 0
            if index > size:
                raise OutOfRangeError(f"it is at {log}[{index}], and {size} entries are published", FIELD)
        return positions

    async def _eyes(self) -> Eyes:
        return await self._sight.eyes(principal())

    async def _rest(self) -> None:
        """Wait until there may be something new. Raises: UnavailableError where the service stops."""
        if await until_set(self._stop, self._heads.every_s):
            raise UnavailableError("the service stops")


def hashes_of(events: Sequence[Seen]) -> tuple[str, ...]:
    """Give the hashes of events: what a browse record names where no key was asked for."""
    return tuple(sorted({each.facts.event_hash for each in events if each.facts}))


def _asked(request: subscribe_pb2.SubscribeRequest, user: str) -> _Asked:
    """Read a request. Raises: InvalidRequestError naming the field."""
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    if request.start not in subscribe_pb2.SubscribeStart.values():
        raise InvalidRequestError(f"{request.start} is no start", "start")
    if request.heartbeat_s > MAX_HEARTBEAT_S:
        raise InvalidRequestError(f"at most {MAX_HEARTBEAT_S}", "heartbeat_s")
    try:
        asked = event_filter(request.keys, request.merchants, request.steps, request.prefixes)
    except FilterError as error:
        raise InvalidRequestError(error.problem, error.field) from error
    return _Asked(
        user,
        request.purpose,
        asked,
        checked_page_size(request.page_size, DEFAULT_PAGE_SIZE),
        request.heartbeat_s or DEFAULT_HEARTBEAT_S,
    )


def is_at_end(positions: Positions, checkpoints: Checkpoints) -> bool:
    """Say whether everything that is published was looked at."""
    return all(positions.get(log, 0) >= each.size for log, each in checkpoints.items())
