"""From what somebody types, scans or opens to a canonical key: one reading for the command line and for the web pages. Pure.

Source: GS1 Digital Link URI Syntax 1.4; GS1 General Specifications (element strings, check digit); RFC 3986 (schemes).
"""

import re
from typing import Final
from urllib.parse import unquote

from goodstrace.element_strings import is_marked, key_of_brackets, key_of_scan
from goodstrace.event_filter import MAX_KEY_CHARS
from goodstrace.identifiers import canonical_key

_GS1: Final = "https://id.gs1.org/"
_DIGITS: Final = {8: "01", 12: "01", 13: "01", 14: "01", 18: "00"}
_ELEMENT: Final = re.compile(r"([0-9]{2,4})/([^/]+)")
_PATH: Final = re.compile(f"{re.escape(_GS1)}{_ELEMENT.pattern}(?:/{_ELEMENT.pattern})*")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S")


def key_asked(text: str) -> str | None:
    """Read what was typed or scanned: digits of a GTIN or SSCC, an element string, with brackets or without, an EPC URN, a Digital Link, any other URI.

    Returns: a canonical key; the text as it is, without blanks around it, where it is none of these; None where it is empty or over
        2048 characters.
    """
    asked = text.strip()
    if not asked or len(asked) > MAX_KEY_CHARS:
        return None
    scanned = text.strip(" \t\r\n")  # FNC1 is a blank to Python
    if is_marked(scanned):
        return key_of_scan(scanned) or asked
    digits = re.sub(r"[\s-]", "", asked)
    if re.fullmatch(r"[0-9]+", digits) and (ai := _DIGITS.get(len(digits))):
        return _gs1(f"/{ai}/{digits}") or _gs1(f"/414/{digits}") or asked
    if asked.startswith("("):
        return key_of_brackets(asked) or asked
    return key_of_scan(asked) or canonical_key(asked)


def key_of_path(raw_path: str) -> str | None:
    """Give the key that the path of a Digital Link names, percent-encoding as it was sent; None where it names none."""
    return _gs1(raw_path) if len(raw_path) <= MAX_KEY_CHARS else None


def is_gs1(key: str) -> bool:
    """Say whether a key is the canonical Digital Link of a GS1 identifier."""
    return key.startswith(_GS1)


def is_uri(key: str) -> bool:
    """Say whether a key begins as a URI does, with a scheme: whatever else an event names has one."""
    return _URI.match(key) is not None


def elements_of(key: str) -> list[tuple[str, str]]:
    """Give the application identifiers and values of a GS1 key, to be written with brackets.

    None are given of another key, and where a value has a bracket itself, as serials and lots may: what is written so could not be read back.
    """
    if _PATH.fullmatch(key) is None:
        return []
    found = [(ai, unquote(value)) for ai, value in _ELEMENT.findall(key.removeprefix(_GS1))]
    return [] if any(bracket in value for _, value in found for bracket in "()") else found


def _gs1(path: str) -> str | None:
    """Give the key of a path behind any host: what is a GS1 identifier comes out on id.gs1.org, anything else as it went in."""
    key = canonical_key(f"https://any.example{path}")
    return key if is_gs1(key) else None
