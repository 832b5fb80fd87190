"""The headers of EPCIS queries: who asks and why, and in which form the answer shall be. Pure.

Source: EPCIS 2.0 section 12.3 (`GS1-*` headers), RFC 9110 section 12.5.1 (Accept), RFC 8288 (Link).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote

from services.query.epcis_parameters import NEXT_PAGE_TOKEN
from services.query.epcis_problems import NotAcceptableError, ParameterError
from services.runtime.access.current import principal
from services.runtime.access.naming import USER_METADATA, recorded_name
from services.runtime.call_errors import InvalidRequestError
from services.runtime.call_limits import MAX_PURPOSE_CHARS
from services.runtime.monitoring import VERSION as PRODUCT_VERSION

USER: Final = USER_METADATA
PURPOSE: Final = "goodstrace-purpose"
BROWSE: Final = "Goodstrace-Browse-ID"
HIDDEN: Final = "Goodstrace-Events-Hidden"
METHODS: Final = ("GET", "OPTIONS")
VERSION: Final = "2.0.0"
JSON: Final = "application/json"
JSON_LD: Final = "application/ld+json"
TOKENS_EXPIRE: Final = "9999-12-31T23:59:59Z"
"""The standard wants a time; tokens of ours do not expire."""
EPCIS_HEADERS: Final[Mapping[str, str]] = {
    "GS1-EPCIS-Version": VERSION,
    "GS1-CBV-Version": VERSION,
    "Cache-Control": "no-store",  # a look that no record is made of must not be answered by a cache
    "X-Content-Type-Options": "nosniff",
}
DISCOVERY: Final[Mapping[str, str]] = {
    "Allow": ", ".join(METHODS),
    **{
        f"GS1-{standard}-{end}": VERSION for standard in ("EPCIS", "CBV") for end in ("Version", "Min", "Max")
    },
    "GS1-EPC-Format": "Never_Translates",
    "GS1-CBV-XML-Format": "Never_Translates",
    "GS1-Vendor-Version": f"goodstrace-{PRODUCT_VERSION}",
}
"""What OPTIONS is answered with. Source: EPCIS 2.0 section 12.4 (discovery)."""
_AS_SEALED: Final = ("No_Preference", "Never_Translates")
_VERSION: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,2}", re.ASCII)
_NO_WEIGHT: Final = re.compile(r"q=0(\.0{0,3})?", re.ASCII)
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


def media_type(headers: Mapping[str, str]) -> str:
    """Choose the answer's media type and check that the caller takes events as they are sealed.

    Raises: NotAcceptableError naming the header that asks for something else.
    """
    wanted = headers.get("gs1-epc-format", _AS_SEALED[0])
    if wanted not in _AS_SEALED:
        raise NotAcceptableError("events are shown as they were captured, never translated", "GS1-EPC-Format")
    for standard in ("epcis", "cbv"):
        _check_version(headers, standard)
    return _accepted(headers.get("accept", "") or "*/*")


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


def _check_version(headers: Mapping[str, str], standard: str) -> None:
    """See that version 2.0.0 is within what the caller takes."""
    ours = _numbers(VERSION)
    for end in ("min", "max"):
        name = f"gs1-{standard}-{end}"
        text = headers.get(name, VERSION)
        if not _VERSION.fullmatch(text):
            raise ParameterError("a version such as 2.0.0, please", name)
        if (_numbers(text) > ours) if end == "min" else (_numbers(text) < ours):
            raise NotAcceptableError(f"there is version {VERSION} only", name)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(each) for each in version.split(".")]
    return (*numbers, *[0] * (3 - len(numbers)))


def _accepted(header: str) -> str:
    for each in header.lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        if any(_NO_WEIGHT.fullmatch(parameter) for parameter in parameters):
            continue
        if kind in (JSON, "application/*", "*/*"):
            return JSON
        if kind == JSON_LD:
            return JSON_LD
    raise NotAcceptableError(f"there is {JSON} and {JSON_LD} only", "Accept")
