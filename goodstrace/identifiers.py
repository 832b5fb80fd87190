"""Canonical keys: one key for a GS1 identifier, however it was written.

The key of a GS1 identifier is a GS1 Digital Link on https://id.gs1.org at its finest level; any other URI is its own
key. Keys are compared byte by byte, so the rules here are part of the sealed format (tags are made of keys).

The parser is our own: `biip` is too slow for several identifiers an event (measured) and reads no EPC URN, see
docs/decisions/0006-identifiers.md.

Source: GS1 EPC Tag Data Standard 2.0 (URN forms), GS1 Digital Link Standard: URI Syntax 1.4
(application identifiers, path order, percent-encoding), GS1 General Specifications section 7.9 (check digit).
"""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import unquote

__all__ = [
    "PRIMARY_KEYS",
    "QUALIFIERS_OF",
    "SHORT_NAMES",
    "Grade",
    "Named",
    "canonical_key",
    "class_of",
    "grade",
    "hash_form",
    "lot_of",
    "named",
]

_CANONICAL: Final = "https://id.gs1.org"


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


class _Identity(NamedTuple):
    """A GS1 identifier taken apart; values are percent-decoded."""

    ai: str
    value: str
    finer_ai: str = ""
    finer: str = ""
    lot: str = ""


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
    return uri if identity is None else _link(identity)


def named(uri: str) -> Named:
    """Return `canonical_key(uri)`, the `grade` of that and `lot_of(uri)`, for a third of what the three cost. Never raises."""
    identity = _parse(uri, strict=True)
    if identity is None:
        return Named(uri, _grade(None, uri), "")
    return Named(_link(identity), _grade(identity, uri), _lot_beside(identity) or "")


def hash_form(uri: str) -> str:
    """Return the constrained canonical Digital Link that the CBV 2.0 event hash puts in the place of `uri`.

    As `canonical_key`, but check digits of a Digital Link are not looked at, its AI 254 "0" stays, and `' ; =` are
    unescaped.
    Source: CBV 2.0, event hash, rules on GS1 identifiers.
    """
    identity = _parse(uri, strict=False)
    return uri if identity is None else _link(identity, _MUST_ESCAPE_IN_HASH)


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
        return _link(_Identity(identity.ai, identity.value)) if is_instance else None
    match = _GDST.match(key)
    if match is None or match[2] not in ("product:lot:class", "product:serial:obj"):
        return None
    product = match[3].split(".", 2)
    return f"{match[1]}product:class:{product[0]}.{product[1]}" if len(product) == 3 and product[1] else None


def _grade(identity: _Identity | None, uri: str) -> Grade:
    if identity is not None:
        return _GRADES.get((identity.ai, identity.finer_ai), Grade.OTHER)
    match = _GDST.match(uri)
    return _GDST_GRADES[match[2]] if match else Grade.OTHER


def _lot_beside(identity: _Identity) -> str | None:
    if not (identity.lot and identity.finer_ai == "21"):
        return None
    return _link(_Identity(identity.ai, identity.value, "10", identity.lot))


def _parse(uri: str, *, strict: bool) -> _Identity | None:
    if uri[:8].lower() == "urn:epc:":
        return _parse_urn(uri)
    if uri[:4].lower() == "http":
        return _parse_link(uri, strict=strict)
    return None


# ---- characters and check digits

_MUST_ESCAPE: Final = re.compile(r"[^A-Za-z0-9\-._]")
_MUST_ESCAPE_IN_HASH: Final = re.compile(r"[^A-Za-z0-9\-._';=]")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CSET_82: Final = r"[!\"%&'()*+,\-./0-9:;<=>?A-Z_a-z]"
"""GS1 AI encodable character set 82 (General Specifications, figure 7.11-1)."""


def _link(identity: _Identity, must_escape: re.Pattern[str] = _MUST_ESCAPE) -> str:
    path = f"{_CANONICAL}/{identity.ai}/{must_escape.sub(_escape, identity.value)}"
    if identity.finer_ai:
        path += f"/{identity.finer_ai}/{must_escape.sub(_escape, identity.finer)}"
    return path


def _escape(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def _decode(segment: str) -> str | None:
    """Percent-decode once; None where a percent sign starts no escape. Bytes that are no ASCII fail the set later."""
    if "%" not in segment:
        return segment
    return None if _BROKEN_ESCAPE.search(segment) else unquote(segment)


def _check_digit(digits: str) -> str:
    """Return the GS1 check digit (General Specifications 7.9.1) of `digits`, ASCII digits without their check digit."""
    code = digits.encode()
    thrice, once = code[-1::-2], code[-2::-2]
    total = 3 * (sum(thrice) - 48 * len(thrice)) + sum(once) - 48 * len(once)
    return str(-total % 10)


# ---- GS1 Digital Link


class _Rule(NamedTuple):
    """How the value of a primary AI looks, and which qualifiers may follow it in which order.

    checked: how many leading digits a check digit ends (0: none, -1: the whole value).
    """

    ai: str
    value: re.Pattern[str]
    checked: int
    qualifiers: tuple[str, ...] = ()


_FINEST: Final = ("21", "235", "8011", "254", "10")
_QUALIFIERS: Final = {
    "22": re.compile(_CSET_82 + "{1,20}"),
    "10": re.compile(_CSET_82 + "{1,20}"),
    "21": re.compile(_CSET_82 + "{1,20}"),
    "235": re.compile(_CSET_82 + "{1,28}"),
    "254": re.compile(_CSET_82 + "{1,20}"),
    "8011": re.compile(r"[0-9]{1,12}"),
}
_QUALIFIER_NAMES: Final = {"cpv": "22", "lot": "10", "ser": "21", "tpx": "235", "glnx": "254", "cpsn": "8011"}


def _rule(ai: str, value: str, checked: int, *qualifiers: str) -> _Rule:
    return _Rule(ai, re.compile(value), checked, qualifiers)


# Where no check digit guards the value, six digits (the shortest company prefix of the Tag Data Standard) have to.
_RULES: Final = {
    "00": _rule("00", r"[0-9]{18}", -1),
    "01": _rule("01", r"[0-9]{8}|[0-9]{12,14}", -1, "22", "10", "21", "235"),
    "253": _rule("253", rf"[0-9]{{13}}{_CSET_82}{{0,17}}", 13),
    "255": _rule("255", r"[0-9]{13,25}", 13),
    "401": _rule("401", rf"(?=[0-9]{{6}}){_CSET_82}{{6,30}}", 0),
    "402": _rule("402", r"[0-9]{17}", -1),
    "414": _rule("414", r"[0-9]{13}", -1, "254"),
    "417": _rule("417", r"[0-9]{13}", -1),
    "8003": _rule("8003", rf"0[0-9]{{13}}{_CSET_82}{{0,16}}", 14),
    "8004": _rule("8004", rf"(?=[0-9]{{6}}){_CSET_82}{{6,30}}", 0),
    "8006": _rule("8006", r"[0-9]{18}", 14, "22", "10", "21"),
    "8010": _rule("8010", r"(?=[0-9]{6})[#\-/0-9A-Z]{6,30}", 0, "8011"),
    "8017": _rule("8017", r"[0-9]{18}", -1),
    "8018": _rule("8018", r"[0-9]{18}", -1),
}
PRIMARY_KEYS: Final = tuple(_RULES)
"""The application identifiers that a key may begin with."""
QUALIFIERS_OF: Final = {ai: rule.qualifiers for ai, rule in _RULES.items()}
"""For each of them those that may follow it, in their order."""
SHORT_NAMES: Final = {
    "sscc": "00", "gtin": "01", "gdti": "253", "gcn": "255", "ginc": "401", "gsin": "402", "gln": "414", "party": "417",
    "grai": "8003", "giai": "8004", "itip": "8006", "cpid": "8010", "gsrnp": "8017", "gsrn": "8018",
}  # fmt: skip
_PRIMARY: Final = _RULES | {name: _RULES[ai] for name, ai in SHORT_NAMES.items()}
_LONGEST: Final = 8  # segments: primary AI and three qualifiers with their values
_LINK: Final = re.compile(r"https?://[^/?#\s]+/([^?#]*)", re.IGNORECASE)


def _parse_link(uri: str, *, strict: bool) -> _Identity | None:
    match = _LINK.match(uri)
    if match is None:
        return None
    segments = match[1].removesuffix("/").split("/")
    # The identifier is the end of the path; anything may come before it, however long.
    for place in range(max(0, len(segments) - _LONGEST), len(segments) - 1):
        rule = _PRIMARY.get(segments[place])
        if rule is not None and (identity := _read(rule, segments[place + 1 :], strict=strict)):
            return identity
    return None


def _read(rule: _Rule, segments: list[str], *, strict: bool) -> _Identity | None:
    """Read value, then AI and value of each qualifier; None where anything is not as the rule says."""
    value = _decode(segments[0])
    if len(segments) % 2 == 0 or value is None or not rule.value.fullmatch(value):
        return None
    if strict and rule.checked:
        digits = value if rule.checked < 0 else value[: rule.checked]
        if _check_digit(digits[:-1]) != digits[-1]:
            return None
    finer = _read_qualifiers(rule, segments[1:])
    if finer is None:
        return None
    if rule.ai == "01":
        value = value.zfill(14)
    if strict and finer.get("254") == "0":
        del finer["254"]
    for ai in _FINEST:
        if ai in finer:
            return _Identity(rule.ai, value, ai, finer[ai], finer.get("10", ""))
    return _Identity(rule.ai, value)


def _read_qualifiers(rule: _Rule, segments: list[str]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    allowed = rule.qualifiers
    for place in range(0, len(segments), 2):
        ai = _QUALIFIER_NAMES.get(segments[place], segments[place])
        value = _decode(segments[place + 1])
        if ai not in allowed or value is None or not _QUALIFIERS[ai].fullmatch(value):
            return None
        allowed = allowed[allowed.index(ai) + 1 :]
        found[ai] = value
    return found


# ---- EPC URN


class _Urn(NamedTuple):
    """An EPC URN scheme.

    shape: what follows its name. digits: how many company prefix and reference have together (0: `shape` says it all).
    make: turns the parts into an identity.
    """

    shape: re.Pattern[str]
    digits: int
    make: Callable[..., _Identity | None]


_URN_CHARS: Final = r"((?:%[0-9A-Fa-f]{2}|[!'()*+,\-.0-9:;=A-Z_a-z])+)"
_CPI_CHARS: Final = r"((?:%[0-9A-Fa-f]{2}|[0-9A-Z\-])+)"


def _checked(digits: str) -> str:
    return digits + _check_digit(digits)


def _moved(company: str, reference: str) -> str:
    """Indicator or extension digit first, then company prefix, rest of the reference, check digit."""
    return _checked(reference[:1] + company + reference[1:])


def _qualified(ai: str, value: str, finer_ai: str, raw: str) -> _Identity | None:
    finer = unquote(raw)
    return _Identity(ai, value, finer_ai, finer) if _QUALIFIERS[finer_ai].fullmatch(finer) else None


def _with_serial(ai: str, finer_ai: str) -> Callable[[str, str, str], _Identity | None]:
    return lambda company, reference, raw: _qualified(ai, _moved(company, reference), finer_ai, raw)


def _itip(company: str, reference: str, piece: str, total: str, raw: str | None = None) -> _Identity | None:
    value = _moved(company, reference) + piece + total
    return _Identity("8006", value) if raw is None else _qualified("8006", value, "21", raw)


def _sgln(company: str, reference: str, raw: str) -> _Identity | None:
    gln = _checked(company + reference)
    return _Identity("414", gln) if unquote(raw) == "0" else _qualified("414", gln, "254", raw)


def _cpi(company: str, raw: str, serial: str | None = None) -> _Identity | None:
    value = company + unquote(raw)
    if not _RULES["8010"].value.fullmatch(value):
        return None
    return _Identity("8010", value) if serial is None else _Identity("8010", value, "8011", serial)


def _appended(ai: str, lead: str = "") -> Callable[..., _Identity | None]:
    """For keys of company prefix, type, check digit and a serial in the same value (GRAI, GDTI, GCN)."""

    def make(company: str, reference: str, raw: str = "") -> _Identity | None:
        value = lead + _checked(company + reference) + unquote(raw)
        return _Identity(ai, value) if _RULES[ai].value.fullmatch(value) else None

    return make


def _joined(ai: str) -> Callable[[str, str], _Identity | None]:
    """For keys without check digit (GIAI, GINC)."""

    def make(company: str, raw: str) -> _Identity | None:
        value = company + unquote(raw)
        return _Identity(ai, value) if _RULES[ai].value.fullmatch(value) else None

    return make


def _urn(shape: str, digits: int, make: Callable[..., _Identity | None]) -> _Urn:
    company = r"([0-9]{6,12})\."
    return _Urn(re.compile(company + shape), digits, make)


_NUMBER: Final = r"([0-9]*)"
_URNS: Final = {
    "id:sgtin": _urn(rf"{_NUMBER}\.{_URN_CHARS}", 13, _with_serial("01", "21")),
    "id:upui": _urn(rf"{_NUMBER}\.{_URN_CHARS}", 13, _with_serial("01", "235")),
    "class:lgtin": _urn(rf"{_NUMBER}\.{_URN_CHARS}", 13, _with_serial("01", "10")),
    "id:itip": _urn(rf"{_NUMBER}\.([0-9]{{2}})\.([0-9]{{2}})\.{_URN_CHARS}", 13, _itip),
    "id:sscc": _urn(_NUMBER, 17, lambda company, serial: _Identity("00", _moved(company, serial))),
    "id:sgln": _urn(rf"{_NUMBER}\.{_URN_CHARS}", 12, _sgln),
    "id:pgln": _urn(_NUMBER, 12, lambda company, party: _Identity("417", _checked(company + party))),
    "id:gsrn": _urn(_NUMBER, 17, lambda company, service: _Identity("8018", _checked(company + service))),
    "id:gsrnp": _urn(_NUMBER, 17, lambda company, service: _Identity("8017", _checked(company + service))),
    "id:gsin": _urn(_NUMBER, 16, lambda company, shipment: _Identity("402", _checked(company + shipment))),
    "id:grai": _urn(rf"{_NUMBER}\.{_URN_CHARS}", 12, _appended("8003", "0")),
    "id:gdti": _urn(rf"{_NUMBER}\.{_URN_CHARS}", 12, _appended("253")),
    "id:sgcn": _urn(rf"{_NUMBER}\.([0-9]{{1,12}})", 12, _appended("255")),
    "id:giai": _urn(_URN_CHARS, 0, _joined("8004")),
    "id:ginc": _urn(_URN_CHARS, 0, _joined("401")),
    "id:cpi": _urn(rf"{_CPI_CHARS}\.([0-9]{{1,12}})", 0, _cpi),
    "idpat:sgtin": _urn(rf"{_NUMBER}\.\*", 13, lambda company, item: _Identity("01", _moved(company, item))),
    "idpat:upui": _urn(rf"{_NUMBER}\.\*", 13, lambda company, item: _Identity("01", _moved(company, item))),
    "idpat:itip": _urn(rf"{_NUMBER}\.([0-9]{{2}})\.([0-9]{{2}})\.\*", 13, _itip),
    "idpat:grai": _urn(rf"{_NUMBER}\.\*", 12, _appended("8003", "0")),
    "idpat:gdti": _urn(rf"{_NUMBER}\.\*", 12, _appended("253")),
    "idpat:sgcn": _urn(rf"{_NUMBER}\.\*", 12, _appended("255")),
    "idpat:cpi": _urn(rf"{_CPI_CHARS}\.\*", 0, _cpi),
}


def _parse_urn(uri: str) -> _Identity | None:
    kind, _, rest = uri[8:].partition(":")
    name, _, body = rest.partition(":")
    scheme = _URNS.get(f"{kind}:{name}")
    if scheme is None:
        return None
    match = scheme.shape.fullmatch(body)
    if match is None or (scheme.digits and len(match[1]) + len(match[2]) != scheme.digits):
        return None
    return scheme.make(*match.groups())


# ---- grades

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
