"""From where somebody calls: the address that counts, and the network that it is taken for; records never say more. Pure.

One household or office has all of an IPv6 /48 or a good part of an IPv4 /24, so that single addresses would bound nobody.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote

Network = IPv4Network | IPv6Network
FORWARDED_FOR: Final = "x-forwarded-for"
_V4_BITS: Final = 24
_V6_BITS: Final = 48
MAX_FORWARDED: Final = 20
LOCAL: Final = "local"
"""What records of signing in call the network of those who come by a Unix socket."""


def networks(text: str) -> tuple[Network, ...]:
    """Read a list of networks, separated by commas. Raises: ValueError."""
    return tuple(ip_network(each.strip()) for each in text.split(",") if each.strip())


def grpc_peer(peer: str) -> str:
    """Read the address out of what gRPC calls a peer ("ipv4:192.0.2.1:5000", "ipv6:%5B::1%5D:5000"); "" for a Unix socket, "unknown" else."""
    if peer.startswith("unix:"):
        return ""
    kind, _, rest = peer.partition(":")
    return unquote(rest).rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else "unknown"


@lru_cache(maxsize=4096)  # a connection's is asked for with each call on it
def network_of(address: str) -> str:
    """Give the network of an address: "192.0.2.0/24", "2001:db8::/48"; "" for what is none."""
    parsed = _address(address)
    if parsed is None:
        return ""
    bits = _V4_BITS if parsed.version == 4 else _V6_BITS
    return str(ip_network((parsed, bits), strict=False))


def first_address(network: str) -> str:
    """Give an address of which `network_of` makes this network again, for whoever is told from where somebody calls."""
    return network.partition("/")[0]


def named_network(text: str) -> str:
    """Give what records call a network that a person names, by an address in it or as records do; "" for all else, as a network of another size."""
    if text == LOCAL or network_of(first_address(text)) == text:
        return text
    return network_of(text)


def caller_network(address: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Give the network of a caller, as `network_of` does.

    Args:
        address: of who made the connection.
        forwarded: the values of `x-forwarded-for`, as they came; looked at only where it was a trusted proxy.
        trusted: the networks of proxies. The caller is the last address that is not one of theirs: what stands before it, anybody may
            have written.
    """
    found = _address(address)
    hops = [each.strip() for value in forwarded for each in value.split(",")][-MAX_FORWARDED:]
    while found is not None and hops and any(found in each for each in trusted):
        following = _address(hops.pop())
        if following is None:
            break
        found = following
    return network_of(str(found))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
