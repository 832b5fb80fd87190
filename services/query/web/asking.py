"""From what somebody types, scans or opens to a canonical key, and from a key to its page. Pure.

Source: GS1 Digital Link URI Syntax 1.4; GS1 General Specifications (element strings, check digit).
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from goodstrace.element_strings import is_marked, key_of_brackets, key_of_scan
from goodstrace.identifiers import canonical_key
from services.query.web.security import local
from services.runtime.call_errors import InvalidRequestError
from services.runtime.call_limits import MAX_KEY_CHARS

MOST_DEPTH: Final = 100
TRACE_PATH: Final = "/trace"
_GS1: Final = "https://id.gs1.org"
_DIGITS: Final = {8: "01", 12: "01", 13: "01", 14: "01", 18: "00"}


def key_asked(text: str) -> str | None:
    """Read what was typed or scanned: digits of a GTIN or SSCC, an element string, with brackets or without, an EPC URN, a Digital Link, any other URI.

    Returns: a canonical key; None where it is empty or over 2048 characters.
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


def text_asked(parameters: Mapping[str, str], name: str) -> str:
    """Give a parameter of an address, empty where it is not there. Raises: InvalidRequestError where it is over 2048 characters."""
    text = parameters.get(name, "")
    if len(text) > MAX_KEY_CHARS:
        raise InvalidRequestError(f"over {MAX_KEY_CHARS} characters", name)
    return text


def depth_asked(text: str, otherwise: int) -> int:
    """Read how many levels are asked for; `otherwise` where nothing is. Raises: InvalidRequestError."""
    if not text:
        return otherwise
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MOST_DEPTH:
        raise InvalidRequestError(f"1 to {MOST_DEPTH}", "depth")
    return int(text)


def page_of(key: str, **query: str) -> str:
    """Give the address of the page about a key on this server: a Digital Link's path for a GS1 key, else /trace?key=."""
    if is_gs1(key):
        return local(key.removeprefix(_GS1), **query)
    return local(TRACE_PATH, key=key, **query)


def is_gs1(key: str) -> bool:
    """Say whether a key is the canonical Digital Link of a GS1 identifier."""
    return key.startswith(f"{_GS1}/")


def is_web(key: str) -> bool:
    """Say whether a key is an address that a browser may be led to: http or https, and nothing that runs."""
    return re.match(r"https?://[^/\\\s]", key, re.IGNORECASE) is not None


def spoken(key: str) -> str:
    """Write a key as people know it: `(01) 09521231054321 (21) 1` for a GS1 key, else as it is."""
    if not is_gs1(key):
        return key
    segments = key.removeprefix(f"{_GS1}/").split("/")
    pairs = zip(segments[::2], segments[1::2], strict=False)
    return " ".join(f"({ai}) {unquote(value)}" for ai, value in pairs)


def _gs1(path: str) -> str | None:
    """Give the key of a path behind any host: what is a GS1 identifier comes out on id.gs1.org, anything else as it went in."""
    key = canonical_key(f"https://any.example{path}")
    return key if is_gs1(key) else None
