"""Who is let through to the index secret."""

import pytest

from services.query.index_gate import IndexGate, bearer
from services.runtime.access.networks import grpc_peer
from services.runtime.call_errors import NotAllowedError


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:4711", "127.0.0.1"),
        ("ipv6:[::1]:4711", "::1"),
        ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv4:192.0.2.7:1", "192.0.2.7"),
        ("unix:", ""),
        ("unix:/tmp/socket", ""),
        ("vsock:3:1", "unknown"),
        ("", "unknown"),
    ],
)
def test_peers_are_read_as_grpc_names_them(peer: str, address: str) -> None:
    assert grpc_peer(peer) == address


@pytest.mark.parametrize("peer", ["", "127.0.0.1", "127.8.9.1", "::1"])
def test_without_a_token_the_same_machine_is_let_through(peer: str) -> None:
    IndexGate(None).check(peer, "")


@pytest.mark.parametrize("peer", ["192.0.2.7", "unknown", "2001:db8::1", "::ffff:192.0.2.7", "localhost"])
def test_without_a_token_nobody_else_is(peer: str) -> None:
    with pytest.raises(NotAllowedError):
        IndexGate(None).check(peer, "anything")


@pytest.mark.parametrize(
    "given", ["", "Bearer", "other", "Basic secret", "secret2", "Bearer secret", bearer("Basic secret")]
)
def test_with_a_token_only_who_shows_it(given: str) -> None:
    gate = IndexGate("secret")
    gate.check("192.0.2.7", "secret")
    gate.check("192.0.2.7", bearer("bearer  secret "))
    with pytest.raises(NotAllowedError):
        gate.check("127.0.0.1", given)
