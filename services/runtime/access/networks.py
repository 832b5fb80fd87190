"""From where somebody calls, as far as records say it: the network, never the address. Pure."""

import ipaddress
from typing import Final

_IPV4_BITS: Final = 24
_IPV6_BITS: Final = 48


def grpc_peer(peer: str) -> str:
    """Read the address out of what gRPC calls a peer; "" for a Unix socket, a word that is no address for anything else."""
    if peer.startswith("unix:"):
        return ""
    kind, _, rest = peer.partition(":")
    address = (
        rest.rpartition(":")[0].removeprefix("[").removeprefix("%5B").removesuffix("]").removesuffix("%5D")
    )
    return address if kind in ("ipv4", "ipv6") else "unknown"


def network_of(address: str) -> str:
    """Give the network of an address: "192.0.2.0/24", "2001:db8::/48"; "" for what is none."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    bits = _IPV4_BITS if parsed.version == 4 else _IPV6_BITS
    return str(ipaddress.ip_network(f"{parsed}/{bits}", strict=False))
