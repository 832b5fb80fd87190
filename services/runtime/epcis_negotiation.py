"""The headers in which EPCIS clients say what they take, and services what they speak: the same for captures and queries. Pure.

Each edge answers what is found here in its own errors. A version is numbers with dots between them, as in the standard's schema,
and compared by the first two: a version of a version changes no interface.

Source: EPCIS 2.0 section 12.2 (headers, negotiation of versions); RFC 9110 section 12.5.1 (Accept).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from starlette.datastructures import Headers

from services.runtime.monitoring import VERSION as PRODUCT_VERSION

EPCIS_VERSION: Final = "2.0.0"
"""What is spoken, of EPCIS and of the CBV alike."""
SPOKEN: Final = (2, 0)
VERSION_HEADERS: Final = tuple(
    f"GS1-{of}-{bound}" for of in ("EPCIS", "CBV") for bound in ("Version", "Min", "Max")
)
VERSIONS: Final[Mapping[str, str]] = dict.fromkeys(VERSION_HEADERS, EPCIS_VERSION)
ANSWERED: Final[Mapping[str, str]] = {
    "GS1-EPCIS-Version": EPCIS_VERSION,
    "GS1-CBV-Version": EPCIS_VERSION,
}
"""What every answer says."""
DISCOVERY: Final[Mapping[str, str]] = {
    **VERSIONS,
    "GS1-EPC-Format": "Never_Translates",
    "GS1-CBV-XML-Format": "Never_Translates",
    "GS1-Vendor-Version": f"goodstrace-{PRODUCT_VERSION}",
}
"""What OPTIONS is answered with everywhere. Source: EPCIS 2.0 section 12.4 (discovery)."""
VERSION_PATTERN: Final = r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}"
_VERSION: Final = re.compile(VERSION_PATTERN, re.ASCII)
_WEIGHT: Final = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


class Unmet(msgspec.Struct, frozen=True):
    """A header that asks for what is not there, or (`unreadable`) cannot be read."""

    header: str
    detail: str
    unreadable: bool = False


def unmet_version(headers: Headers, versions: Sequence[tuple[int, int]] = (SPOKEN,)) -> Unmet | None:
    """Find a header that asks for a version which is not spoken; None where there is none.

    Args:
        headers: the request's; a header that is there several times is to be met each time.
        versions: those that a `-Version` may name.
    """
    for name in VERSION_HEADERS:
        bound = name.rpartition("-")[2]
        for text in headers.getlist(name):
            if not _VERSION.fullmatch(text.strip()):
                return Unmet(name, "must be a version, such as 2.0.0", unreadable=True)
            wanted = _numbers(text)
            if not {"Min": wanted <= SPOKEN, "Max": wanted >= SPOKEN}.get(bound, wanted in versions):
                return Unmet(name, f"only {EPCIS_VERSION} is spoken")
    return None


def media_type(headers: Headers, offered: Sequence[str]) -> str | None:
    """Choose the media type that a request's Accept wants most of those offered; None where it takes none of them.

    The most specific range that names a type says its weight. Of equal weight is chosen what the header names first, then what is
    offered first; parameters other than the weight are passed over, and a weight that cannot be read is 1.

    Args:
        headers: the request's; without an Accept anything is taken.
        offered: at least one media type in lower case, the one that is liked best first.
    """
    ranges: dict[str, tuple[float, int]] = {}
    for each in ",".join(headers.getlist("accept")).lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        if kind:
            ranges.setdefault(kind, (_weight(parameters), -len(ranges)))
    if not ranges:
        return offered[0]
    weighed = {kind: _preference(kind, ranges) for kind in offered}
    best = max(offered, key=weighed.__getitem__)  # the first of several
    return best if weighed[best][0] > 0 else None


def _preference(kind: str, ranges: Mapping[str, tuple[float, int]]) -> tuple[float, int]:
    """Give the weight of a media type and, from 0 downwards, where in the header it is named."""
    for name in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return (0.0, 0)


def _weight(parameters: Sequence[str]) -> float:
    matches = (_WEIGHT.fullmatch(each) for each in parameters)
    return next((float(match[1]) for match in matches if match), 1.0)


def _numbers(text: str) -> tuple[int, int]:
    major, _, rest = text.strip().partition(".")
    return int(major), int(rest.partition(".")[0] or 0)
