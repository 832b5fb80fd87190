"""What a target says, and what is never sent in clear text."""

from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.capture import CaptureClient
from goodstrace.capture_stream import CaptureStream
from goodstrace.client import Client
from goodstrace.connections import (
    Tls,
    channel,
    channel_credentials,
    is_loopback,
    local_ca,
    local_target,
    ssl_context,
    target_of,
    with_local_ca,
)
from goodstrace.errors import CredentialsError
from goodstrace.log_keys import LogKeys
from goodstrace.registry import RegistryClient
from goodstrace.rejected import RejectedClient

NAMED = Tls(Path("ca.pem"))


@pytest.mark.parametrize(
    ("text", "tls", "address", "secure"),
    [
        ("https://trace.shop.example:50051", Tls(), "trace.shop.example:50051", True),
        ("https://trace.shop.example", Tls(), "trace.shop.example:443", True),
        ("http://trace.shop.example:50051", Tls(), "trace.shop.example:50051", False),
        ("http://trace.shop.example:50051", NAMED, "trace.shop.example:50051", False),
        ("trace.shop.example:50051", Tls(), "trace.shop.example:50051", True),
        ("10.0.0.1:50051", Tls(), "10.0.0.1:50051", True),
        ("127.0.0.1:50051", Tls(), "127.0.0.1:50051", False),
        ("localhost:50051", Tls(), "localhost:50051", False),
        ("[::1]:50051", Tls(), "[::1]:50051", False),
        ("127.0.0.1:50051", NAMED, "127.0.0.1:50051", True),
        ("https://127.0.0.1:50051/", Tls(), "127.0.0.1:50051", True),
    ],
)
def test_a_target_says_whether_it_is_tls(text: str, tls: Tls, address: str, secure: bool) -> None:
    found = target_of(text, tls)
    assert (found.address, found.secure) == (address, secure)


@pytest.mark.parametrize(
    "text", ["", "ftp://host:1", "https://", "https://host:99999", "host:port", "https://host:1/path"]
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(CredentialsError):
        target_of(text)


def test_grpcs_own_names_are_left_to_grpc_and_are_tls() -> None:
    for text, secure in (("dns:///trace.shop.example:1", True), ("unix:/run/query.sock", False)):
        found = target_of(text, NAMED)
        assert (found.address, found.secure) == (text, secure)


@given(st.ip_addresses())
def test_only_this_machines_addresses_are_loopback(address: object) -> None:
    assert is_loopback(str(address)) == address.is_loopback  # type: ignore[attr-defined]


def test_names_that_look_like_this_machine_are_not() -> None:
    for name in ("localhost.example", "127.0.0.1.example", "", "0.0.0.0", "::"):
        assert not is_loopback(name)


def test_no_credential_goes_to_another_machine_in_clear_text() -> None:
    far, keys = "http://trace.shop.example:1", LogKeys([])
    for make in (
        lambda: Client(far, keys, token="secret"),
        lambda: Client(far, keys, index_token="secret"),
        lambda: Client("https://a.example:1", keys, token="secret", audit_target=far),
        lambda: CaptureStream(far, token="secret"),
        lambda: CaptureClient(far, token="secret"),
        lambda: RegistryClient(far, "secret"),
        lambda: RejectedClient(far, token="secret"),
        lambda: channel(far, credential=True),
    ):
        with pytest.raises(CredentialsError, match=r"clear text.*https://trace\.shop\.example"):
            make()


def test_without_a_credential_clear_text_is_what_one_asks_for() -> None:
    Client("http://trace.shop.example:1", LogKeys([])).close()
    CaptureClient("http://trace.shop.example:1")._http.close()
    CaptureClient("http://127.0.0.1:1", token="secret")._http.close()


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    for use in (ssl_context, channel_credentials):
        with pytest.raises(CredentialsError):
            use(Tls(missing))
    with pytest.raises(CredentialsError, match="go together"):
        channel_credentials(Tls(cert_file=missing))


def test_the_local_ca_is_found_for_https_on_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOODSTRACE_RUN_DIR", str(tmp_path))
    monkeypatch.delenv("GOODSTRACE_TLS", raising=False)
    assert (local_ca(), local_target(1), local_target(1, http=True)) == (
        None,
        "127.0.0.1:1",
        "http://127.0.0.1:1",
    )
    ca = tmp_path / "tls" / "ca.pem"
    ca.parent.mkdir()
    ca.write_text("")
    assert local_target(1) == "https://127.0.0.1:1"
    assert with_local_ca(Tls(), "https://127.0.0.1:1").ca_file == ca
    assert with_local_ca(NAMED, "https://127.0.0.1:1") == NAMED
    for far in ("https://trace.shop.example:1", "trace.shop.example:1", "127.0.0.1:1"):
        assert with_local_ca(Tls(), far) == Tls()
    monkeypatch.setenv("GOODSTRACE_TLS", "off")
    assert local_target(1) == "127.0.0.1:1"


def test_a_key_is_not_taken_along_by_a_redirect_to_clear_text() -> None:
    client = RejectedClient(
        "https://trace.shop.example",
        token="secret",
        transport=httpx.MockTransport(
            lambda _: httpx.Response(308, headers={"Location": "http://evil.example"})
        ),
    )
    assert not client._http.follow_redirects
