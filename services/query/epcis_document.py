"""The document of an answer: events in the exact bytes as captured, under one JSON-LD context. Pure.

Nothing of an event that came as JSON is encoded again; one that came as XML is shown as JSON. The only thing added is one member of our own, at its end: where it is sealed. Source:
EPCIS 2.0 sections 9 (JSON/JSON-LD) and 12 (`EPCISQueryDocument`).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from goodstrace.errors import EventContentError
from goodstrace.event_content import is_xml, read_event

EPCIS_CONTEXT: Final = "https://ref.gs1.org/standards/epcis/epcis-context.jsonld"
SIMPLE_QUERY: Final = "SimpleEventQuery"
NAMESPACE: Final = "urn:goodstrace:epcis:"
PREFIX: Final = "goodstrace"
_STANDARD_CONTEXT: Final = "/epcis-context.jsonld"
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class SealedAt(msgspec.Struct, frozen=True):
    """Where an event is sealed: the proof of `index` in `log` at `size` shows it. `event_hash` is its CBV 2.0 hash."""

    log: str
    index: int
    size: int
    event_hash: str


class EventJson(msgspec.Struct, frozen=True):
    """An event to be shown.

    text: a JSON object; `members` its names. outer: the contexts it needs from around it. own: the names that its own
    context defines.
    """

    text: bytes
    members: frozenset[str]
    outer: tuple[Any, ...]
    own: frozenset[str] = frozenset()


class Contexts(msgspec.Struct, frozen=True):
    """The contexts that all events of one document share.

    links: of other contexts than the standard's. terms: IRIs by prefix or term. rules: what is neither, such as @vocab.
    """

    links: tuple[str, ...] = ()
    terms: dict[str, str] = {}
    rules: dict[str, Any] = {}

    def joined(self, other: "Contexts") -> "Contexts | None":
        """Join the contexts of one more event; None where one document cannot have both without changing a meaning.

        Prefixes may differ as long as none means two things; everything else must be the same.
        """
        if self.links != other.links or self.rules != other.rules:
            return None
        if any(self.terms.get(name, iri) != iri for name, iri in other.terms.items()):
            return None
        return Contexts(self.links, self.terms | other.terms, self.rules)

    def is_free(self, prefix: str) -> bool:
        """Tell whether a prefix means nothing but ours."""
        return self.terms.get(prefix, NAMESPACE) == NAMESPACE and prefix not in self.rules


def event_json(content: bytes, context: Any) -> EventJson:
    """Read an event part for showing: JSON as it is, byte for byte, and XML as the JSON that its hash is made of.

    Args:
        content: the exact bytes as sealed, a JSON object or one XML element.
        context: as in the event's facts: the effective @context, that of its document, then its own; of XML the namespaces.
    Raises: EventContentError where it is neither.
    """
    if is_xml(content):
        event = read_event(content, context, exact_numbers=True)
        content, context = _ENCODER.encode(event), event.get("@context")
    try:
        members = _MEMBERS.decode(content)
        own = _listed(msgspec.json.decode(members["@context"])) if "@context" in members else []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventContentError(f"not a JSON object: {error}") from error
    every = _listed(context)
    outer = every[: len(every) - len(own)] if own and every[-len(own) :] == own else every
    defined = contexts_of(own)
    return EventJson(
        content.strip(), frozenset(members), tuple(outer), frozenset((*defined.terms, *defined.rules))
    )


class Page:
    """The events of one document, as they are put together: it takes events until one does not fit."""

    def __init__(self, most_events: int, most_bytes: int) -> None:
        """Hold at most so many events and bytes, but one event in any case."""
        self.events: list[bytes] = []
        self._most_events, self._left = most_events, most_bytes
        self._contexts, self._prefix = Contexts(), PREFIX

    def take(self, event: EventJson, sealed: SealedAt) -> bool:
        """Take an event; False where the page is full, or its context and that of the page contradict one another."""
        contexts = contexts_of(event.outer)
        joined = self._contexts.joined(contexts) if self.events else contexts
        if joined is None or len(self.events) >= self._most_events:
            return False
        prefix = self._prefix if self.events else _free_prefix(joined, event)
        if not joined.is_free(prefix) or prefix in event.own:
            return False
        text = with_position(event, sealed, prefix)
        if self.events and len(text) > self._left:
            return False
        self.events.append(text)
        self._left -= len(text)
        self._contexts, self._prefix = joined, prefix
        return True

    def document(self, created: str, query: str = SIMPLE_QUERY, subscription: str = "") -> bytes:
        """Give the EPCISQueryDocument of the events taken.

        Args:
            created: the time of the answer, ISO 8601.
            query: the name of the query that it answers.
            subscription: the ID of the subscription that it is for, empty where it is asked for.
        """
        results = {"queryName": query} | ({"subscriptionID": subscription} if subscription else {})
        return query_document(self.events, self._contexts, self._prefix, created, results)


def _free_prefix(contexts: Contexts, event: EventJson) -> str:
    """Choose a prefix for our own members that the event uses for nothing else."""
    number, name = 0, PREFIX
    while not contexts.is_free(name) or name in event.own:
        number += 1
        name = f"{PREFIX}{number}"
    return name


def contexts_of(outer: Iterable[Any]) -> Contexts:
    """Sort the contexts around an event; of two of one name the later one counts."""
    links: list[str] = []
    terms: dict[str, str] = {}
    rules: dict[str, Any] = {}
    for each in outer:
        if isinstance(each, str):
            if not each.endswith(_STANDARD_CONTEXT) and each not in links:
                links.append(each)
        elif isinstance(each, dict):
            for name, value in each.items():
                plain = isinstance(value, str) and not name.startswith("@")
                terms.pop(name, None)
                rules.pop(name, None)
                (terms if plain else rules)[name] = value
    return Contexts(tuple(links), terms, rules)


def with_position(event: EventJson, sealed: SealedAt, prefix: str) -> bytes:
    """Add to an event where it is sealed, as its last member; all other bytes stay."""
    name = f"{prefix}:sealed"
    while name in event.members:  # an answer of ours that was captured again
        name += "_"
    place = {
        f"{prefix}:log": sealed.log,
        f"{prefix}:index": sealed.index,
        f"{prefix}:size": sealed.size,
        f"{prefix}:eventHash": sealed.event_hash,
    }
    body = event.text[:-1].rstrip()
    comma = b"," if event.members else b""
    return b"".join((body, comma, msgspec.json.encode(name), b":", msgspec.json.encode(place), b"}"))


def query_document(
    events: Iterable[bytes], contexts: Contexts, prefix: str, created: str, results: Mapping[str, str]
) -> bytes:
    """Put an answer's events into an EPCISQueryDocument.

    Args:
        events: JSON objects.
        contexts: that all of them need.
        prefix: of our own members.
        created: the time of the answer, ISO 8601.
        results: what is said of the results: queryName, and subscriptionID where there is one.
    """
    head = {
        "@context": context_of(contexts, prefix),
        "type": "EPCISQueryDocument",
        "schemaVersion": "2.0",
        "creationDate": created,
    }
    return b"".join(
        (
            msgspec.json.encode(head)[:-1],
            b',"epcisBody":{"queryResults":',
            msgspec.json.encode(results)[:-1],
            b',"resultsBody":{"eventList":[',
            b",".join(events),
            b"]}}}}",
        )
    )


def context_of(contexts: Contexts, prefix: str) -> list[Any]:
    """Write the @context of a document: the standard's, other links, rules, then prefixes with our own."""
    own = {**contexts.terms, prefix: NAMESPACE}
    return [EPCIS_CONTEXT, *contexts.links, *([contexts.rules] if contexts.rules else []), own]


def collection(values: Iterable[str]) -> Mapping[str, Any]:
    """Put values into the standard's list of them."""
    return {"@context": EPCIS_CONTEXT, "type": "Collection", "member": list(values)}


def _listed(context: Any) -> list[Any]:
    if context is None:
        return []
    return list(context) if isinstance(context, list) else [context]
