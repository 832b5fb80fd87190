"""Little supply chains written as lines, for the examples of docs/tracing-examples.md: `3 pack case: item`."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from goodstrace.facts import Correction, Facts, Quantity, Role, Typed
from goodstrace.identifiers import Grade, grade
from goodstrace.registration import TYPE, Registration, merchant_key
from goodstrace.tracing import Lookup, NameKind, SealedFacts
from goodstrace.tracing.events import names

_FORMS = {
    "lot": "urn:gdst:test:product:lot:class:maker.thing.",
    "class": "urn:gdst:test:product:class:maker.",
    "place": "urn:gdst:test:location:loc:maker.",
    "item": "https://id.gs1.org/01/09521234543213/21/",
}
_MOVES = {
    "pack": ("AggregationEvent", "ADD"),
    "unpack": ("AggregationEvent", "DELETE"),
    "seen-in": ("AggregationEvent", "OBSERVE"),
    "attach": ("AssociationEvent", "ADD"),
    "detach": ("AssociationEvent", "DELETE"),
}


def key_of(name: str) -> str:
    """Give the key of a readable name such as `lot:x`."""
    form, _, rest = name.partition(":")
    return _FORMS[form] + rest if form in _FORMS else name


def name_of(key: str) -> str:
    """Give the readable name of a key."""
    for form, start in _FORMS.items():
        if key.startswith(start):
            return f"{form}:{key.removeprefix(start)}"
    return key


def sealed_of(lines: Iterable[str]) -> list[SealedFacts]:
    """Seal the events of lines, in their order.

    A line is `<time> <what> <goods>`, with `@<number>` before it for another merchant than 1; the verbs are those of the examples.
    Quantities are written `lot:x*5`. `wrong <n>` corrects the event of line n, from 1; `again <n>` seals it once more; `as=<ID>` gives an
    event that ID.
    """
    sealed: list[SealedFacts] = []
    for number, line in enumerate(lines):
        merchant, rest = 1, line
        if line.startswith("@"):
            who, _, rest = line.partition(" ")
            merchant = int(who[1:])
        facts, told = _facts(rest, f"e{number + 1}", sealed)
        if told is not None:
            told = msgspec.structs.replace(told, merchant=merchant)
        sealed.append(SealedFacts("goods/0", number, merchant, 1000 + number, facts, told))
    return sealed


def source_of(sealed: Iterable[SealedFacts]) -> Callable[[Lookup], list[SealedFacts]]:
    """Give a source that has these events."""
    by_name: dict[tuple[NameKind, str], list[SealedFacts]] = {}
    for each in sealed:
        for name in dict.fromkeys(names(each.facts)):
            by_name.setdefault(name, []).append(each)
    return lambda lookup: [each for name in lookup.names for each in by_name.get(name, ())[: lookup.limit]]


def _facts(line: str, event_id: str, before: list[SealedFacts]) -> tuple[Facts, Registration | None]:
    time, verb, *words = line.replace(":", " :").replace(" : ", ": ").replace(" :", ":").split()
    if verb == "again":
        return before[int(words[0]) - 1].facts, None
    own = next((each.removeprefix("as=") for each in words if each.startswith("as=")), event_id)
    words = [each for each in words if not each.startswith("as=")]
    if verb == "wrong":
        wrong = before[int(words[0]) - 1].facts
        return msgspec.structs.replace(wrong, correction=Correction(_hash(line), int(time))), None
    if verb in ("register", "lend"):
        return _registered(int(time), verb, words, event_id)
    kind, action, keys, more = _read(verb, words)
    quantities = {
        role: tuple(_amount(each) for each in texts if "*" in each or _is_counted(each))
        for role, texts in keys.items()
    }
    return (
        Facts(
            event_id=own,
            event_hash=_hash(f"{event_id} {line}"),
            type=kind,
            time_us=int(time),
            offset="+00:00",
            pipeline="3",
            action=action,
            keys={
                _role(role, texts): tuple(sorted({_amount(each).key for each in texts}))
                for role, texts in keys.items()
                if texts
            },
            quantities={_role(role, keys[role]): listed for role, listed in quantities.items() if listed},
            **more,
        ),
        None,
    )


def _read(verb: str, words: list[str]) -> tuple[str, str, dict[str, list[str]], dict[str, Any]]:
    """Give type, action, texts by role and further fields of an event."""
    if verb in _MOVES:
        kind, action = _MOVES[verb]
        return kind, action, {Role.PARENT: [words[0].rstrip(":")], Role.CHILD: words[1:]}, {}
    if verb == "make":
        shared = [each.partition("=")[2] for each in words if each.startswith("id=")]
        goods = [each for each in words if not each.startswith("id=")]
        middle = goods.index("->")
        keys = {Role.INPUT: goods[:middle], Role.OUTPUT: goods[middle + 1 :]}
        return "TransformationEvent", "", keys, {"transformation": shared[0]} if shared else {}
    if verb in ("order", "order-off"):
        order, goods = words[0].rstrip(":"), words[1:]
        keys = {Role.EPC: goods, Role.TRANSACTION: [order]}
        action = "ADD" if verb == "order" else "DELETE"
        return "TransactionEvent", action, keys, {"transactions": (Typed(order, "po"),)}
    if verb == "made":
        middle = words.index("of")
        lots = {key_of(each): key_of(words[middle + 1]) for each in words[:middle]}
        return "ObjectEvent", "ADD", {Role.EPC: words[:middle]}, {"lot_of": lots}
    action = "DELETE" if verb == "end" else "OBSERVE"
    return "ObjectEvent", action, {Role.EPC: words}, {"sensor_reports": 1} if verb == "sense" else {}


def _registered(time: int, verb: str, words: list[str], event_id: str) -> tuple[Facts, Registration]:
    if verb == "register":
        key, lot = key_of(words[0]), key_of(words[2])
        told, keys, lots = Registration("goods", key, 1, {}), {key, lot}, {key: lot}
    else:
        key = merchant_key(1)
        scopes = [key_of(each) for each in words[1:]]
        to = int(words[0].rstrip(":"))
        content = {
            "uris": scopes,
            "delegations": [{"to": to, "scope": each, "untilMs": 10**6} for each in scopes],
        }
        told, keys, lots = Registration("merchant", key, 1, content), {key}, {}
    registered = {Role.REGISTERED: tuple(sorted(keys))}
    return Facts(event_id, _hash(event_id), TYPE, time, "+00:00", "3", keys=registered, lot_of=lots), told


def _role(role: str, texts: list[str]) -> str:
    if role != Role.EPC or not texts:
        return role
    kind = grade(_amount(texts[0]).key)
    return {Grade.LOT: Role.LOT, Grade.CLASS: Role.CLASS}.get(kind, role)


def _is_counted(text: str) -> bool:
    return grade(key_of(text)) in (Grade.LOT, Grade.CLASS)


def _amount(text: str) -> Quantity:
    name, _, number = text.partition("*")
    return Quantity(key_of(name), number)


def _hash(text: str) -> str:
    return f"ni:///sha-256;{hashlib.sha256(text.encode()).hexdigest()}?ver=CBV2.0"
