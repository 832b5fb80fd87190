"""The event hash of the Core Business Vocabulary 2.0: one name for an event, however it was written.

The hash is SHA-256 over the *pre-hash*, a normalised text of the event. eventID, recordTime and errorDeclaration are
left out, and so are comments. Contexts are never fetched: a prefix counts where the context at hand declares it, or
where it is one of those every EPCIS document has.

Source: CBV 2.0, event hash algorithm, and its reference implementation's published vectors. Where that implementation differs
from the text of the standard, docs/decisions/0006-identifiers.md says what was done.
"""

import hashlib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from goodstrace.errors import GoodstraceError
from goodstrace.hash_fields import EVENT, Field
from goodstrace.identifiers import hash_form
from goodstrace.vocabulary import CURIE_PREFIXES, URN_PREFIXES, Kind, web_uri

__all__ = ["MAX_DEPTH", "EventHashError", "Hasher", "event_hash", "ignored_fields", "pre_hash"]

MAX_DEPTH: Final = 64
"""How deep objects and arrays of an event may lie in one another."""

Context = Sequence[object] | Mapping[str, object] | str | None


class EventHashError(GoodstraceError):
    """The event is no JSON object that can be hashed: wrong types, NaN, lone surrogates, or too deep."""


def event_hash(event: Mapping[str, object], context: Context, *, ignore: Collection[str] = ()) -> str:
    """Return `ni:///sha-256;<hex>?ver=CBV2.0`. Arguments and errors as in `pre_hash`. Source: RFC 6920, CBV 2.0."""
    return Hasher(context, ignore=ignore).event_hash(event)


def pre_hash(event: Mapping[str, object], context: Context, *, ignore: Collection[str] = ()) -> str:
    """Return the normalised text of one event.

    Args:
        event: the event as a JSON decoder gives it: str keys; str, bool, int, float, Decimal, None, list and dict
            values, nested MAX_DEPTH deep at most. The decoder's plain int and float are enough: all numbers count as
            IEEE 754 doubles, and so do texts that look like numbers, as in XML all values do.
        context: the @context that holds for the event, the document's entries first. The event's own @context member
            is applied after it, and is no content.
        ignore: names of members of the event to leave out, see `ignored_fields`.
    Raises: EventHashError.
    """
    return Hasher(context, ignore=ignore).pre_hash(event)


class Hasher:
    """Hashes events that have the same context around them, such as those of one document: what it says is worked out once."""

    def __init__(self, context: Context, *, ignore: Collection[str] = ()) -> None:
        """Hash events in `context`, without the members named in `ignore`: both as in `pre_hash`."""
        self._around = _Scope((CURIE_PREFIXES | _declared(context),), 0)
        self._ignore = ignore

    def event_hash(self, event: Mapping[str, object]) -> str:
        """Return what `event_hash` does of an event. Raises: EventHashError."""
        try:
            text = self.pre_hash(event).encode()
        except UnicodeEncodeError as error:
            raise EventHashError("a string has a lone surrogate") from error
        return f"ni:///sha-256;{hashlib.sha256(text).hexdigest()}?ver=CBV2.0"

    def pre_hash(self, event: Mapping[str, object]) -> str:
        """Return what `pre_hash` does of an event. Raises: EventHashError."""
        if not isinstance(event, Mapping):
            raise EventHashError("an event must be a JSON object")
        scope = self._around.inside(event)
        content = event
        if self._ignore:
            ignored = {scope.name(name) for name in self._ignore}
            content = {key: value for key, value in event.items() if scope.name(key) not in ignored}
        kind = event.get("type")
        kind_text = _text(kind, scope).removeprefix(CURIE_PREFIXES["epcis"]) if isinstance(kind, str) else ""
        written = _ordered(content, EVENT, scope)
        return f"eventType={kind_text}{written.text}" + "".join(sorted(written.extensions + written.rest))


def ignored_fields(holder: Mapping[str, object], context: Context) -> frozenset[str]:
    """Return the member names that a document's (or query result's) `ignoreFields` member lists, for `ignore`.

    It counts in the namespace https://repository-x.example.com/ only, as in the reference implementation. A caller that
    does not trust the sender must not use it: content named there is not covered by the hash.
    """
    scope = _Scope((CURIE_PREFIXES | _declared(context),), 0)
    for key, value in holder.items():
        if scope.name(key) == "{https://repository-x.example.com/}ignoreFields" and isinstance(value, list):
            return frozenset(name for name in value if isinstance(name, str))
    return frozenset()


# ---- names and namespaces


class _Scope(NamedTuple):
    """What holds at one place of the event: the prefixes declared from there outwards, and how deep it lies.

    `declared` has one mapping for each context of the event that declares any, the nearest first, and one for all around it. They are not merged: an event may
    have as many contexts as it has objects, each inside a document's context of any length.
    """

    declared: tuple[Mapping[str, str], ...]
    depth: int

    def with_context(self, context: object) -> "_Scope":
        found = _declared(context)
        return self._replace(declared=(found, *self.declared)) if found else self

    def namespace(self, prefix: str) -> str | None:
        """Return what a prefix stands for here; None where no context declares it."""
        for each in self.declared:
            if prefix in each:
                return each[prefix]
        return None

    def inside(self, value: Mapping[str, object]) -> "_Scope":
        """Return the scope of the members of `value`, one level deeper, with what `value` itself declares."""
        deeper = self.deeper()
        if "@context" in value:
            deeper = deeper.with_context(value["@context"])
        return deeper

    def deeper(self) -> "_Scope":
        if self.depth >= MAX_DEPTH:
            raise EventHashError(f"nested deeper than {MAX_DEPTH}")
        return _Scope(self.declared, self.depth + 1)

    def name(self, key: object) -> str:
        """Return `{namespace}local` for a key with a declared prefix, else the key."""
        if not isinstance(key, str):
            raise EventHashError("a member's name must be a string")
        prefix, colon, local = key.partition(":")
        namespace = self.namespace(prefix) if colon else None
        return key if namespace is None else f"{{{namespace}}}{local}"


def _declared(context: object) -> dict[str, str]:
    """Return the prefixes that a context of any shape declares where it is written out; the last of several counts."""
    found = {}
    for entry in context if isinstance(context, list | tuple) else (context,):
        for prefix, value in entry.items() if isinstance(entry, Mapping) else ():
            iri = value.get("@id") if isinstance(value, Mapping) else value
            if isinstance(prefix, str) and isinstance(iri, str) and prefix[:1] != "@":
                found[prefix] = iri
    return found


# ---- values


def _text(value: object, scope: _Scope, kind: Kind | None = None) -> str:
    """Return the normalised text of a string, number or boolean."""
    if isinstance(value, str):
        return _string(value.strip(), scope, kind)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return _number(value)
    raise EventHashError(f"no JSON value: {type(value).__name__}")


_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


# Products, places and parties come again and again; long texts are not kept, so that memory stays bounded.
_REMEMBERED_CHARS: Final = 200
_remembered_form: Final = lru_cache(maxsize=16_384)(hash_form)


def _string(text: str, scope: _Scope, kind: Kind | None) -> str:
    if text[:1] in "+-.0123456789":
        number = float(text) if text and _NUMBER.fullmatch(text) else math.inf
        return _number(number) if math.isfinite(number) else text
    prefix, colon, local = text.partition(":")
    if not colon:
        return (web_uri(kind, text) or text) if kind else text
    namespace = scope.namespace(prefix)
    if namespace is not None and local[:2] != "//":
        text = namespace + local
    if text.startswith("urn:epcglobal:cbv:"):
        return _web_vocabulary(text)
    return _remembered_form(text) if len(text) <= _REMEMBERED_CHARS else hash_form(text)


def _web_vocabulary(urn: str) -> str:
    for start, web in URN_PREFIXES.items():
        if urn.startswith(start):
            return web + urn[len(start) :]
    return urn


def _number(value: float | Decimal) -> str:
    try:
        number = float(value)
    except OverflowError:
        return str(value)
    if not math.isfinite(number):
        raise EventHashError("a number must be finite")
    return str(int(number)) if number == int(number) else str(number)


_MILLISECOND_DIGITS: Final = 3
_TIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(Z|z|[+-][0-9]{2}:?[0-9]{2})?"
)


def _time(value: object) -> str:
    """Return an xsd:dateTimeStamp in UTC, rounded half up to milliseconds; anything else as it is.

    A time without offset is taken as UTC.
    """
    text = value.strip() if isinstance(value, str) else ""
    match = _TIME.fullmatch(text)
    if match is None or (match[8] == "Z" and len(match[7] or "") == _MILLISECOND_DIGITS):
        return text  # no time, or one that is written so already: a day that is none stays as it is too
    fraction = (match[7] or "").ljust(4, "0")
    milliseconds = int(fraction[:3]) + (fraction[3] >= "5")
    try:
        moment = datetime(*(int(part) for part in match.groups()[:6]), tzinfo=UTC)  # type: ignore[misc,arg-type]
        moment += timedelta(milliseconds=milliseconds) - _offset(match[8])
    except (ValueError, OverflowError):
        return text
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone in "Zz":
        return timedelta(0)
    size = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return -size if zone[0] == "-" else size


# ---- members


class _Pieces(NamedTuple):
    """An object in writing.

    text: its standard members. extensions: members with a namespace. rest: all others, which have to wait for the end
    of the event.
    """

    text: str
    extensions: list[str]
    rest: list[str]


_LEFT_OUT: Final = frozenset({"eventID", "recordTime", "type", "errorDeclaration"})
_NO_CONTENT: Final = frozenset({"@context", "#text", "comment", "rdfs:comment"})


def _ordered(value: Mapping[str, object], fields: Mapping[str, Field], scope: _Scope) -> _Pieces:
    """Write the members of `value`: those in `fields` in their order; `scope` is the one inside of `value`."""
    text: list[str] = []
    extensions: list[str] = []
    rest: list[str] = []
    for name in filter(value.__contains__, fields):
        member = value[name]
        field = fields[name]
        if isinstance(member, str) and field.element is None:  # most members
            written = _time(member) if field.is_time else _string(member.strip(), scope, field.kind)
            if written:
                text.append(f"{name}={written}")
        elif member is not None:
            written, left = _field(name, member, field, scope)
            (rest if field.late and written else text).append(written)
            rest += left
    for key, member in value.items():
        if key in fields or key in _NO_CONTENT or (fields is EVENT and key in _LEFT_OUT):
            continue
        name = scope.name(key)
        (extensions if name[:1] == "{" else rest).extend(_generic(name, member, scope))
    return _Pieces("".join(text), extensions, rest)


def _field(name: str, value: object, field: Field, scope: _Scope) -> tuple[str, list[str]]:
    """Write one standard member that is more than a text; the second part is what has to wait for the end of the event."""
    label = name if field.element is None else field.element
    written: list[str] = []
    rest: list[str] = []
    for item in value if isinstance(value, list) else (value,):
        if type(item) is str and not field.is_time:  # serials, mostly
            text = _string(item.strip(), scope, field.kind)
            if text:
                written.append(f"{label}={text}")
            continue
        text, left = _item(label, item, field, scope)
        if text:
            written.append(text)
        if left:
            rest.append(label + "".join(sorted(left)))
    written.sort()
    if field.element is None:
        return "".join(written), rest
    return (name + "".join(written) if written else ""), ([name + "".join(sorted(rest))] if rest else [])


def _item(label: str, item: object, field: Field, scope: _Scope) -> tuple[str, list[str]]:
    if item is None:
        return "", []
    if isinstance(item, list):
        return "", _generic("", item, scope.deeper())
    if not isinstance(item, dict):
        text = _time(item) if field.is_time and isinstance(item, str) else _text(item, scope, field.kind)
        return (f"{label}={text}" if text else ""), []
    inner = scope.inside(item)
    own = item.get("#text")
    text = "" if own is None or isinstance(own, (list, dict)) else _text(own, inner, field.kind)
    if field.fields is None:
        pieces = _ordered(item, {}, inner)
        return (f"{label}={text}" if text else ""), pieces.extensions + pieces.rest
    pieces = _ordered(item, field.fields, inner)
    content = (f"={text}" if text else "") + pieces.text + "".join(sorted(pieces.extensions))
    return (label + content if content else ""), pieces.rest


def _generic(name: str, value: object, scope: _Scope) -> list[str]:
    """Write a member that is no standard member of its place: one text for each value of it."""
    if value is None:
        return []
    if name.endswith("List"):
        # As in XML, where a list <xList> holds elements <x>.
        values = value if isinstance(value, list) else [value]
        elements = [text for item in values for text in _generic_value(name[:-4], item, scope)]
        return [name + "".join(sorted(elements))] if elements else []
    if isinstance(value, list):
        deeper = scope.deeper()
        return [text for item in value for text in _generic_value(name, item, deeper)]
    return _generic_value(name, value, scope)


def _generic_value(name: str, value: object, scope: _Scope) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list):
        return [name + "".join(sorted(_generic("", value, scope.deeper())))]
    if not isinstance(value, dict):
        text = _text(value, scope)
        return [f"{name}={text}" if text else name]
    inner = scope.inside(value)
    own = value.get("#text")
    text = "" if own is None or isinstance(own, (list, dict)) else _text(own, inner)
    pieces = _ordered(value, {}, inner)
    return [name + (f"={text}" if text else "") + "".join(sorted(pieces.extensions + pieces.rest))]
