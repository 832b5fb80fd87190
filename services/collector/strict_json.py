"""JSON as design.md wants it: duplicate member names, NaN, lone surrogates, bad UTF-8 and deep nesting are refused.

msgspec decodes and finds most of that by itself, but takes the last of two members of one name. That one was lost is seen
by counting quotation marks: what the decoded value is written with must be as many as it was read from. That costs a
fifth of what a decoder with a hook for each object does (docs/decisions/0005-validation.md).
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import msgspec

from services.collector.errors import DocumentError, Fault

MAX_DEPTH: Final = 64
_QUOTE: Final = b'"'
_BACKSLASH: Final = b"\\"
_HIDDEN_QUOTE: Final = b"\\u0022"
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ANY: Final = msgspec.json.Decoder()
_ENCODE: Final = msgspec.json.Encoder().encode
_BRACKETS: Final = b"[]{}"
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_TOKENS: Final = re.compile(
    rb'"(?:[^"\\]++|\\.)*+"|([\[{])|([\]}])', re.DOTALL
)  # possessive: no states to go back to
_COLON: Final = re.compile(rb"[ \t\r\n]*:")
_EXPLAINED_BYTES: Final = 1024 * 1024
_MAX_DIGITS: Final = 4300  # Python's own limit for reading an integer
_Malformed = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def parse(text: bytes) -> Any:
    """Decode one JSON value, at most MAX_DEPTH deep. Raises: DocumentError, whatever the bytes."""
    if _too_deep(text):
        raise DocumentError(Fault("", f"nested deeper than {MAX_DEPTH}"))
    try:
        value = _ANY.decode(text)
    except _Malformed as error:
        _refuse(text, error)
    if text.count(_QUOTE) != _ENCODE(value).count(_QUOTE) or _hides_quote(text):
        _refuse_duplicates(text)
    return value


def members(text: bytes) -> dict[str, bytes]:
    """Split a JSON object into its members: the exact bytes of each value by name, the values unchecked.

    Raises: DocumentError where it is no JSON object or names a member twice.
    """
    try:
        found = {name: bytes(value) for name, value in _MEMBERS.decode(text).items()}
    except msgspec.ValidationError as error:
        raise DocumentError(Fault("", "must be an object")) from error
    except _Malformed as error:
        _refuse(text, error)
    quotes = sum(2 + name.count('"') + value.count(_QUOTE) for name, value in found.items())
    if quotes != text.count(_QUOTE) or (_hides_quote(text) and any('"' in name for name in found)):
        _refuse_twice(text)
    return found


def items(text: bytes) -> list[bytes]:
    """Split a JSON array into the exact bytes of its items, unchecked. Raises: DocumentError where it is no array."""
    try:
        return [bytes(item) for item in _ITEMS.decode(text)]
    except msgspec.ValidationError as error:
        raise DocumentError(Fault("", "must be an array")) from error
    except _Malformed as error:
        _refuse(text, error)


def pointer(*names: str | int) -> str:
    """Build a JSON pointer (RFC 6901) of member names and array indexes."""
    return "".join("/" + str(name).replace("~", "~0").replace("/", "~1") for name in names)


def _hides_quote(text: bytes) -> bool:
    """Say whether a quotation mark may be written as an escape; one byte is looked for first, thirty times as fast as six are."""
    return _BACKSLASH in text and _HIDDEN_QUOTE in text


def _too_deep(text: bytes) -> bool:
    """Peel pairs of brackets off from the inside, a level at a time; brackets in strings are looked at only if need be."""
    brackets = text.translate(None, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    depth = 0
    for token in _TOKENS.finditer(text) if brackets else ():
        depth += 1 if token[1] else -1 if token[2] else 0
        if depth > MAX_DEPTH:
            return True
    return False


class _Pairs(list[tuple[str, Any]]):
    """An object as the standard library's decoder hands it over: all members in order."""


def _refuse_duplicates(text: bytes) -> None:
    """Raise DocumentError naming the place of a member that is there twice; return where there is none."""
    try:
        value = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        _refuse(text, error)
    for place in _duplicates(value):
        raise DocumentError(Fault(pointer(*place), "the member is there twice"))


def _refuse_twice(text: bytes) -> None:
    """Raise DocumentError naming a member that a JSON object has twice; its members' values, which may be large, are not read."""
    depth, seen = 0, set()
    for token in _TOKENS.finditer(text):
        depth += 1 if token[1] else -1 if token[2] else 0
        if depth == 1 and token[0].startswith(_QUOTE) and _COLON.match(text, token.end()):
            name = _ANY.decode(token[0])
            if name in seen:
                raise DocumentError(Fault(pointer(name), "the member is there twice"))
            seen.add(name)


def _duplicates(value: Any) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, _Pairs):
        seen = set()
        for name, member in value:
            if name in seen:
                yield (name,)
            seen.add(name)
            yield from ((name, *place) for place in _duplicates(member))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from ((index, *place) for place in _duplicates(item))


def _refuse(text: bytes, cause: Exception) -> NoReturn:
    """Raise DocumentError with line and column where they can be told; else the cause names the byte."""
    if len(text) > _EXPLAINED_BYTES:  # the standard library's decoder would take gigabytes
        raise DocumentError(Fault("", f"not JSON: {cause}")) from cause
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_int=_integer, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        detail = f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    except UnicodeDecodeError as error:
        detail = f"not UTF-8 at byte {error.start}"
    except UnicodeEncodeError:
        detail = "not JSON: a string has a lone surrogate"
    except RecursionError:
        detail = f"nested deeper than {MAX_DEPTH}"
    except ValueError as error:
        detail = f"not JSON: {error}"
    else:
        detail = f"not JSON: {cause}"
    raise DocumentError(Fault("", detail)) from cause


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _MAX_DIGITS:
        raise ValueError(f"an integer has more than {_MAX_DIGITS} digits")
    return int(digits)


def _finite(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise ValueError("a number is out of the range of a 64-bit float")
    return number
