"""Which events a query means, told from their facts, and by which tags they can be found. Pure.

Identifiers are compared by their canonical keys and vocabulary by its bare words, so that every spelling of one thing is
found. Source: EPCIS 2.0 section 8.2.7.1.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from goodstrace.entry import TagKind, tag
from goodstrace.facts import Facts, Role, Typed
from services.query.epcis_parameters import EventsQuery, is_indexed, typed_name

_GOODS: Final = (Role.EPC, Role.LOT, Role.CLASS, Role.CHILD)
_INSTANCE_ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "MATCH_epc": _GOODS,
    "MATCH_parentID": (Role.PARENT,),
    "MATCH_inputEPC": (Role.INPUT,),
    "MATCH_outputEPC": (Role.OUTPUT,),
    "MATCH_anyEPC": (*_GOODS, Role.PARENT, Role.INPUT, Role.OUTPUT),
}
_CLASS_ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "MATCH_epcClass": _GOODS,
    "MATCH_inputEPCClass": (Role.INPUT,),
    "MATCH_outputEPCClass": (Role.OUTPUT,),
    "MATCH_anyEPCClass": (*_GOODS, Role.INPUT, Role.OUTPUT),
}
_FIELDS: Final[Mapping[str, Callable[[Facts], tuple[str, ...]]]] = {
    "eventType": lambda facts: (facts.type,),
    "EQ_action": lambda facts: (facts.action,),
    "EQ_bizStep": lambda facts: (facts.business_step,),
    "EQ_disposition": lambda facts: (facts.disposition,),
    "EQ_readPoint": lambda facts: (facts.read_point,),
    "EQ_bizLocation": lambda facts: (facts.business_location,),
    "EQ_transformationID": lambda facts: (facts.transformation,),
    "EQ_eventID": lambda facts: (facts.event_id, facts.event_hash),
    "EQ_errorReason": lambda facts: (facts.correction.reason,) if facts.correction else (),
    "EQ_correctiveEventID": lambda facts: facts.correction.corrective_ids if facts.correction else (),
}
_TYPED: Final[Mapping[str, Callable[[Facts], tuple[Typed, ...]]]] = {
    "EQ_bizTransaction_": lambda facts: facts.transactions,
    "EQ_source_": lambda facts: facts.sources,
    "EQ_destination_": lambda facts: facts.destinations,
}
_TAG_KINDS: Final[Mapping[str, TagKind]] = {
    "EQ_eventID": TagKind.EVENT_ID,
    "EQ_transformationID": TagKind.TRANSFORMATION,
}
_MICROSECONDS: Final = 1000  # in a millisecond


def matches(query: EventsQuery, facts: Facts, record_ms: int) -> bool:
    """Tell whether an event is one that the query means.

    Args:
        query: what is asked.
        facts: of the event.
        record_ms: its record time, Unix milliseconds.
    """
    if query.corrections_only and facts.correction is None:
        return False
    if not all(_within(name, bound, facts, record_ms) for name, bound in query.times.items()):
        return False
    return all(_has_one(name, values, facts) for name, values in query.lists.items())


def tags(query: EventsQuery, secret: bytes) -> list[bytes]:
    """Give the tags one of which every event meant has: those of the parameter with the fewest values; none: no index."""
    indexed = [name for name in query.lists if is_indexed(name)]
    if not indexed:
        return []
    name = min(indexed, key=lambda each: (len(query.lists[each]), _rank(each), each))
    kind = TagKind.ORDER if name.startswith("EQ_bizTransaction_") else _TAG_KINDS.get(name, TagKind.KEY)
    return [tag(secret, kind, value) for value in query.lists[name]]


def names(query: EventsQuery) -> tuple[str, ...]:
    """Give the keys and IDs that are asked for: what the browse record names, sorted and distinct."""
    return tuple(
        sorted({each for name, values in query.lists.items() if is_indexed(name) for each in values})
    )


def _rank(name: str) -> int:
    """Say how many events have one value, at a guess: IDs name few, places very many."""
    if name in _TAG_KINDS:
        return 0
    return 2 if name in ("EQ_readPoint", "EQ_bizLocation") else 1


def _within(name: str, bound: int, facts: Facts, record_ms: int) -> bool:
    if name.endswith("_eventTime"):
        time_us = facts.time_us
    elif name.endswith("_recordTime"):
        time_us = record_ms * _MICROSECONDS
    elif facts.correction is not None:
        time_us = facts.correction.time_us
    else:
        return False
    return time_us >= bound if name.startswith("GE_") else time_us < bound


def _has_one(name: str, wanted: Iterable[str], facts: Facts) -> bool:
    if name in _FIELDS:
        return not set(wanted).isdisjoint(_FIELDS[name](facts))
    if name in _INSTANCE_ROLES:
        return any(not set(wanted).isdisjoint(instances(facts, role)) for role in _INSTANCE_ROLES[name])
    if name in _CLASS_ROLES:
        return any(not set(wanted).isdisjoint(_classes(facts, role)) for role in _CLASS_ROLES[name])
    typed = typed_name(name)
    assert typed is not None
    return any(each.type == typed[1] and each.key in wanted for each in _TYPED[typed[0]](facts))


def instances(facts: Facts, role: str) -> set[str]:
    """Give the keys of a role that the event names one by one, not by quantity."""
    return set(facts.keys.get(role, ())) - _classes(facts, role)


def _classes(facts: Facts, role: str) -> set[str]:
    return {amount.key for amount in facts.quantities.get(role, ())}
