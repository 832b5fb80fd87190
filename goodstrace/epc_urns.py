"""EPC URNs of GS1 identifiers, read: urn:epc:id, urn:epc:class:lgtin, and urn:epc:idpat with a closing `*`.

Pure. These rules are part of the sealed format, see `identifiers`.

Source: GS1 EPC Tag Data Standard 2.0 (URN forms).
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from goodstrace.digital_links import QUALIFIERS, RULES, Identity, check_digit


class _Urn(NamedTuple):
    """An EPC URN scheme.

    shape: what follows its name. digits: how many company prefix and reference have together (0: `shape` says it all).
    make: turns the parts into an identity.
    """

    shape: re.Pattern[str]
    digits: int
    make: Callable[..., Identity | None]


_PLAIN: Final = r"[!'()*+,\-.0-9:;=A-Z_a-z]"
_ESCAPED: Final = r"%[0-9A-Fa-f]{2}"
_URN_CHARS: Final = rf"((?:{_PLAIN}|{_ESCAPED}){_PLAIN}*(?:{_ESCAPED}{_PLAIN}*)*)"  # an alternative for each character takes twice as long
_CPI_CHARS: Final = r"((?:%[0-9A-Fa-f]{2}|[0-9A-Z\-])+)"


def _checked(digits: str) -> str:
    return digits + check_digit(digits)


def _moved(company: str, reference: str) -> str:
    """Indicator or extension digit first, then company prefix, rest of the reference, check digit."""
    return _checked(reference[:1] + company + reference[1:])


_gtin = lru_cache(maxsize=4096)(_moved)  # serials and lots are new again and again, their products are not


def _qualified(ai: str, value: str, finer_ai: str, raw: str) -> Identity | None:
    finer = unquote(raw) if "%" in raw else raw
    return Identity(ai, value, finer_ai, finer) if QUALIFIERS[finer_ai].fullmatch(finer) else None


def _with_serial(ai: str, finer_ai: str) -> Callable[[str, str, str], Identity | None]:
    return lambda company, reference, raw: _qualified(ai, _gtin(company, reference), finer_ai, raw)


def _itip(company: str, reference: str, piece: str, total: str, raw: str | None = None) -> Identity | None:
    value = _moved(company, reference) + piece + total
    return Identity("8006", value) if raw is None else _qualified("8006", value, "21", raw)


def _sgln(company: str, reference: str, raw: str) -> Identity | None:
    gln = _checked(company + reference)
    return Identity("414", gln) if unquote(raw) == "0" else _qualified("414", gln, "254", raw)


def _cpi(company: str, raw: str, serial: str | None = None) -> Identity | None:
    value = company + unquote(raw)
    if not RULES["8010"].value.fullmatch(value):
        return None
    return Identity("8010", value) if serial is None else Identity("8010", value, "8011", serial)


def _appended(ai: str, lead: str = "") -> Callable[..., Identity | None]:
    """For keys of company prefix, type, check digit and a serial in the same value (GRAI, GDTI, GCN)."""

    def make(company: str, reference: str, raw: str = "") -> Identity | None:
        value = lead + _checked(company + reference) + unquote(raw)
        return Identity(ai, value) if RULES[ai].value.fullmatch(value) else None

    return make


def _joined(ai: str) -> Callable[[str, str], Identity | None]:
    """For keys without check digit (GIAI, GINC)."""

    def make(company: str, raw: str) -> Identity | None:
        value = company + unquote(raw)
        return Identity(ai, value) if RULES[ai].value.fullmatch(value) else None

    return make


def _urn(shape: str, digits: int, make: Callable[..., Identity | None]) -> _Urn:
    company = r"([0-9]{6,12})\."
    return _Urn(re.compile(company + shape), digits, make)


_NUMBER: Final = r"([0-9]*)"
_URNS: Final = {
    "id:sgtin": _urn(rf"{_NUMBER}\.{_URN_CHARS}", 13, _with_serial("01", "21")),
    "id:upui": _urn(rf"{_NUMBER}\.{_URN_CHARS}", 13, _with_serial("01", "235")),
    "class:lgtin": _urn(rf"{_NUMBER}\.{_URN_CHARS}", 13, _with_serial("01", "10")),
    "id:itip": _urn(rf"{_NUMBER}\.([0-9]{{2}})\.([0-9]{{2}})\.{_URN_CHARS}", 13, _itip),
    "id:sscc": _urn(_NUMBER, 17, lambda company, serial: Identity("00", _moved(company, serial))),
    "id:sgln": _urn(rf"{_NUMBER}\.{_URN_CHARS}", 12, _sgln),
    "id:pgln": _urn(_NUMBER, 12, lambda company, party: Identity("417", _checked(company + party))),
    "id:gsrn": _urn(_NUMBER, 17, lambda company, service: Identity("8018", _checked(company + service))),
    "id:gsrnp": _urn(_NUMBER, 17, lambda company, service: Identity("8017", _checked(company + service))),
    "id:gsin": _urn(_NUMBER, 16, lambda company, shipment: Identity("402", _checked(company + shipment))),
    "id:grai": _urn(rf"{_NUMBER}\.{_URN_CHARS}", 12, _appended("8003", "0")),
    "id:gdti": _urn(rf"{_NUMBER}\.{_URN_CHARS}", 12, _appended("253")),
    "id:sgcn": _urn(rf"{_NUMBER}\.([0-9]{{1,12}})", 12, _appended("255")),
    "id:giai": _urn(_URN_CHARS, 0, _joined("8004")),
    "id:ginc": _urn(_URN_CHARS, 0, _joined("401")),
    "id:cpi": _urn(rf"{_CPI_CHARS}\.([0-9]{{1,12}})", 0, _cpi),
    "idpat:sgtin": _urn(rf"{_NUMBER}\.\*", 13, lambda company, item: Identity("01", _moved(company, item))),
    "idpat:upui": _urn(rf"{_NUMBER}\.\*", 13, lambda company, item: Identity("01", _moved(company, item))),
    "idpat:itip": _urn(rf"{_NUMBER}\.([0-9]{{2}})\.([0-9]{{2}})\.\*", 13, _itip),
    "idpat:grai": _urn(rf"{_NUMBER}\.\*", 12, _appended("8003", "0")),
    "idpat:gdti": _urn(rf"{_NUMBER}\.\*", 12, _appended("253")),
    "idpat:sgcn": _urn(rf"{_NUMBER}\.\*", 12, _appended("255")),
    "idpat:cpi": _urn(rf"{_CPI_CHARS}\.\*", 0, _cpi),
}


def parse_urn(uri: str) -> Identity | None:
    """Read a URN that begins with "urn:epc:", in any case; None where it is of no GS1 identifier. Never raises."""
    kind, _, rest = uri[8:].partition(":")
    name, _, body = rest.partition(":")
    scheme = _URNS.get(f"{kind}:{name}")
    if scheme is None:
        return None
    match = scheme.shape.fullmatch(body)
    if match is None or (scheme.digits and len(match[1]) + len(match[2]) != scheme.digits):
        return None
    return scheme.make(*match.groups())
