"""The things in an event that rules are about, each with the values that an expression may read. Pure.

Numbers are IEEE 754 doubles, times whole microseconds since 1970 in UTC, terms of the standard vocabularies their bare words.
A value that the event does not have is not there: a rule that reads it is not about such a thing.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, get_args

from goodstrace.facts import Facts, Role, Typed
from goodstrace.temperatures import Range, celsius, double
from goodstrace.tracing.events import grade
from goodstrace.vocabulary import Kind, term
from services.collector.record import canonical_key
from services.collector.rules import stated
from services.collector.rules.stated import Place
from services.collector.times import parse_time

About = Literal["event", "report", "sensor", "quantity", "date"]
ABOUT: Final[tuple[About, ...]] = get_args(About)
Values = dict[str, Any]
_SENSORS: Final = "sensorElementList"
_QUANTITY_LISTS: Final = ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList")
_REPORT_NUMBERS: Final = ("value", "minValue", "maxValue", "meanValue", "sDev", "percRank", "percValue")
_REPORT_TEXTS: Final = ("uom", "stringValue", "uriValue", "microorganism", "chemicalSubstance", "deviceID")
_REPORT_TERMS: Final[tuple[tuple[str, Kind], ...]] = (
    ("type", "measurement"),
    ("exception", "alert"),
    ("component", "component"),
)
_PERCENT: Final = "P1"
_SENSOR_TIMES: Final = ("time", "startTime", "endTime")
_SENSOR_TEXTS: Final = ("deviceID", "bizRules", "dataProcessingMethod")

ALWAYS: Final[Values] = {
    "event_type": "ObjectEvent",
    "action": "OBSERVE",
    "step": "logistics",
    "business_step": "shipping",
    "disposition": "in_transit",
    "read_point": "https://id.gs1.org/414/9524321000019",
    "business_location": "https://id.gs1.org/414/9524321000019",
    "event_time": 1_767_323_045_678_000,
    "record_time": 1_767_323_046_000_000,
    "declared_time": 1_767_323_045_678_000,
    "event": {},
}
"""What every expression may read, each with an example: `event` is the event as captured."""
OF: Final[Mapping[About, Values]] = {
    "event": {"shared": ["https://id.gs1.org/00/095243210000000019"]},
    "report": {
        **dict.fromkeys(_REPORT_NUMBERS, 4.0),
        **dict.fromkeys(_REPORT_TEXTS, "CEL"),
        "type": "Temperature",
        "exception": "ALARM_CONDITION",
        "component": "x",
        "booleanValue": True,
        "lowest": 4.0,
        "highest": 4.0,
        "lowest_celsius": 4.0,
        "highest_celsius": 4.0,
        "lowest_humidity": 40.0,
        "highest_humidity": 60.0,
        "storage_low_celsius": 2.0,
        "storage_high_celsius": 8.0,
        "storage_low_registered": "https://id.gs1.org/01/09524321012340",
        "storage_high_registered": "https://id.gs1.org/01/09524321012340",
    },
    "sensor": {
        **dict.fromkeys(_SENSOR_TIMES, 1_767_323_045_678_000),
        **dict.fromkeys(_SENSOR_TEXTS, "https://id.gs1.org/8004/9524321000001"),
    },
    "quantity": {
        "quantity": 2.0, "whole": True, "uom": "KGM", "grade": "lot", "key": "https://id.gs1.org/01/09524321012340/10/A",
        "list": "quantityList",
    },
    "date": {"meaning": stated.EXPIRY, "end": 1_767_323_045_678_000, "written": "2026-01-01"},
}  # fmt: skip
"""What an expression about a thing may read besides, each with an example."""
REGISTERED: Final[Mapping[str, str]] = {
    "storage_low_celsius": "storage_low_registered",
    "storage_high_celsius": "storage_high_registered",
}
"""Values that may stem from a registration, and the value that then says of which goods."""


class Subject:
    """One event as rules see it."""

    def __init__(
        self, event: dict[str, Any], facts: Facts, step: str, record_time_ms: int, *, queries: bool
    ) -> None:
        """Hold an event; `queries`: links in it may have a query."""
        self.event = event
        self.facts = facts
        self.queries = queries
        self._step = step
        self._record_time_ms = record_time_ms

    @property
    def names(self) -> frozenset[str]:
        """The names of what every expression may read of this event."""
        return _NAMES if self.facts.correction is None else _NAMES_OF_CORRECTION

    @cached_property
    def always(self) -> Values:
        """What every expression may read, but for `event`."""
        facts = self.facts
        values: Values = {
            "event_type": facts.type,
            "action": facts.action,
            "step": self._step,
            "business_step": facts.business_step,
            "disposition": facts.disposition,
            "read_point": facts.read_point,
            "business_location": facts.business_location,
            "event_time": facts.time_us,
            "record_time": self._record_time_ms * 1000,
        }
        if facts.correction is not None:
            values["declared_time"] = facts.correction.time_us
        return values

    @cached_property
    def whole(self) -> Any:
        """The event as captured, its numbers as doubles."""
        return _doubles(self.event)

    def shared(self, one: str, other: str) -> list[str]:
        """List what two collections of the event have in common, sorted."""
        first, second = COLLECTIONS[one].of(self), COLLECTIONS[other].of(self)
        if not first or not second or set(first).isdisjoint(second):
            return []
        return sorted(
            {str(each.key if isinstance(each, Typed) else each) for each in set(first).intersection(second)}
        )

    def things(self, about: About) -> Iterator[tuple[Place, Values]]:
        """List the things that rules of a kind are about: place and own values of each."""
        return _THINGS[about](self)


_NAMES_OF_CORRECTION: Final = frozenset(ALWAYS)
_NAMES: Final = _NAMES_OF_CORRECTION - {"declared_time"}


def _reports(subject: Subject) -> Iterator[tuple[Place, Values]]:
    limits = _limits(subject)
    for index, element in enumerate(subject.event.get(_SENSORS, ())):
        for number, report in enumerate(element["sensorReport"]):
            yield (_SENSORS, index, "sensorReport", number), {**_report(report), **limits}


def _limits(subject: Subject) -> Values:
    """Say between which temperatures the goods are to be kept, and which of the two limits stems from a registration."""
    states = subject.queries or stated.ILMD in subject.event
    own = stated.storage_range(subject.event) if states else Range()
    limits = stated.narrowest(own, subject.facts.registered_range)
    values: Values = {}
    for side, limit in (("low", limits.low), ("high", limits.high)):
        if limit is not None:
            values[f"storage_{side}_celsius"] = limit.celsius
            if limit.registered:
                values[f"storage_{side}_registered"] = limit.registered
    return values


def _report(report: Mapping[str, Any]) -> Values:
    values: Values = {name: report[name] for name in _REPORT_TEXTS if name in report}
    for name in _REPORT_NUMBERS:
        if name in report and (number := double(report[name])) is not None:
            values[name] = number
    for name, kind in _REPORT_TERMS:
        if name in report:
            values[name] = term(kind, report[name]) or report[name]
    if "booleanValue" in report:
        values["booleanValue"] = report["booleanValue"] in (True, "true")
    measured = [values[name] for name in ("value", "minValue", "maxValue", "meanValue") if name in values]
    if measured:
        values["lowest"], values["highest"] = min(measured), max(measured)
        _add_converted(values)
    return values


def _add_converted(values: Values) -> None:
    """Add what was measured in a unit that rules need not ask for."""
    measured, unit = values.get("type"), values.get("uom", "")
    if measured == "Temperature":
        lowest, highest = celsius(values["lowest"], unit), celsius(values["highest"], unit)
        if lowest is not None:
            values["lowest_celsius"], values["highest_celsius"] = lowest, highest
    elif measured == "RelativeHumidity" and unit == _PERCENT:
        values["lowest_humidity"], values["highest_humidity"] = values["lowest"], values["highest"]


def _sensors(subject: Subject) -> Iterator[tuple[Place, Values]]:
    for index, element in enumerate(subject.event.get(_SENSORS, ())):
        metadata = element.get("sensorMetadata")
        if not metadata:
            continue
        values: Values = {name: metadata[name] for name in _SENSOR_TEXTS if name in metadata}
        for name in _SENSOR_TIMES:
            moment = parse_time(metadata[name], subject.facts.offset) if name in metadata else None
            if moment is not None:
                values[name] = moment
        yield (_SENSORS, index, "sensorMetadata"), values


def _quantities(subject: Subject) -> Iterator[tuple[Place, Values]]:
    for name in _QUANTITY_LISTS:
        for index, element in enumerate(subject.event.get(name, ())):
            number = element.get("quantity")
            value = double(number)
            if value is not None:
                key = canonical_key(element["epcClass"])
                yield (
                    (name, index),
                    {
                        "quantity": value,
                        "whole": _is_whole(number),
                        "uom": element.get("uom", ""),
                        "grade": str(grade(key)),
                        "key": key,
                        "list": name,
                    },
                )


def _dates(subject: Subject) -> Iterator[tuple[Place, Values]]:
    for found in stated.dates(subject.event):
        yield found.at, {"meaning": found.meaning, "end": found.end_us, "written": found.written}


def _is_whole(number: float | Decimal) -> bool:
    """Say whether a number as written is a whole one; where a double would round it to one it is none."""
    return number % 1 == 0 if isinstance(number, float) else number == int(number)


def _doubles(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _doubles(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_doubles(member) for member in value]
    return value if isinstance(value, (bool, str)) or value is None else double(value)


_THINGS: Final[Mapping[About, Callable[[Subject], Iterator[tuple[Place, Values]]]]] = {
    "event": lambda _: iter((((), {}),)),
    "report": _reports,
    "sensor": _sensors,
    "quantity": _quantities,
    "date": _dates,
}
MEMBERS: Final = {"declared_time": "errorDeclaration"}
"""Members of an event without which it has no such value."""
TRIGGERS: Final[Mapping[About, tuple[str, ...]]] = {
    "event": (),
    "report": (_SENSORS,),
    "sensor": (_SENSORS,),
    "quantity": _QUANTITY_LISTS,
    "date": (stated.ILMD,),
}
"""Members of an event without which it has no such things; dates may stand in the queries of links too."""


class Collected(NamedTuple):
    """Something that an event lists; `member` is the one without which it lists nothing."""

    member: str
    of: Callable[[Subject], Collection[Hashable]]


def _identified(role: str) -> Callable[[Subject], Collection[Hashable]]:
    """Keys of a role that stand in a list of EPCs, not with a quantity: of a lot, both may be some."""

    def keys(subject: Subject) -> Collection[Hashable]:
        found = subject.facts.keys.get(role, ())
        counted = {each.key for each in subject.facts.quantities.get(role, ())}
        return [key for key in found if key not in counted] if counted else found

    return keys


def _dispositions(name: str) -> Callable[[Subject], Collection[Hashable]]:
    def words(subject: Subject) -> Collection[Hashable]:
        listed = subject.event.get("persistentDisposition", {}).get(name, ())
        return [term("disp", word) or word for word in listed]

    return words


COLLECTIONS: Final[Mapping[str, Collected]] = {
    "parents": Collected("parentID", lambda subject: subject.facts.keys.get(Role.PARENT, ())),
    "children": Collected("parentID", lambda subject: subject.facts.keys.get(Role.CHILD, ())),
    "inputs": Collected("inputEPCList", _identified(Role.INPUT)),
    "outputs": Collected("outputEPCList", _identified(Role.OUTPUT)),
    "sources": Collected("sourceList", lambda subject: subject.facts.sources),
    "destinations": Collected("destinationList", lambda subject: subject.facts.destinations),
    "set": Collected("persistentDisposition", _dispositions("set")),
    "unset": Collected("persistentDisposition", _dispositions("unset")),
}
"""What `when.shared` may name: keys, sources and destinations with their types, persistent dispositions."""
