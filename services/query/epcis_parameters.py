"""What an EPCIS query asks: the query string read strictly, every parameter known or refused by its name. Pure.

Source: EPCIS 2.0 sections 8.2.7.1 (SimpleEventQuery) and 12 (REST binding, lists separated by `|`).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import unquote_plus

import msgspec

from goodstrace.identifiers import canonical_key
from goodstrace.vocabulary import Kind, term
from services.query.epcis_problems import ParameterError, TooComplexError, TooLongError
from services.runtime.call_limits import MAX_KEY_CHARS, MAX_PAGE_SIZE

MAX_QUERY_BYTES: Final = 32 * 1024
MAX_VALUES: Final = 100
DEFAULT_PER_PAGE: Final = 30
MAX_COUNT: Final = 2**31 - 1
PER_PAGE: Final = "perPage"
NEXT_PAGE_TOKEN: Final = "nextPageToken"  # noqa: S105 - a parameter's name
EVENT_TYPES: Final = (
    "AggregationEvent",
    "AssociationEvent",
    "ObjectEvent",
    "TransactionEvent",
    "TransformationEvent",
)
ACTIONS: Final = ("ADD", "OBSERVE", "DELETE")

EPC_PARAMETERS: Final = ("MATCH_epc", "MATCH_parentID", "MATCH_inputEPC", "MATCH_outputEPC", "MATCH_anyEPC")
CLASS_PARAMETERS: Final = (
    "MATCH_epcClass",
    "MATCH_inputEPCClass",
    "MATCH_outputEPCClass",
    "MATCH_anyEPCClass",
)
PLACE_PARAMETERS: Final = ("EQ_readPoint", "EQ_bizLocation")
TYPED_PARAMETERS: Final = ("EQ_bizTransaction_", "EQ_source_", "EQ_destination_")
"""Beginnings of the parameters whose name ends with a type of the Core Business Vocabulary, or a URI."""
_TYPE_KINDS: Final[Mapping[str, Kind]] = {
    "EQ_bizTransaction_": "btt",
    "EQ_source_": "sdt",
    "EQ_destination_": "sdt",
}
_ID_PARAMETERS: Final = ("EQ_eventID", "EQ_transformationID", "EQ_correctiveEventID")
_TERM_PARAMETERS: Final[Mapping[str, Kind]] = {
    "EQ_bizStep": "bizstep",
    "EQ_disposition": "disp",
    "EQ_errorReason": "er",
}
_WORD_PARAMETERS: Final[Mapping[str, Sequence[str]]] = {"eventType": EVENT_TYPES, "EQ_action": ACTIONS}
TIME_PARAMETERS: Final = (
    "GE_eventTime",
    "LT_eventTime",
    "GE_recordTime",
    "LT_recordTime",
    "GE_errorDeclarationTime",
    "LT_errorDeclarationTime",
)
EXISTS_CORRECTION: Final = "EXISTS_errorDeclaration"
ORDERS: Final = ("eventTime", "recordTime")
DIRECTIONS: Final = ("ASC", "DESC")
INDEXED: Final = (
    "EQ_eventID",
    "EQ_transformationID",
    *EPC_PARAMETERS,
    *CLASS_PARAMETERS,
    "EQ_bizTransaction_<type>",
    "EQ_source_<type>",
    "EQ_destination_<type>",
    *PLACE_PARAMETERS,
)
"""The parameters by which events are found without reading others."""

_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_PATTERN: Final = "urn:epc:idpat:"


class EventsQuery(msgspec.Struct, frozen=True):
    """What the events of an answer must be: every member of every mapping holds.

    lists: by the parameter's name the values of which one must match: keys canonical, vocabulary as bare words.
    times: by name, Unix microseconds UTC. corrections_only: events with an errorDeclaration only.
    order: "", "eventTime" or "recordTime"; `descending` counts with it. count_limit, most_events: 0 for none.
    """

    lists: dict[str, tuple[str, ...]]
    times: dict[str, int]
    corrections_only: bool = False
    order: str = ""
    descending: bool = True
    count_limit: int = 0
    most_events: int = 0

    def encode(self) -> bytes:
        """Give the bytes that page tokens are bound to."""
        return msgspec.json.encode(("events", self), order="sorted")


class Asked(msgspec.Struct, frozen=True):
    """One request for a page of events: `token` is empty for the first page, `per_page` 1 to 1000."""

    query: EventsQuery
    per_page: int
    token: str


def pairs(query_string: bytes) -> dict[str, str]:
    """Read a query string (application/x-www-form-urlencoded), each parameter once.

    Raises: TooLongError over 32 KiB; ParameterError where a parameter is there twice, has no value or is no UTF-8.
    """
    if len(query_string) > MAX_QUERY_BYTES:
        raise TooLongError(
            f"the query string is over {MAX_QUERY_BYTES} bytes: ask for fewer values at a time"
        )
    found: dict[str, str] = {}
    for each in filter(None, query_string.decode("latin-1").split("&")):
        raw_name, _, raw_value = each.partition("=")
        name, value = _text(raw_name, "the query string"), _text(raw_value, raw_name[:64])
        if name in found:
            raise ParameterError("it is there twice: separate several values by |", _shown(name))
        if not value:
            raise ParameterError("it has no value", _shown(name))
        found[name] = value
    return found


def asked(parameters: Mapping[str, str], of_path: Mapping[str, str]) -> Asked:
    """Read a request for events.

    Args:
        parameters: as `pairs` gives them.
        of_path: the parameter that the path stands for, by name, with its one value: a `|` in it separates nothing.
    Raises: ParameterError naming the first parameter that is unknown, not supported, or not as it must be.
    """
    reading = _Reading()
    for name, value in of_path.items():
        if name in parameters:
            raise ParameterError("the path says it already", name)
        reading.add_list(name, [value])
    for name, value in parameters.items():
        reading.add(name, value)
    return Asked(reading.query(), reading.per_page, reading.token)


def query_of(members: Mapping[str, object]) -> EventsQuery:
    """Read the query of a query definition, a JSON object: lists are arrays of texts or one text, all else is one text.

    Raises: ParameterError naming the first member that is unknown, not supported, or not as it must be; TooComplexError.
    """
    reading = _Reading()
    for name, value in members.items():
        if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
            reading.add_list(name, value)
        elif name in (PER_PAGE, NEXT_PAGE_TOKEN):
            raise ParameterError("it is no part of a query: say it when the query is run", name)
        elif isinstance(value, bool | int):
            reading.add(name, str(value).lower())
        elif isinstance(value, str) and value:
            reading.add(name, value)
        else:
            raise ParameterError("a text or an array of texts, please", _shown(name))
    return reading.query()


def page_only(parameters: Mapping[str, str]) -> tuple[int, str]:
    """Read a request for a list of values: how many a page, and the token. Raises: ParameterError."""
    reading = _Reading()
    for name, value in parameters.items():
        if name not in (PER_PAGE, NEXT_PAGE_TOKEN):
            raise ParameterError(f"lists of values take {PER_PAGE} and {NEXT_PAGE_TOKEN} only", _shown(name))
        reading.add(name, value)
    return reading.per_page, reading.token


def typed_name(name: str) -> tuple[str, str] | None:
    """Take the name of a typed parameter apart: its beginning and its type; None where it is none."""
    beginning = next((each for each in TYPED_PARAMETERS if name.startswith(each)), None)
    return (beginning, name[len(beginning) :]) if beginning and name != beginning else None


class _Reading:
    """Gathers the parameters of one request."""

    def __init__(self) -> None:
        self.per_page, self.token = DEFAULT_PER_PAGE, ""
        self._lists: dict[str, tuple[str, ...]] = {}
        self._times: dict[str, int] = {}
        self._words: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._corrections_only = False

    def add(self, name: str, value: str) -> None:
        if name == NEXT_PAGE_TOKEN:
            self.token = value
        elif name == PER_PAGE:
            self.per_page = min(_count(name, value), MAX_PAGE_SIZE)
        elif name in TIME_PARAMETERS:
            self._times[name] = _time(name, value)
        elif name == EXISTS_CORRECTION:
            self._corrections_only = _one_of(name, value, ("true", "false")) == "true"
        elif name == "orderBy":
            self._words[name] = _one_of(name, value, ORDERS)
        elif name == "orderDirection":
            self._words[name] = _one_of(name, value, DIRECTIONS)
        elif name in ("eventCountLimit", "maxEventCount"):
            self._counts[name] = _count(name, value)
        else:
            self.add_list(name, value.split("|"))

    def add_list(self, name: str, values: Sequence[str]) -> None:
        known, read = _list(name, values)
        if known in self._lists:
            raise ParameterError("it is there twice, in two spellings", _shown(name))
        self._lists[known] = tuple(sorted(set(read)))
        if sum(map(len, self._lists.values())) > MAX_VALUES:
            raise ParameterError(f"more than {MAX_VALUES} values in all", _shown(name))

    def query(self) -> EventsQuery:
        order = self._words.get("orderBy", "")
        limit, most = self._counts.get("eventCountLimit", 0), self._counts.get("maxEventCount", 0)
        if limit and most:
            raise ParameterError("not together with maxEventCount", "eventCountLimit")
        if limit and not order:
            raise ParameterError("only together with orderBy", "eventCountLimit")
        if (order or most) and not any(is_indexed(name) for name in self._lists):
            detail = f"{'orderBy' if order else 'maxEventCount'} is answered together with one of "
            raise TooComplexError(detail + ", ".join(INDEXED))
        return EventsQuery(
            lists=self._lists,
            times=self._times,
            corrections_only=self._corrections_only,
            order=order,
            descending=self._words.get("orderDirection", "DESC") == "DESC",
            count_limit=limit,
            most_events=most,
        )


def is_indexed(name: str) -> bool:
    """Tell whether events are found by a parameter without reading others."""
    return name in INDEXED or typed_name(name) is not None


def _list(name: str, values: Sequence[str]) -> tuple[str, list[str]]:
    """Read a parameter with a list of values; its name too, which may hold a type of the vocabulary."""
    if any(not 0 < len(value) <= MAX_KEY_CHARS for value in values):
        raise ParameterError(f"values of 1 to {MAX_KEY_CHARS} characters, please", _shown(name))
    if name in _WORD_PARAMETERS:
        return name, [_one_of(name, value, _WORD_PARAMETERS[name]) for value in values]
    if name in _TERM_PARAMETERS:
        kind = _TERM_PARAMETERS[name]
        return name, [term(kind, value) or value for value in values]
    if name in _ID_PARAMETERS:
        return name, list(values)
    typed = typed_name(name)
    if typed is not None:
        kind = _TYPE_KINDS[typed[0]]
        return typed[0] + (term(kind, typed[1]) or typed[1]), list(map(canonical_key, values))
    if name in PLACE_PARAMETERS:
        return name, list(map(canonical_key, values))
    if name in EPC_PARAMETERS or name in CLASS_PARAMETERS:
        return name, [_goods(name, value) for value in values]
    raise ParameterError(
        "it is unknown, or not supported here: docs/epcis-queries.md lists those that are", _shown(name)
    )


def _goods(name: str, value: str) -> str:
    """Read an identifier. A pattern that stands for many of them has no tag, and so is not answered."""
    key = canonical_key(value)
    if value.lower().startswith(_PATTERN) and (name in EPC_PARAMETERS or key == value):
        raise ParameterError("patterns are not supported: name the identifiers themselves", name)
    return key


def _one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise ParameterError(f"one of {', '.join(allowed)}, please", name)
    return value


def _count(name: str, value: str) -> int:
    number = int(value) if _NUMBER.fullmatch(value) else 0
    if not 1 <= number <= MAX_COUNT:
        raise ParameterError(f"a whole number of 1 to {MAX_COUNT}, please", name)
    return number


def _time(name: str, value: str) -> int:
    """Read a time with its zone, as Unix microseconds UTC; what is below a microsecond is cut off."""
    try:
        if _TIME.fullmatch(value):
            return (datetime.fromisoformat(value) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        pass
    detail = (
        "a date and time with its zone, such as 2026-01-31T08:00:00Z (a + is written %2B in a URL), please"
    )
    raise ParameterError(detail, name)


def _text(raw: str, name: str) -> str:
    try:
        return unquote_plus(raw, errors="strict")
    except UnicodeDecodeError as error:
        raise ParameterError("not UTF-8, percent-encoded", _shown(name)) from error


def _shown(name: str) -> str:
    """Give a parameter's name as a problem shows it: nobody needs the rest of one that long."""
    return name if len(name) <= 64 else name[:64] + "..."
