"""Linksets of GS1 Digital Links, for machines. Pure. Source: RFC 9264 (application/linkset+json); GS1-Conformant Resolver Standard 1.1."""

from typing import Any, Final
from urllib.parse import quote

from goodstrace.digital_links import PRIMARY_KEYS
from services.query.web.asking import page_of
from services.query.web.languages import LANGUAGES

MEDIA_TYPE: Final = "application/linkset+json"
_VOCABULARY: Final = "https://gs1.org/voc/"
_ASKED: Final = ("linkset", "all")


def wants_linkset(accept: str, link_type: str) -> bool:
    """Say whether a request wants the linkset: by `linkType=linkset` (or `all`, of earlier versions), or by its Accept header."""
    kinds = [each.partition(";")[0].strip().lower() for each in accept[:1000].split(",")]
    return link_type in _ASKED or MEDIA_TYPE in kinds


def linkset(key: str, base: str, title: str) -> dict[str, Any]:
    """Give the linkset of a GS1 key: the page for people, and the events for programs.

    Args:
        key: a canonical Digital Link.
        base: this server's address, without a slash at the end.
        title: the name of the goods, else the key as people know it.
    """
    page = base + page_of(key)
    for_people = {"href": page, "title": title, "type": "text/html", "hreflang": list(LANGUAGES)}
    events = {
        "href": f"{base}/epcis/v2/events?MATCH_anyEPC={quote(key, safe='')}",
        "title": "EPCIS events",
        "type": "application/ld+json",
    }
    links: dict[str, list[dict[str, Any]]] = {
        name: [for_people] for name in ("defaultLink", "pip", "traceability", "recallStatus")
    }
    links["epcis"] = [events]
    return {"linkset": [{"anchor": page, **{f"{_VOCABULARY}{name}": each for name, each in links.items()}}]}


def resolver(base: str) -> dict[str, Any]:
    """Describe this resolver, as /.well-known/gs1resolver does."""
    return {
        "name": "Goodstrace",
        "resolverRoot": base,
        "supportedPrimaryKeys": list(PRIMARY_KEYS),
        "linkTypeDefaultCanBeLinkset": False,
        "supportedLinkType": [{"namespace": _VOCABULARY, "prefix": "gs1:"}],
    }
