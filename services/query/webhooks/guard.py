"""Where a webhook may be sent: never into our own network, whatever a name resolves to. Pure.

Source: OWASP Server-Side Request Forgery Prevention; IANA special-purpose registries, as `ipaddress` has them.
"""

import ipaddress
from collections.abc import Iterable
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

import httpx

from services.query.epcis_problems import ParameterError

FIELD: Final = "dest"
MAX_URL_CHARS: Final = 2048
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_LOOPBACK_NAMES: Final = frozenset({"localhost", "localhost."})
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Reach(StrEnum):
    """Where webhooks may go: nowhere, to this machine only, or by https to public addresses only."""

    OFF = "off"
    LOOPBACK = "loopback"
    HTTPS = "https"


class ForbiddenAddressError(ParameterError):
    """The name of a destination resolves to an address where nothing may be sent."""


def checked_url(text: str, reach: Reach) -> httpx.URL:
    """Read a destination, before its name is resolved.

    Raises: ParameterError where it is no URL, has a user or a fragment, or a scheme that is not allowed;
        ForbiddenAddressError where its host is an address where nothing may be sent.
    """
    if not 0 < len(text) <= MAX_URL_CHARS:
        raise ParameterError(f"a URL of at most {MAX_URL_CHARS} characters, please", FIELD)
    try:
        parts, url = urlsplit(text), httpx.URL(text)
        port = parts.port
    except (httpx.InvalidURL, ValueError) as error:
        raise ParameterError(f"not a URL: {error}", FIELD) from error
    schemes = ("https",) if reach is Reach.HTTPS else ("http", "https")
    if url.scheme not in schemes or not url.host:
        raise ParameterError(f"an absolute URL of {' or '.join(schemes)}, please", FIELD)
    if (
        "@" in parts.netloc
        or url.fragment
        or port == 0
        or any(each <= " " or each == "\x7f" for each in text)
    ):
        raise ParameterError("without user, password, fragment and blanks, please", FIELD)
    if reach is Reach.LOOPBACK and url.host not in _LOOPBACK_NAMES and _literal(url.host) is None:
        raise ParameterError("webhooks go to this machine only here: localhost, 127.0.0.1 or [::1]", FIELD)
    literal = _literal(url.host)
    if literal is not None:
        check_addresses([str(literal)], reach)
    return url


def check_addresses(addresses: Iterable[str], reach: Reach) -> list[str]:
    """Check every address that a name resolves to: one that is not allowed forbids them all.

    Raises: ForbiddenAddressError, also where there is none.
    """
    found = [ipaddress.ip_address(each.partition("%")[0]) for each in addresses]
    if not found or not all(_is_allowed(each, reach) for each in found):
        raise ForbiddenAddressError("it leads to an address where webhooks may not go", FIELD)
    return list(dict.fromkeys(map(str, found)))


def _is_allowed(address: Address, reach: Reach) -> bool:
    if reach is Reach.LOOPBACK:
        return address.is_loopback
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:  # how a network of IPv6 alone reaches an IPv4 address
            return _is_allowed(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF), reach)
        if address.ipv4_mapped or address.sixtofour or address.teredo:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
