"""What the trace page shows, out of an answer of TraceService. Pure: no I/O, no language, nothing escaped (templates do that)."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from goodstrace import entry as entries
from goodstrace import facts as sealed_facts
from goodstrace.errors import EntryError, EventContentError
from goodstrace.event_content import is_xml, read_event
from goodstrace.facts import Facts, Role
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import trace_pb2
from goodstrace.read_runs import Said, runs, said
from goodstrace.temperatures import stated_limits
from services.query.web.sensors import Reading, readings_of, temperatures_at

MOST_KEYS_LISTED: Final = 50
MOST_TEXT_CHARS: Final = 20_000
MOST_DOCUMENTS: Final = 100
MOST_OF: Final = 5
_UNTOLD: Final = frozenset(("normalised-vocabulary",))
"""Flags that are of no use to people."""
_GOODS: Final = (Role.EPC, Role.LOT, Role.CLASS, Role.CHILD, Role.PARENT, Role.INPUT, Role.OUTPUT)
_ICONS: Final = {
    "commissioning": "make", "creating_class_instance": "make", "assembling": "make", "packing": "pack", "unpacking": "pack",
    "repackaging": "pack", "loading": "pack", "unloading": "pack", "shipping": "ship", "departing": "ship", "transporting": "ship",
    "receiving": "receive", "arriving": "receive", "accepting": "receive", "collecting": "harvest", "inspecting": "inspect",
    "sampling": "inspect", "storing": "store", "stocking": "store", "holding": "store", "retail_selling": "sell",
    "dispensing": "sell", "destroying": "end", "decommissioning": "end",
}  # fmt: skip
_STEP_ICONS: Final = {
    "procurement": "harvest", "production": "make", "logistics": "ship", "storage": "store", "sale": "sell", "return": "receive",
    "disposal": "end",
}  # fmt: skip


class ShownEvent(msgspec.Struct, frozen=True):
    """An event as a step of the timeline.

    place_id: `log[index]`, by which the browser finds its proof. facts: None where they are withheld or erased. word: the business step's
    CBV word, else its class. goods: the keys named, by role. certain: that it concerned the goods traced. through: the containers by which it did.
    flags: those of its facts. marks: those that follow from other events too. readings: of sensors; temperatures_at: the JSON pointers of those of temperature.
    lows, highs: between which temperatures it says that its goods are to be kept, degrees Celsius. is_xml: came as XML, which scripts of the page do not read.
    text: the exact content as text, the first 20,000 characters. also: how often it is sealed elsewhere.
    """

    place_id: str
    log: str
    index: int
    identity: str
    entry_id: str
    merchant: int
    record_ms: int
    facts: Facts | None
    word: str
    icon: str
    place: str
    goods: tuple[tuple[str, tuple[str, ...]], ...]
    parties: tuple[str, ...]
    certain: bool
    concerns: tuple[str, ...]
    through: tuple[str, ...]
    flags: tuple[str, ...]
    marks: tuple[str, ...]
    readings: tuple[Reading, ...]
    temperatures_at: frozenset[str]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    is_xml: bool
    origin: str
    text: str
    also: int

    @property
    def time_us(self) -> int:
        """Event time, Unix microseconds; 0 where the facts are not there."""
        return self.facts.time_us if self.facts else 0


class Branch(msgspec.Struct, frozen=True):
    """A node of the tree with what lies behind it; `again` where it is shown elsewhere already."""

    node: trace_pb2.TraceNode
    children: tuple["Branch", ...]
    again: bool = False


class Document(msgspec.Struct, frozen=True):
    """A business transaction of some of the goods shown, or of what carried them: its canonical key, its CBV type ("" for none), and the keys of these goods, the nearest first."""

    key: str
    type: str
    of: tuple[str, ...]


class ShownTrace(msgspec.Struct, frozen=True):
    """A page of a trace."""

    answer: trace_pb2.TraceResponse
    events: tuple[ShownEvent, ...]
    upstream: tuple[Branch, ...]
    downstream: tuple[Branch, ...]
    containers: tuple[trace_pb2.TraceNode, ...]
    documents: tuple[Document, ...]

    def sizes(self) -> dict[str, int]:
        """Tell which sizes of the logs the page was made from."""
        return {each.log: int(each.note.split("\n")[1]) for each in self.answer.checkpoints if each.note}

    def rows(self) -> list[Sequence[ShownEvent]]:
        """The events as rows of the timeline: a read storm is one row of several, anything else a row of its own."""
        return runs(self.events, _said)

    def history(self) -> Iterator[ShownEvent]:
        """The events that concern the goods themselves, by time."""
        return (each for each in self.events if self.answer.key in each.concerns)


def shown_trace(answer: trace_pb2.TraceResponse) -> ShownTrace:
    """Take an answer apart. Raises: EntryError where it is none of this system's."""
    events = tuple(_shown(each, answer.key) for each in answer.events if each.HasField("sealed"))
    return ShownTrace(
        answer=answer,
        events=events,
        upstream=_branches(answer, trace_pb2.DIRECTION_UPSTREAM),
        downstream=_branches(answer, trace_pb2.DIRECTION_DOWNSTREAM),
        containers=tuple(each for each in answer.nodes if each.role == "container"),
        documents=_documents(answer.nodes, events),
    )


def keys_of(trace: ShownTrace) -> list[str]:
    """List the keys whose names are worth a look-up: goods first, then places and parties."""
    goods = [trace.answer.key, *(each.key for each in trace.answer.nodes)]
    places = [key for each in trace.events for key in (each.place, *each.parties) if key]
    return list(dict.fromkeys((*places, *goods)))


def merchants_of(trace: ShownTrace) -> set[int]:
    """List the numbers of the merchants that said something."""
    return {each.merchant for each in trace.events if each.merchant}


def _shown(event: trace_pb2.TraceEvent, root: str) -> ShownEvent:
    sealed = event.sealed
    entry = entries.decode(sealed.entry)
    parts = {part.name: part.content for part in sealed.parts}
    facts = sealed_facts.decode(parts["facts"]) if "facts" in parts else None
    content = parts.get("event", b"")
    document = _document(content, facts)
    own = [each for each in event.mentions if each.key == root]
    mentions = own or list(event.mentions)
    step = _word(facts.business_step) if facts else ""
    flagged = tuple(each for each in facts.flags if each not in _UNTOLD) if facts else ()
    lows, highs = stated_limits(document.get("ilmd"))
    return ShownEvent(
        place_id=place_id(sealed),
        log=sealed.log,
        index=sealed.index,
        identity=event.identity,
        entry_id=entry.id,
        merchant=entry.merchant,
        record_ms=entry.time,
        facts=facts,
        word=step or (facts.step if facts else ""),
        icon=_icon(step, facts),
        place=(facts.business_location or facts.read_point) if facts else "",
        goods=_goods(facts),
        parties=tuple(each.key for each in (*facts.sources, *facts.destinations)) if facts else (),
        certain=any(each.certainty == trace_pb2.CERTAINTY_CERTAIN for each in mentions) or not mentions,
        concerns=tuple(each.key for each in event.mentions),
        through=tuple(own[0].path) if own else (),
        flags=flagged,
        marks=tuple(sorted({*event.marks} - {*flagged} - _UNTOLD)),
        readings=tuple(readings_of(document, facts.time_us)) if facts else (),
        temperatures_at=frozenset(temperatures_at(document)),
        lows=tuple(lows),
        highs=tuple(highs),
        is_xml=is_xml(content),
        origin=_origin(document),
        text=content.decode("utf-8", "replace")[:MOST_TEXT_CHARS],
        also=len(event.also_at),
    )


def _said(event: ShownEvent) -> Said | None:
    if event.facts is None:
        return None
    return said(event.facts, (event.merchant, event.marks, event.certain, event.concerns, event.through))


def place_id(sealed: log_pb2.SealedEntry) -> str:
    """Name the place of an entry."""
    return f"{sealed.log}[{sealed.index}]"


def _document(content: bytes, facts: Facts | None) -> Mapping[str, Any]:
    if not content or facts is None:
        return {}
    try:
        return read_event(content, facts.context)
    except EventContentError:
        return {}  # its bytes are shown all the same


def _word(step: str) -> str:
    """Give the last word of a business step: it is the bare word of CBV, or a URI of another vocabulary."""
    return re.split(r"[:/#]", step)[-1]


def _icon(step: str, facts: Facts | None) -> str:
    if facts is None:
        return "hidden"
    return _ICONS.get(step) or _STEP_ICONS.get(facts.step, "event")


def _goods(facts: Facts | None) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if facts is None:
        return ()
    return tuple((role, facts.keys[role][:MOST_KEYS_LISTED]) for role in _GOODS if facts.keys.get(role))


def _origin(document: Mapping[str, Any]) -> str:
    """Give the country of origin that an event's master data states, as it is written there; empty where it states none."""
    ilmd = document.get("ilmd")
    if not isinstance(ilmd, dict):
        return ""
    for name, value in ilmd.items():
        if name.rpartition(":")[2] == "countryOfOrigin" and isinstance(value, str):
            return value[:100]
    return ""


def _branches(answer: trace_pb2.TraceResponse, direction: int) -> tuple[Branch, ...]:
    """Make the tree of one direction: each node below the first key by which it was met, and named again below the others."""
    below: dict[str, list[tuple[trace_pb2.TraceNode, bool]]] = {}
    for node in answer.nodes:
        if node.direction == direction and node.role != "container":
            for place, nearer in enumerate(dict.fromkeys(link.key for link in node.links)):
                below.setdefault(nearer, []).append((node, place > 0))

    def grown(key: str, met: frozenset[str]) -> tuple[Branch, ...]:
        return tuple(
            Branch(node, () if again or node.key in met else grown(node.key, met | {node.key}), again)
            for node, again in below.get(key, ())
        )

    return grown(answer.key, frozenset((answer.key,)))


def _documents(nodes: Iterable[trace_pb2.TraceNode], events: Iterable[ShownEvent]) -> tuple[Document, ...]:
    """Gather the transactions of all nodes, and those that events of the page name, each document once.

    What the goods were carried with names no goods of its own: the event counts for the goods inside. At most 100, of at most 5 goods each.
    """
    found: dict[tuple[str, str], list[str]] = {}
    named = [(each.key, each.type, [node.key]) for node in nodes for each in node.transactions]
    named += [
        (each.key, each.type, list(event.concerns))
        for event in events
        for each in (event.facts.transactions if event.facts else ())
    ]
    levels = {node.key: node.level for node in nodes}
    for key, type_, of in named:
        found.setdefault((key, type_), []).extend(of)
    documents = [
        Document(key, type_, tuple(sorted(dict.fromkeys(of), key=lambda each: levels.get(each, 0))))
        for (key, type_), of in found.items()
    ]
    documents.sort(key=lambda each: min((levels.get(one, 0) for one in each.of), default=0))
    return tuple(msgspec.structs.replace(each, of=each.of[:MOST_OF]) for each in documents[:MOST_DOCUMENTS])


def count(branches: Iterable[Branch]) -> int:
    """Count the nodes of a tree, each once."""
    return sum((not each.again) + count(each.children) for each in branches)


def events_by_place(events: Sequence[ShownEvent]) -> list[str]:
    """List the places of events in their order, each run of the same place once."""
    found: list[str] = []
    for each in events:
        if each.place and (not found or found[-1] != each.place):
            found.append(each.place)
    return found


__all__ = [
    "Branch", "Document", "EntryError", "ShownEvent", "ShownTrace", "count", "events_by_place", "keys_of", "merchants_of", "place_id",
    "shown_trace",
]  # fmt: skip
