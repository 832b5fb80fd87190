"""The request headers that the log endpoints heed. Pure. Source: RFC 9110 sections 12.5.3 and 13.1.2."""

from typing import Final

_NO_WEIGHT: Final = frozenset({"0", "0.", "0.0", "0.00", "0.000"})


def accepts_gzip(header: str) -> bool:
    """Tell whether an Accept-Encoding header, or the empty text where there is none, lets gzip be used."""
    weights = {}
    for each in header.lower().split(","):
        coding, _, parameter = each.partition(";")
        name, _, weight = parameter.partition("=")
        weights[coding.strip()] = name.strip() != "q" or weight.strip() not in _NO_WEIGHT
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))


def matches(header: str, etag: str) -> bool:
    """Tell whether an If-None-Match header, or the empty text where there is none, names this entity tag."""
    tags = {each.strip().removeprefix("W/") for each in header.split(",")}
    return etag in tags or "*" in tags
