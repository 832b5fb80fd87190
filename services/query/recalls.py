"""Recalls over the logs: drives the pure recall with look-ups, and sends what it finds with its proofs as soon as it is found."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from goodstrace.entry import Position, TagKind, tag
from goodstrace.facts import Facts, Role
from goodstrace.identifiers import class_of
from goodstrace.query.v1 import recall_pb2
from goodstrace.tracing.model import Lookup, Name, SealedFacts, TracedEvent
from goodstrace.tracing.names import TAG_KINDS
from goodstrace.tracing.recall import Page
from goodstrace.tracing.recall_memory import Seen
from goodstrace.tracing.recalling import Found, Recall, RecallQuery, Totals, recall
from services.query import recall_messages as messages
from services.query.recall_withheld import RecallWithheld
from services.query.sight import VisibleLogs
from services.query.thinking import Thinking
from services.query.walk import Walk
from services.sealing import disclosure, showing
from services.sealing.showing import position
from services.sealing.values import SealedRecord, StoredCheckpoint

MAX_ALSO_AT: Final = 16
SECRET_BYTES: Final = 16
_PLACES: Final = (Role.LOCATION, Role.PARTY)
Checkpoints = Mapping[str, StoredCheckpoint]
Send = Callable[[recall_pb2.RecallResponse], Awaitable[None]]


class Recalling:
    """One recall. What it holds at a time: the records of a step, up to 16 MiB of them, and a page of the answer."""

    def __init__(
        self,
        reader: VisibleLogs,
        secret: bytes,
        checkpoints: Checkpoints,
        page_bytes: int,
        thinking: Thinking,
    ) -> None:
        """Recall as of these checkpoints; a message has at most `page_bytes`, unless a single record is larger."""
        self._reader = reader
        self._thinking = thinking
        self._secret = secret
        self._sizes = showing.sizes_of(checkpoints)
        self._page_bytes = page_bytes
        self._walk: Walk[Totals] = self._new_walk()
        self._cursor: tuple[object, Position | None] = (None, None)
        self._described = Seen(os.urandom(SECRET_BYTES))
        self._withheld = RecallWithheld(reader, self._sizes, page_bytes)
        self._level = 0
        self._erased = 0
        self.shown = 0

    @property
    def withheld(self) -> int:
        """How many entries were told to be withheld."""
        return self._withheld.told

    async def run(self, query: RecallQuery, send: Send) -> None:
        """Send the pieces of a recall, and its summary last. Raises: UnavailableError, CorruptError, EntryError."""
        recalling = recall(query, os.urandom(SECRET_BYTES), self._thinking.check)
        sent: list[SealedFacts] | None = None
        while True:
            asked = await self._thinking.run(_advance, recalling, sent)
            sent = None
            match asked:
                case Lookup():
                    sent = await self._walk.look_up(asked)
                case Page():
                    sent = await self._page(asked, send)
                case Found():
                    async for message in self._messages(asked):
                        await send(message)
                    self._level = asked.level
                    self._withheld.show(asked)
                    await self._tell(self._walk.names, send)
                    self._walk = self._new_walk()
                case Totals():
                    summary = messages.summary(asked, self._erased, self._withheld.told)
                    summary.truncated |= self._reader.is_cut or self._withheld.is_cut
                    await send(recall_pb2.RecallResponse(summary=summary))
                    return

    def _new_walk(self) -> Walk[Totals]:
        return Walk(self._reader, self._secret, self._sizes, self._thinking)

    async def _tell(self, names: Mapping[bytes, Name], send: Send) -> None:
        """Send what is withheld and may be told by now; `names` by tag are those looked up since the last time."""
        async for entries in self._withheld.messages(names):
            await send(recall_pb2.RecallResponse(level=self._level, withheld_entries=entries))

    async def _page(self, page: Page, send: Send) -> list[SealedFacts]:
        """Read the records of a name from the newest to the oldest; what is no event is passed over, until there is nothing more."""
        kind, text = page.name
        before = self._cursor[1] if self._cursor[0] == page.name else None
        named = tag(self._secret, TAG_KINDS[kind], text)
        while True:
            records = await self._reader.find_newest(named, self._sizes, page.limit, before)
            found = await self._walk.met(records)
            await self._tell({named: page.name}, send)
            before = position(records[-1]) if records else None
            if found or not records:
                self._cursor = (page.name, before)
                return found

    async def _messages(self, found: Found) -> AsyncIterator[recall_pb2.RecallResponse]:
        """Cut what was found into messages: first the goods, then events with what they say."""
        if found.goods or found.containers:
            head = messages.head(found)
            head.registrations.extend(await self._descriptions(_classes(found)))
            yield head
        message = recall_pb2.RecallResponse(level=found.level)
        left = self._page_bytes
        for some in self._groups([each.event for each in found.events if each.is_new]):
            for event, erased in await self._proved(some):
                self._erased += erased
                if left < event.ByteSize() and message.events:
                    yield message
                    message, left = recall_pb2.RecallResponse(level=found.level), self._page_bytes
                message.events.append(event)
                left -= event.ByteSize()
        message.mentions.extend(messages.mentions(found.events))
        message.orders.extend(messages.orders(found.orders))
        message.holders.extend(messages.holders(found.holders))
        message.registrations.extend(await self._descriptions(_places(found)))
        if found.events:
            yield message

    def _groups(self, events: Sequence[TracedEvent]) -> Iterable[list[TracedEvent]]:
        """Cut events into as many as may be held with their proofs at a time."""
        some: list[TracedEvent] = []
        held = 0
        for event in events:
            cost = self._walk.cost_of(event.positions[0])
            if some and held + cost > self._page_bytes:
                yield some
                some, held = [], 0
            some.append(event)
            held += cost
        if some:
            yield some

    async def _proved(self, events: Sequence[TracedEvent]) -> list[tuple[recall_pb2.RecallEvent, bool]]:
        places = {place for event in events for place in event.positions[: 1 + MAX_ALSO_AT]}
        bare = places - {event.positions[0] for event in events}
        records = await self._walk.records(places)
        shown = await disclosure.disclose(self._reader, records, self._sizes, bare)
        self.shown += len(shown)
        return [
            (messages.event(event, shown, MAX_ALSO_AT), not self._walk.incomplete.isdisjoint(event.positions))
            for event in events
        ]

    async def _descriptions(self, keys: Iterable[str]) -> list[messages.SealedEntry]:
        """Give the newest registrations of keys that were not asked for before, where there are such."""
        fresh = [key for key in sorted(set(keys)) if self._described.add(key)]
        records: list[SealedRecord] = []
        for key in fresh:
            named = tag(self._secret, TagKind.REGISTRATION, key)
            records += await self._reader.find_newest(named, self._sizes, 1)
        shown = await disclosure.disclose(self._reader, records, self._sizes)
        self.shown += len(shown)
        return [shown[position(record)] for record in records]


def _advance(recalling: Recall, sent: list[SealedFacts] | None) -> Lookup | Page | Found | Totals:
    try:
        return recalling.send(sent)
    except StopIteration as stop:
        totals: Totals = stop.value
        return totals


def _classes(found: Found) -> list[str]:
    """List the classes of goods, under which their names are registered."""
    return [class_of(each.reached.key) or each.reached.key for each in found.goods]


def _places(found: Found) -> list[str]:
    return [key for each in found.events if each.is_new for key in _places_of(each.event.facts)]


def _places_of(facts: Facts) -> list[str]:
    return [key for role in _PLACES for key in facts.keys.get(role, ())]
