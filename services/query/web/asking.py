"""What the address of a page asks for, and from a key to its page. Pure. Keys are read by `goodstrace.asked_keys`."""

import re
from collections.abc import Mapping
from typing import Final

from goodstrace.asked_keys import elements_of, is_gs1
from services.query.web.security import local
from services.runtime.call_errors import InvalidRequestError
from services.runtime.call_limits import MAX_KEY_CHARS

MOST_DEPTH: Final = 100
TRACE_PATH: Final = "/trace"
_GS1: Final = "https://id.gs1.org"


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


def is_web(key: str) -> bool:
    """Say whether a key is an address that a browser may be led to: http or https, and nothing that runs."""
    return re.match(r"https?://[^/\\\s]", key, re.IGNORECASE) is not None


def spoken(key: str) -> str:
    """Write a key as people know it: `(01) 09521231054321 (21) 1` for a GS1 key, else, and where that would not read back, as it is."""
    return " ".join(f"({ai}) {value}" for ai, value in elements_of(key)) or key
