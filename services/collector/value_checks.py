"""Single values in EPCIS 2.0 events: each check says what a value must be, or None where it is that. Pure.

Wider than GS1's schema file where the world is: terms as CBV URNs, web URIs or CURIEs, sensor values as text. Source: EPCIS 2.0
section 7, CBV 2.0 section 7.
"""

import re
from collections.abc import Callable
from typing import Any, Final, cast

from goodstrace.vocabulary import Kind, term
from services.collector.errors import Fault
from services.collector.times import has_sound_zone, is_offset, is_time

MAX_TEXT: Final = 2048
MAX_QUANTITY: Final = 1e18
_URI: Final = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f:]++:++[^\s\x00-\x1f\x7f-\x9f]++"
)  # or a CURIE, or an IRI: neither blanks nor control characters, and something on both sides of the colon
_UNIT: Final = re.compile(r"[A-Z0-9]{2,3}", re.ASCII)
_NUMBER: Final = re.compile(r"\s*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\s*", re.ASCII)
_HEX: Final = re.compile(r"[0-9A-Fa-f]+", re.ASCII)

Check = Callable[[Any], Fault | None]
"""Gives the first fault of what it is given, with its place in that; None where there is none."""


def _is_number(value: object) -> bool:
    """Say whether a JSON value is a number (a boolean is none)."""
    return type(value) is int or type(value) is float


def is_context(value: object) -> bool:
    """Say whether a value can be a JSON-LD @context of an event: in an array may be null beside others, alone it would leave nothing a meaning."""
    single = (str, dict)
    return isinstance(value, single) or (
        isinstance(value, list)
        and all(each is None or isinstance(each, single) for each in value)
        and (not value or any(each is not None for each in value))
    )


def is_uri(text: str) -> bool:
    """Say whether a text is a URI, IRI or CURIE as far as is asked for; nearly all are known without the pattern, which costs four times as much."""
    if text.isprintable() and " " not in text and text[:1] != ":" and text[-1:] != ":":
        return ":" in text
    return _URI.fullmatch(text) is not None


# ---- checks


def text(value: object) -> Fault | None:
    """Any text."""
    return None if type(value) is str else Fault("", "must be a string")


def uri(value: object) -> Fault | None:
    """A URI, IRI or CURIE of at most MAX_TEXT characters."""
    if type(value) is str and len(value) <= MAX_TEXT and is_uri(value):
        return None
    return Fault("", f"must be a URI of at most {MAX_TEXT} characters, without blanks")


def maybe_uri(value: object) -> Fault | None:
    """Documents are seen with an empty transformationID: it counts as none."""
    return None if value == "" else uri(value)


def time(value: object) -> Fault | None:
    """A date and time with its zone."""
    if type(value) is str and is_time(value):
        return None
    return Fault("", "must be a date and time, such as 2026-01-31T08:00:00.000Z")


def zoned_time(value: object) -> Fault | None:
    """The event time's zone; the rest is read with the event's offset, when all members are known."""
    if type(value) is str and has_sound_zone(value):
        return None
    return Fault("", "must be a date and time, such as 2026-01-31T08:00:00.000Z, at most 14 hours from UTC")


def offset(value: object) -> Fault | None:
    """An offset from UTC as it stands beside an event time."""
    if type(value) is str and is_offset(value):
        return None
    return Fault("", "must be a time zone offset, such as +01:00, of at most 14 hours")


def action(value: object) -> Fault | None:
    """One of the three actions."""
    if type(value) is str and value in ("ADD", "OBSERVE", "DELETE"):
        return None
    return Fault("", "must be ADD, OBSERVE or DELETE")


def quantity(value: object) -> Fault | None:
    """A number of which sums stay exact."""
    if _is_number(value) and abs(cast(float, value)) <= MAX_QUANTITY:
        return None
    return Fault("", "must be a number within 1e18")


def unit(value: object) -> Fault | None:
    """A unit of measure of UN/CEFACT recommendation 20."""
    if type(value) is str and _UNIT.fullmatch(value):
        return None
    return Fault("", "must be a UN/CEFACT code of two or three characters, such as KGM")


def measure(value: object) -> Fault | None:
    """A value of a sensor: the world sends texts, too."""
    if _is_number(value) or (type(value) is str and _NUMBER.fullmatch(value)):
        return None
    return Fault("", "must be a number, or a number as text")


def boolean(value: object) -> Fault | None:
    """A truth value: the world sends texts, too."""
    return (
        None
        if value is True or value is False or value in ("true", "false")
        else Fault("", "must be true or false")
    )


def hexadecimal(value: object) -> Fault | None:
    """Bytes as a sensor tells them."""
    return None if type(value) is str and _HEX.fullmatch(value) else Fault("", "must be hexadecimal digits")


def term_of(kind: Kind) -> Check:
    """A standard term in any spelling, or a URI or CURIE of another vocabulary."""

    def check(value: object) -> Fault | None:
        if (
            type(value) is str
            and len(value) <= MAX_TEXT
            and ((":" in value and is_uri(value)) or term(kind, value) is not None)
        ):
            return None
        return Fault("", "must be a term of the Core Business Vocabulary, or a URI")

    return check


def free(value: object) -> Fault | None:
    """An object with whatever members."""
    return None if type(value) is dict else Fault("", "must be an object")


def context(value: object) -> Fault | None:
    """What can be a @context."""
    if is_context(value):
        return None
    return Fault("", "must be a string, an object, or an array of them")
