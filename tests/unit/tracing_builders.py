"""Sealed facts for tests, a line each: `chain.pack(3, "case", "item")`.

Keys are made readable: `lot:...` and `class:...` become URNs of that grade, `place:...` a location, others stay serials.
Times are small integers of microseconds. Events seal in the order they are written, one record a millisecond.
"""

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from goodstrace.facts import Correction, Facts, Quantity, Role, Typed
from goodstrace.identifiers import Grade, grade
from goodstrace.registration import Registration, merchant_key
from goodstrace.tracing import Direction, Lookup, Query, SealedFacts, Trace, drive, trace

_FORMS = {
    "lot": "urn:gdst:test:product:lot:class:maker.thing.",
    "class": "urn:gdst:test:product:class:maker.",
    "place": "urn:gdst:test:location:loc:maker.",
    "item": "https://id.gs1.org/01/09521234543213/21/",
}


def key_of(name: str) -> str:
    form, _, rest = name.partition(":")
    return _FORMS[form] + rest if form in _FORMS and rest else name


def name_of(key: str) -> str:
    for form, start in _FORMS.items():
        if key.startswith(start):
            return f"{form}:{key.removeprefix(start)}"
    return key


def amount(text: str) -> Quantity:
    """Read "lot:a", "lot:a*5" or "lot:a*5 KGM"."""
    name, _, rest = text.partition("*")
    number, _, unit = rest.partition(" ")
    return Quantity(key_of(name), number, unit)


def _hash(content: Any) -> str:
    return f"ni:///sha-256;{hashlib.sha256(msgspec.json.encode(content)).hexdigest()}?ver=CBV2.0"


def names_of(facts: Facts) -> set[tuple[str, str]]:
    """By which names a source finds the event: as design.md says of the tags of a record."""
    if facts.type == "Registration":
        return {("registration", key) for key in facts.keys["registered"]}
    found = {("key", key) for keys in facts.keys.values() for key in keys}
    found |= {("key", lot) for lot in facts.lot_of.values()}
    found |= {("event-id", facts.event_id), ("event-id", facts.event_hash)}
    found |= {("order", each.key) for each in facts.transactions}
    return found | ({("transformation", facts.transformation)} if facts.transformation else set())


class Source:
    """A source that has these events, and counts the rounds of look-ups."""

    def __init__(self, sealed: Iterable[SealedFacts]) -> None:
        self.rounds = 0
        self._by_name: dict[tuple[str, str], list[SealedFacts]] = {}
        for each in sorted(sealed, key=lambda each: (each.log, each.index)):
            for name in names_of(each.facts):
                self._by_name.setdefault(name, []).append(each)

    def __call__(self, lookup: Lookup) -> list[SealedFacts]:
        self.rounds += 1
        return [each for name in lookup.names for each in self._by_name.get(name, ())[: lookup.limit]]


class Chain:
    """Events of a little supply chain. Each method seals one and returns it; `id=None` leaves it without ID of its own."""

    def __init__(self) -> None:
        self.sealed: list[SealedFacts] = []

    def seal(self, facts: Facts, merchant: int = 1, *, log: str = "goods/0") -> SealedFacts:
        sealed = SealedFacts(log, len(self.sealed), merchant, 1000 + len(self.sealed), facts)
        self.sealed.append(sealed)
        return sealed

    def event(
        self,
        kind: str,
        time: int,
        action: str = "",
        *,
        keys: dict[str, Iterable[str]],
        id: str | None = "",  # noqa: A002  # reads best in the tests
        merchant: int = 1,
        log: str = "goods/0",
        **more: Any,
    ) -> SealedFacts:
        by_role: dict[str, set[str]] = {}
        quantities: dict[str, list[Quantity]] = {}
        for role, texts in keys.items():
            for text in texts:
                quantity = amount(text)
                as_role = role
                if role == Role.EPC and grade(quantity.key) in (Grade.LOT, Grade.CLASS):
                    as_role = Role.LOT if grade(quantity.key) is Grade.LOT else Role.CLASS
                by_role.setdefault(as_role, set()).add(quantity.key)
                if "*" in text or grade(quantity.key) in (Grade.LOT, Grade.CLASS):
                    quantities.setdefault(as_role, []).append(quantity)
        for each in more.get("transactions", ()):
            by_role.setdefault(Role.TRANSACTION, set()).add(each.key)
        fields = {
            "type": f"{kind}Event",
            "time_us": time,
            "offset": "+00:00",
            "pipeline": "1",
            "action": action,
            "keys": {role: tuple(sorted(found)) for role, found in by_role.items()},
            "quantities": {role: tuple(found) for role, found in quantities.items()},
            **more,
        }
        event_hash = _hash(fields)
        event_id = event_hash if id is None else id or f"e{len(self.sealed)}"
        return self.seal(Facts(event_id=event_id, event_hash=event_hash, **fields), merchant, log=log)

    def see(self, time: int, *goods: str, action: str = "OBSERVE", lot: str = "", **more: Any) -> SealedFacts:
        if lot:
            more["lot_of"] = {key_of(each): key_of(lot) for each in goods}
        return self.event("Object", time, action, keys={Role.EPC: goods}, **more)

    def aggregate(self, time: int, action: str, parent: str, *children: str, **more: Any) -> SealedFacts:
        keys: dict[str, Iterable[str]] = {Role.PARENT: [parent] if parent else [], Role.CHILD: children}
        return self.event(more.pop("kind", "Aggregation"), time, action, keys=keys, **more)

    def pack(self, time: int, parent: str, *children: str, **more: Any) -> SealedFacts:
        return self.aggregate(time, "ADD", parent, *children, **more)

    def unpack(self, time: int, parent: str, *children: str, **more: Any) -> SealedFacts:
        return self.aggregate(time, "DELETE", parent, *children, **more)

    def see_in(self, time: int, parent: str, *children: str, **more: Any) -> SealedFacts:
        return self.aggregate(time, "OBSERVE", parent, *children, **more)

    def make(self, time: int, inputs: Iterable[str], outputs: Iterable[str], **more: Any) -> SealedFacts:
        return self.event("Transformation", time, keys={Role.INPUT: inputs, Role.OUTPUT: outputs}, **more)

    def order(self, time: int, action: str, order: str, *goods: str, **more: Any) -> SealedFacts:
        return self.event(
            "Transaction", time, action, keys={Role.EPC: goods}, transactions=(Typed(order, "po"),), **more
        )

    def correct(self, wrong: SealedFacts, *, merchant: int = 1, **changes: Any) -> SealedFacts:
        reason = "did_not_occur"
        correction = Correction(digest=_hash([reason, len(self.sealed)]), time_us=10**9, reason=reason)
        return self.seal(msgspec.structs.replace(wrong.facts, correction=correction, **changes), merchant)

    def sense(self, time: int, *goods: str, device: str = "", **more: Any) -> SealedFacts:
        keys = {Role.EPC: goods, **({Role.SENSOR: [device]} if device else {})}
        return self.event("Object", time, "OBSERVE", keys=keys, sensor_reports=1, **more)

    def register(
        self, key: str, content: dict[str, Any], *, what: str = "goods", lot: str = "", merchant: int = 1
    ) -> SealedFacts:
        """What `services.collector.registry.registrations` seals, without the parts."""
        number = len(self.sealed)
        facts = Facts(
            event_id=f"urn:goodstrace:registration:{number:032x}",
            event_hash=f"ni:///sha-256;{number:064x}?ver=registration1",
            type="Registration",
            time_us=(1000 + number) * 1000,
            offset="+00:00",
            pipeline="3",
            keys={Role.REGISTERED: tuple(sorted({key_of(key), *([key_of(lot)] if lot else [])}))},
            lot_of={key_of(key): key_of(lot)} if lot else {},
        )
        sealed = self.seal(facts, merchant)
        told = dataclasses.replace(sealed, registration=Registration(what, key_of(key), merchant, content))
        self.sealed[-1] = told
        return told

    def lend(
        self,
        to: int,
        *scopes: str,
        until_ms: int = 10**6,
        uris: Iterable[str] = (),
        merchant: int = 1,
        **more: Any,
    ) -> SealedFacts:
        """A merchant's registration by which it lets another speak for some of its goods."""
        content: dict[str, Any] = {"name": "giver", "uris": [key_of(each) for each in uris], **more}
        content["delegations"] = [{"to": to, "scope": key_of(each), "untilMs": until_ms} for each in scopes]
        return self.register(merchant_key(merchant), content, what="merchant", merchant=merchant)

    def trace(self, name: str, direction: Direction = Direction.HISTORY, **limits: int) -> Trace:
        return drive(trace(Query(key_of(name), direction, **limits)), Source(self.sealed))


def ids(answer: Trace) -> list[str]:
    """The event IDs of an answer, in its order."""
    return [event.facts.event_id for event in answer.events]


def history(answer: Trace, name: str) -> dict[str, str]:
    """The events that count for a key, with how sure, and the path after a slash where there is one."""
    return {
        event.facts.event_id: "/".join([mention.certainty, *map(name_of, mention.path)])
        for event in answer.events
        for mention in event.mentions
        if mention.key == key_of(name)
    }


def levels(answer: Trace, direction: Direction) -> dict[str, int]:
    """The goods met in a direction, with their levels."""
    return {name_of(n.key): n.level for n in answer.nodes if n.direction is direction and n.role == "goods"}


def node(answer: Trace, name: str, direction: Direction | None = None) -> Any:
    found = [n for n in answer.nodes if n.key == key_of(name) and direction in (None, n.direction)]
    assert len(found) == 1, found
    return found[0]


def marks(answer: Trace) -> dict[str, set[str]]:
    """The marks of events by event ID; several events of one ID together."""
    found: dict[str, set[str]] = {}
    for event in answer.events:
        found.setdefault(event.facts.event_id, set()).update(event.marks)
    return {event_id: given for event_id, given in found.items() if given}
