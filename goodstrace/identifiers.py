"""Canonical keys: one key for a GS1 identifier, however it was written.

The key of a GS1 identifier is a GS1 Digital Link on https://id.gs1.org at its finest level; any other URI is its own
key. Keys are compared byte by byte, so the rules here, in `digital_links` and in `epc_urns` are part of the sealed format
(tags are made of keys).

The parser is our own: `biip` is too slow for several identifiers an event (measured) and reads no EPC URN, see
docs/decisions/0006-identifiers.md.

Source: GS1 EPC Tag Data Standard 2.0 (URN forms), GS1 Digital Link Standard: URI Syntax 1.4
(application identifiers, path order, percent-encoding).
"""

import re
from enum import StrEnum
from typing import Final, NamedTuple

from goodstrace.digital_links import MUST_ESCAPE_IN_HASH, Identity, link, parse_link
from goodstrace.epc_urns import parse_urn

__all__ = ["Grade", "Named", "canonical_key", "class_of", "grade", "hash_form", "lot_of", "named"]


class Grade(StrEnum):
    """What kind of thing a key names."""

    ITEM = "item"
    LOT = "lot"
    CLASS = "class"
    CONTAINER = "container"
    LOCATION = "location"
    PARTY = "party"
    DOCUMENT = "document"
    ASSET = "asset"
    SERVICE = "service"
    OTHER = "other"


class Named(NamedTuple):
    """What a URI names: its key, the grade of that, and the key of the lot that it also names, else empty."""

    key: str
    grade: Grade
    lot: str


_GRADES: Final = {
    ("01", ""): Grade.CLASS, ("01", "10"): Grade.LOT, ("01", "21"): Grade.ITEM, ("01", "235"): Grade.ITEM,
    ("8006", ""): Grade.CLASS, ("8006", "10"): Grade.LOT, ("8006", "21"): Grade.ITEM,
    ("8010", ""): Grade.CLASS, ("8010", "8011"): Grade.ITEM,
    ("00", ""): Grade.CONTAINER, ("8003", ""): Grade.CONTAINER,
    ("414", ""): Grade.LOCATION, ("414", "254"): Grade.LOCATION, ("417", ""): Grade.PARTY,
    ("253", ""): Grade.DOCUMENT, ("8004", ""): Grade.ASSET,
    ("8017", ""): Grade.SERVICE, ("8018", ""): Grade.SERVICE,
}  # fmt: skip
_GDST: Final = re.compile(
    r"(urn:gdst:[^:]+:)(product:lot:class|product:class|product:serial:obj|location:loc|party):(.+)",
    re.DOTALL,
)
_GDST_GRADES: Final = {
    "product:lot:class": Grade.LOT,
    "product:class": Grade.CLASS,
    "product:serial:obj": Grade.ITEM,
    "location:loc": Grade.LOCATION,
    "party": Grade.PARTY,
}


def canonical_key(uri: str) -> str:
    """Return the key of `uri`; never raises, and a key is its own key.

    Args:
        uri: any string. EPC URNs (urn:epc:id, urn:epc:class:lgtin, urn:epc:idpat with a closing `*`) and GS1 Digital
            Links on any host with a correct path and check digit are GS1 identifiers. Query string and fragment of a
            Digital Link do not count. AI 7040, 8013 and 8019 are not read: such links are their own keys.
    Returns: `https://id.gs1.org/<ai>/<value>[/<ai>/<value>]`, GTINs in 14 digits, all but unreserved characters (RFC
        3986) escaped, a serial before a lot before a class; `uri` itself where it is no (well-formed) GS1 URI.
    Source: design.md "Identifiers"; GS1 Digital Link URI Syntax 1.4; EPC Tag Data Standard 2.0.
    """
    identity = _parse(uri, strict=True)
    return uri if identity is None else link(identity)


def named(uri: str) -> Named:
    """Return `canonical_key(uri)`, the `grade` of that and `lot_of(uri)`, for a third of what the three cost. Never raises."""
    identity = _parse(uri, strict=True)
    if identity is None:
        return Named(uri, _grade(None, uri), "")
    return Named(link(identity), _grade(identity, uri), _lot_beside(identity) or "")


def hash_form(uri: str) -> str:
    """Return the constrained canonical Digital Link that the CBV 2.0 event hash puts in the place of `uri`.

    As `canonical_key`, but check digits of a Digital Link are not looked at, its AI 254 "0" stays, and `' ; =` are
    unescaped.
    Source: CBV 2.0, event hash, rules on GS1 identifiers.
    """
    identity = _parse(uri, strict=False)
    return uri if identity is None else link(identity, MUST_ESCAPE_IN_HASH)


def grade(key: str) -> Grade:
    """Return what kind of thing `key` names; OTHER where that cannot be seen. Never raises.

    Besides GS1 identifiers it reads the URNs of the Global Dialogue on Seafood Traceability: urn:gdst:<party>: followed
    by product:lot:class, product:class, product:serial:obj, location:loc or party.
    """
    return _grade(_parse(key, strict=True), key)


def lot_of(uri: str) -> str | None:
    """Return the key of the lot that a Digital Link of a serial also names (01+10+21 or 8006+10+21), else None."""
    identity = _parse(uri, strict=True)
    return None if identity is None else _lot_beside(identity)


def class_of(key: str) -> str | None:
    """Return the key of the class (01, 8006 or 8010) of an item or lot; None for anything else, also for a class.

    For `urn:gdst:<party>:product:lot:class:<company>.<product>.<lot>` it is the product class URN.
    """
    identity = _parse(key, strict=True)
    if identity is not None:
        is_instance = _GRADES.get((identity.ai, identity.finer_ai)) in (Grade.ITEM, Grade.LOT)
        return link(Identity(identity.ai, identity.value)) if is_instance else None
    match = _GDST.match(key)
    if match is None or match[2] not in ("product:lot:class", "product:serial:obj"):
        return None
    product = match[3].split(".", 2)
    return f"{match[1]}product:class:{product[0]}.{product[1]}" if len(product) == 3 and product[1] else None


def _grade(identity: Identity | None, uri: str) -> Grade:
    if identity is not None:
        return _GRADES.get((identity.ai, identity.finer_ai), Grade.OTHER)
    match = _GDST.match(uri)
    return _GDST_GRADES[match[2]] if match else Grade.OTHER


def _lot_beside(identity: Identity) -> str | None:
    if not (identity.lot and identity.finer_ai == "21"):
        return None
    return link(Identity(identity.ai, identity.value, "10", identity.lot))


def _parse(uri: str, *, strict: bool) -> Identity | None:
    if uri[:8].lower() == "urn:epc:":
        return parse_urn(uri)
    if uri[:4].lower() == "http":
        return parse_link(uri, strict=strict)
    return None
