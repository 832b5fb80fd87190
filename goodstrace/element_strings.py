"""GS1 element strings, as scanners send them and as people read them under a code, to a canonical key. Pure.

`01095212345432131726123110A<FNC1>21B`: application identifiers and values one behind the other. Values of some lengths end by themselves, all others
end at FNC1, which scanners send as ASCII 29, or with the code. `(01)09521234543213(10)A(21)B` is the same for people.

Source: GS1 General Specifications 24, sections 3.2 (application identifiers), 5.1.2 (symbology identifiers), 7.8 (element strings without brackets).
"""

import re
from typing import Final
from urllib.parse import quote

from goodstrace.digital_links import PRIMARY_KEYS, QUALIFIERS_OF
from goodstrace.identifiers import canonical_key

FNC1: Final = "\x1d"
SYMBOLOGIES: Final = ("]C1", "]d2", "]e0", "]J1", "]Q3")
"""What scanners put before an element string: of GS1-128, DataMatrix, DataBar and composites, DotCode, QR Code."""
MOST_ELEMENTS: Final = 40
_Elements = list[tuple[str, str]]

_BRACKETED: Final = re.compile(r"\(([0-9]{2,4})\)([^()\x1d]{1,90})")
_VALUE: Final = re.compile(r"[!-~ ]{1,90}")
_DIGITS: Final = re.compile(r"[0-9]+")
# By the first two digits: how long a value without an end of its own is (figure 7.8.5-2).
_FIXED: Final = {
    "00": 18, "01": 14, "02": 14, "03": 14, "04": 16, **dict.fromkeys(map(str, range(11, 20)), 6), "20": 2,
    **dict.fromkeys(map(str, range(31, 37)), 6), "41": 13,
}  # fmt: skip
# By the first two digits: how long the application identifier is (figure 3.2-1); 14, 18, 19 and others are of nothing yet.
_AI_DIGITS: Final = {
    **dict.fromkeys(("00", "01", "02", "03", "10", "11", "12", "13", "15", "16", "17", "20", "21", "22", "30", "37"), 2),
    **dict.fromkeys(map(str, range(90, 100)), 2),
    **dict.fromkeys(("23", "24", "25", "40", "41", "42", "71"), 3),
    **dict.fromkeys(("31", "32", "33", "34", "35", "36", "39", "43", "70", "72", "80", "81", "82"), 4),
}  # fmt: skip
_UNMARKED: Final = ("00", "01")
"""What an element string that nothing marks as one has to begin with: a check digit then tells it from any other text of digits."""


def key_of_scan(text: str) -> str | None:
    """Read an element string without brackets.

    Args:
        text: as a scanner sends it: a symbology identifier before it, FNC1 before it and after any value; without both it must begin with an SSCC or
            a GTIN of 14 digits.
    Returns: the canonical key of the first element that is a GS1 key, with those of its qualifiers that are there; None where it is malformed, names no
        key or says two things of one. Never raises.
    """
    if not is_marked(text) and not text.startswith(_UNMARKED):
        return None
    body = text[3:] if text.startswith(SYMBOLOGIES) else text
    return _key(_elements(body.removeprefix(FNC1)))


def key_of_brackets(text: str) -> str | None:
    """Read an element string with brackets, as it stands under a code; returns what `key_of_scan` does. Never raises."""
    found = _BRACKETED.findall(text)
    if "".join(f"({ai}){value}" for ai, value in found) != text:
        return None
    return _key([(ai, value.strip()) for ai, value in found])


def is_marked(text: str) -> bool:
    """Say whether a text says of itself that it is an element string without brackets."""
    return text.startswith((*SYMBOLOGIES, FNC1)) or FNC1 in text


def _elements(text: str) -> _Elements | None:
    """Take an element string apart; None where it is malformed."""
    found: _Elements = []
    place = 0
    while place < len(text):
        lead = text[place : place + 2]
        ai = text[place : place + _AI_DIGITS.get(lead, 0)]
        if not ai or len(ai) < _AI_DIGITS[lead] or not (ai.isascii() and ai.isdecimal()):
            return None
        place += len(ai)
        closing = text.find(FNC1, place)
        end = len(text) if closing < 0 else closing
        if lead in _FIXED:
            end = min(end, place + _FIXED[lead])
            if end - place != _FIXED[lead] or not _DIGITS.fullmatch(text, place, end):
                return None
        if not _VALUE.fullmatch(text, place, end) or len(found) == MOST_ELEMENTS:
            return None
        found.append((ai, text[place:end]))
        place = end + 1 if text[end : end + 1] == FNC1 else end
    return found


def _key(elements: _Elements | None) -> str | None:
    values = dict(elements or ())
    if elements is None or any(values[ai] != value for ai, value in elements):
        return None  # malformed, or two things of one
    primary = next((ai for ai, _ in elements if ai in PRIMARY_KEYS), None)
    if primary is None:
        return None
    named = [primary, *(ai for ai in QUALIFIERS_OF[primary] if ai in values)]
    # Behind another host only a well-formed key comes out on that of GS1.
    key = canonical_key(
        "https://any.example/" + "/".join(f"{ai}/{quote(values[ai], safe='')}" for ai in named)
    )
    return key if key.startswith("https://id.gs1.org/") else None
