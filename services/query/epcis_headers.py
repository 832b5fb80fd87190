"""The headers of EPCIS queries: who asks and why, and in which form the answer shall be. Pure.

Source: EPCIS 2.0 section 12.3 (`GS1-*` headers), RFC 8288 (Link).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote

from starlette.datastructures import Headers

from services.query.epcis_parameters import NEXT_PAGE_TOKEN
from services.query.epcis_problems import NotAcceptableError, ParameterError
from services.runtime import epcis_negotiation
from services.runtime.access.current import principal
from services.runtime.access.naming import USER_METADATA, recorded_name
from services.runtime.call_errors import InvalidRequestError
from services.runtime.call_limits import MAX_PURPOSE_CHARS

USER: Final = USER_METADATA
PURPOSE: Final = "goodstrace-purpose"
BROWSE: Final = "Goodstrace-Browse-ID"
HIDDEN: Final = "Goodstrace-Events-Hidden"
METHODS: Final = ("GET", "OPTIONS")
JSON: Final = "application/json"
JSON_LD: Final = "application/ld+json"
TOKENS_EXPIRE: Final = "9999-12-31T23:59:59Z"
"""The standard wants a time; tokens of ours do not expire."""
EPCIS_HEADERS: Final[Mapping[str, str]] = {
    **epcis_negotiation.ANSWERED,
    "Cache-Control": "no-store",  # a look that no record is made of must not be answered by a cache
    "X-Content-Type-Options": "nosniff",
}
DISCOVERY: Final[Mapping[str, str]] = {"Allow": ", ".join(METHODS), **epcis_negotiation.DISCOVERY}
"""What OPTIONS is answered with."""
_AS_SEALED: Final = ("No_Preference", "Never_Translates")
_TOKEN_PARAMETER: Final = re.compile(rf"(?:^|&){NEXT_PAGE_TOKEN}=[^&]*", re.ASCII)


def caller(users: Sequence[str]) -> str:
    """Give the name by which records call who calls; what the header says of it is percent-encoded. Raises: ParameterError."""
    try:
        return recorded_name(principal(), [unquote(each) for each in users])
    except InvalidRequestError as error:
        raise ParameterError(error.problem, USER) from error


def purpose(purposes: Sequence[str]) -> str:
    """Give why the caller asks, percent-encoded in the header; empty without. Raises: ParameterError."""
    return _one(purposes, PURPOSE, MAX_PURPOSE_CHARS) if purposes else ""


def media_type(headers: Headers) -> str:
    """Choose the answer's media type and check that the caller takes events as they are sealed.

    Raises: NotAcceptableError naming the header that asks for something else, ParameterError one that cannot be read.
    """
    wanted = headers.get("gs1-epc-format", _AS_SEALED[0])
    if wanted not in _AS_SEALED:
        raise NotAcceptableError("events are shown as they were captured, never translated", "GS1-EPC-Format")
    unmet = epcis_negotiation.unmet_version(headers)
    if unmet is not None:
        refused = ParameterError if unmet.unreadable else NotAcceptableError
        raise refused(unmet.detail, unmet.header)
    chosen = epcis_negotiation.media_type(headers, (JSON, JSON_LD))
    if chosen is None:
        raise NotAcceptableError(f"there is {JSON} and {JSON_LD} only", "Accept")
    return chosen


def without_token(path: str, query_string: str) -> str:
    """Give the path and query string of a request without its page token: what was asked, the same on all pages."""
    query = _TOKEN_PARAMETER.sub("", query_string).lstrip("&")
    return f"{path}?{query}" if query else path


def next_link(base: str, without: str, token: str) -> str:
    """Write the Link header to the next page: the same request (as `without_token` gives it) with another token."""
    joint = "&" if "?" in without else "?"
    return f'<{base}{_in_link(without)}{joint}{NEXT_PAGE_TOKEN}={quote(token, safe="")}>; rel="next"'


def _in_link(text: str) -> str:
    """Escape what would end the link or the header."""
    return "".join(
        each if "!" <= each <= "~" and each not in '<>"' else quote(each, safe="") for each in text
    )


def _one(values: Sequence[str], name: str, most: int) -> str:
    text = unquote(values[0])
    if len(values) > 1 or len(text) > most:
        raise ParameterError(f"one text of at most {most} characters, please", name)
    return text
