"""GS1 identifiers for made-up goods, each in its two spellings: EPC URN and GS1 Digital Link.

Company prefixes begin with 952, the GS1 prefix set aside for demonstrations and examples, so that no identifier made
here can name anybody's real goods. Specifications: GS1 General Specifications 7.9 (check digit), EPC Tag Data Standard
6 and 7 (URNs), GS1 Digital Link URI Syntax 1.2.
"""

from __future__ import annotations

from typing import NamedTuple

from goodstrace.digital_links import check_digit

EXAMPLE_PREFIX = "952"
LINK = "https://id.gs1.org"

_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's alphabet: upper case, none of I, L, O, U, so needs escaping in neither spelling."""


class Key(NamedTuple):
    """One identifier in its spellings; `link` is also the canonical key by which goods are traced."""

    urn: str
    link: str


def base32(number: int, width: int) -> str:
    """Write `number` (>= 0) in Crockford's base 32, padded with zeros to `width` characters."""
    letters: list[str] = []
    while number or len(letters) < width:
        number, low = divmod(number, 32)
        letters.append(_BASE32[low])
    return "".join(reversed(letters))


class Gtin(NamedTuple):
    """A trade item class: 7-digit company prefix, 1 indicator digit, 5-digit item reference."""

    company: str
    indicator: str
    reference: str

    @property
    def link(self) -> str:
        """The class as a Digital Link with its 14 digits."""
        body = self.indicator + self.company + self.reference
        return f"{LINK}/01/{body}{check_digit(body)}"

    def lot(self, number: str) -> Key:
        """Name lot `number` (1..20 letters, digits, '-') of the class."""
        return Key(
            f"urn:epc:class:lgtin:{self.company}.{self.indicator}{self.reference}.{number}",
            f"{self.link}/10/{number}",
        )

    def item(self, serial: str) -> Key:
        """Name the item with `serial` (1..20 letters, digits, '-') of the class."""
        return Key(
            f"urn:epc:id:sgtin:{self.company}.{self.indicator}{self.reference}.{serial}",
            f"{self.link}/21/{serial}",
        )


def location(company: str, reference: str, extension: str = "0") -> Key:
    """Name a physical place (SGLN): 7-digit prefix, 5-digit reference, extension "0" for the place as a whole."""
    body = company + reference
    link = f"{LINK}/414/{body}{check_digit(body)}"
    if extension != "0":
        link = f"{link}/254/{extension}"
    return Key(f"urn:epc:id:sgln:{company}.{reference}.{extension}", link)


def party(company: str, reference: str) -> Key:
    """Name an organisation (PGLN): 7-digit prefix, 5-digit reference."""
    body = company + reference
    return Key(f"urn:epc:id:pgln:{company}.{reference}", f"{LINK}/417/{body}{check_digit(body)}")


def document(company: str, doc_type: str, serial: str) -> Key:
    """Name a document (GDTI), here a production run: 7-digit prefix, 5-digit type, serial of 1..17 characters."""
    body = company + doc_type
    return Key(
        f"urn:epc:id:gdti:{company}.{doc_type}.{serial}",
        f"{LINK}/253/{body}{check_digit(body)}{serial}",
    )


def container(company: str, extension: str, reference: int) -> Key:
    """Name a logistic unit (SSCC): 7-digit prefix, 1 extension digit, serial reference below 10**9."""
    number = f"{reference:09d}"
    body = extension + company + number
    return Key(f"urn:epc:id:sscc:{company}.{extension}{number}", f"{LINK}/00/{body}{check_digit(body)}")


def asset(company: str, reference: str) -> Key:
    """Name a device (GIAI): 7-digit prefix, reference of 1..23 characters."""
    return Key(f"urn:epc:id:giai:{company}.{reference}", f"{LINK}/8004/{company}{reference}")
