"""What named queries and subscriptions ask, read from JSON strictly: every member known or refused by its name. Pure.

Source: EPCIS 2.0 section 12 (queries and subscriptions over REST), with members of ours for what a stream is filtered by.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from goodstrace.entry import TagKind, tag
from goodstrace.errors import FilterError
from goodstrace.event_filter import EventFilter, event_filter
from services.query import epcis_matching
from services.query.epcis_parameters import EventsQuery, query_of
from services.query.epcis_problems import ParameterError
from services.query.forward import Seen
from services.query.webhooks.signing import SECRET_FIELD, read_secret
from services.query.webhooks.values import Sees

MAX_BODY_BYTES: Final = 64 * 1024
BEGINNING: Final = "1970-01-01T00:00:00Z"
"""The `initialRecordTime` with which a subscription begins with the first entry of every log."""
SEES_FIELD: Final = "goodstrace:sees"
_NAME: Final = re.compile(r"[A-Za-z0-9._~-]{1,64}", re.ASCII)
_OURS: Final[Mapping[str, str]] = {
    "goodstrace:key": "keys",
    "goodstrace:merchant": "merchants",
    "goodstrace:step": "steps",
    "goodstrace:prefix": "prefixes",
}
_EVENT: Final = "event"


class NamedQuery(msgspec.Struct, frozen=True):
    """A query under a name: `query` is the JSON object as it was given."""

    name: str
    query: dict[str, Any]


class NewSubscription(msgspec.Struct, frozen=True):
    """A subscription asked for: `secret` is None where we shall make one. from_beginning: else it begins with what is new. sees: what is sent."""

    dest: str
    secret: bytes | None
    from_beginning: bool
    sees: Sees


class Wanted(msgspec.Struct, frozen=True):
    """What a webhook is for, as the logs are read for it: the standard's parameters and our filters together."""

    events: EventsQuery
    filter: EventFilter
    secret: bytes

    def tags(self) -> Sequence[bytes]:
        """Give the tags of the keys, else of the parameter that has the fewest values."""
        keys = [tag(self.secret, TagKind.KEY, key) for key in self.filter.keys]
        return keys or epcis_matching.tags(self.events, self.secret)

    def wants(self, seen: Seen) -> bool:
        """Say whether an event is meant, and can be shown: content and facts are there."""
        return (
            seen.facts is not None
            and any(part.name == _EVENT for part in seen.record.parts)
            and self.filter.matches(seen.entry.merchant, seen.facts)
            and epcis_matching.matches(self.events, seen.facts, seen.entry.time)
        )

    def names(self) -> tuple[str, ...]:
        """Give the keys and IDs that are asked for: what browse records name."""
        return tuple(sorted({*self.filter.keys, *epcis_matching.names(self.events)}))


def read_query(body: bytes) -> NamedQuery:
    """Read a query definition. Raises: ParameterError, TooComplexError."""
    members = _object(body)
    name, query = members.pop("name", None), members.pop("query", None)
    _refuse_others(members)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ParameterError("1 to 64 letters, digits or -._~ please", "name")
    if not isinstance(query, dict):
        raise ParameterError("a JSON object, please", "query")
    wanted_of(query, b"")
    return NamedQuery(name, query)


def wanted_of(query: Mapping[str, Any], secret: bytes) -> Wanted:
    """Read what a query means for a subscription.

    Args:
        query: of a query definition.
        secret: the index secret, by which tags are derived.
    Raises: ParameterError, TooComplexError; also for what orders or counts events, of which a stream has no end.
    """
    events = query_of({name: value for name, value in query.items() if name not in _OURS})
    if events.order or events.count_limit or events.most_events:
        raise ParameterError("not in a named query: its subscriptions have no end", "orderBy")
    given = {_OURS[name]: _listed(query[name]) for name in query if name in _OURS}
    try:
        return Wanted(events, event_filter(**given), secret)
    except FilterError as error:
        field = next(name for name, own in _OURS.items() if own == error.field)
        raise ParameterError(error.problem, field) from error


def read_subscription(body: bytes) -> NewSubscription:
    """Read a subscription. Raises: ParameterError naming the member that is wrong, or not supported."""
    members = _object(body)
    dest, secret = members.pop("dest", None), _secret(members)
    start, sees = members.pop("initialRecordTime", None), members.pop(SEES_FIELD, Sees.PUBLIC.value)
    if members.pop("stream", True) is not True or "schedule" in members:
        raise ParameterError("events are sent as they are published: there are no schedules", "schedule")
    if members.pop("reportIfEmpty", False) is not False:
        raise ParameterError("nothing is sent where there is nothing", "reportIfEmpty")
    _refuse_others(members)
    if not isinstance(dest, str):
        raise ParameterError("where to send to, please", "dest")
    if start not in (None, BEGINNING):
        raise ParameterError(
            f"{BEGINNING} for all that is sealed, or nothing for what is new", "initialRecordTime"
        )
    if sees not in tuple(Sees):
        raise ParameterError("public, or owner for what its owner may see", SEES_FIELD)
    return NewSubscription(dest, secret, start is not None, Sees(sees))


def read_resumption(body: bytes) -> bytes | None:
    """Read what is said when a subscription is resumed: nothing, or an object with the secret that it is to have. Raises: ParameterError."""
    members = _object(body) if body else {}
    secret = _secret(members)
    _refuse_others(members)
    return secret


def _secret(members: dict[str, Any]) -> bytes | None:
    """Take the secret out of members; None where there is none."""
    token = members.pop(SECRET_FIELD, None)
    if token is not None and not isinstance(token, str):
        raise ParameterError("a text, please", SECRET_FIELD)
    return read_secret(token) if token is not None else None


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ParameterError("a JSON object, please", "the body") from error


def _refuse_others(members: Mapping[str, Any]) -> None:
    for name in members:
        raise ParameterError("it is unknown, or not supported here", name[:64])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
