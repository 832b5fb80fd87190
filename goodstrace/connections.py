"""Connections to the services: by TLS where the target says so, or is another machine; credentials never in clear text.

A target is `https://host:port` (TLS), `http://host:port` (clear text), or `host:port`: that is TLS, but on this machine, where it
is TLS only if a CA or a client certificate is named. What carries a key, a token or a password goes by TLS, or not beyond this
machine: else nothing is sent and CredentialsError is raised. Nothing ever falls back to clear text. See docs/tls.md.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
import httpx

from goodstrace.bearer import BearerAuth, authorized
from goodstrace.errors import CredentialsError
from goodstrace.retrying import GRPC_OPTIONS
from goodstrace.token_sources import NO_TOKEN, TokenSource

LOCAL_CA: Final = Path("tls") / "ca.pem"
"""Where the local stack keeps its CA, in its run folder."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How a client checks servers, and what it shows of itself; all are paths of PEM files.

    Attributes:
        ca_file: the CAs that are believed in the place of the system's.
        cert_file: a client certificate, for ports that ask for one.
        key_file: its key.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def __bool__(self) -> bool:
        return self != Tls()


_RESOLVERS: Final = ("dns:", "ipv4:", "ipv6:", "xds:")  # gRPC's own names are left to it
SYSTEM: Final = Tls()
"""The system's CAs, and no client certificate."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a connection goes: `address` is host:port, as gRPC has it; `secure` says whether by TLS."""

    address: str
    host: str
    secure: bool


def target_of(text: str, tls: Tls = SYSTEM) -> Target:
    """Read a target; a Unix socket (`unix:path`) is this machine. Raises: CredentialsError where it is none."""
    if text.startswith(("unix:", "unix-abstract:")):
        return Target(text, "localhost", secure=False)
    if text.startswith(_RESOLVERS):
        return Target(text, "", secure=True)
    scheme, separator, _ = text.partition("://")
    try:
        parts = urlsplit(text if separator else f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise CredentialsError(f"{text!r} is no target: {error}") from error
    if separator and scheme not in ("http", "https"):
        raise CredentialsError(f"{text!r}: a target is https://host:port, http://host:port or host:port")
    if not host or parts.path not in ("", "/"):
        raise CredentialsError(f"{text!r} is no target: host:port is wanted")
    secure = scheme == "https" if separator else bool(tls) or not is_loopback(host)
    address = parts.netloc.rpartition("@")[2]
    return Target(address if port else f"{address}:{443 if secure else 80}", host, secure)


def channel(
    text: str,
    tls: Tls = SYSTEM,
    *,
    credential: bool = False,
    source: TokenSource = NO_TOKEN,
    options: Sequence[tuple[str, Any]] = (),
    credentials: grpc.ChannelCredentials | None = None,
) -> grpc.Channel:
    """Make a gRPC channel to a target; it connects at its first call. Reads that no service answered are called again (goodstrace.retrying).

    Args:
        text: the target.
        tls: whom to believe, and what to show.
        credential: whether calls will carry a key, token or password of their own.
        source: says who calls, and is shown with every call.
        options: of gRPC.
        credentials: gRPC's own, in the place of `tls`.
    Raises: CredentialsError where a credential would go in clear text, or a file cannot be read.
    """
    options = (*GRPC_OPTIONS, *options)
    if credentials is not None:
        return authorized(grpc.secure_channel(_bare(text), credentials, options), source)
    target = target_of(text, tls)
    if target.secure:
        return authorized(grpc.secure_channel(target.address, channel_credentials(tls), options), source)
    if credential or source is not NO_TOKEN:
        refuse_clear_text(target.host)
    return authorized(grpc.insecure_channel(target.address, options), source)


def aio_channel(text: str, tls: Tls = SYSTEM, *, credential: bool = False) -> grpc.aio.Channel:
    """Make a gRPC channel for an event loop, by the same rules as `channel`; whoever calls shows what calls carry.

    Raises: CredentialsError where a credential would go in clear text, or a file cannot be read.
    """
    target = target_of(text, tls)
    if target.secure:
        return grpc.aio.secure_channel(target.address, channel_credentials(tls), GRPC_OPTIONS)
    if credential:
        refuse_clear_text(target.host)
    return grpc.aio.insecure_channel(target.address, GRPC_OPTIONS)


def channel_credentials(tls: Tls) -> grpc.ChannelCredentials:
    """Make gRPC's credentials. Raises: CredentialsError where a file cannot be read."""
    roots = _read(tls.ca_file) if tls.ca_file else _system_roots()
    if (tls.cert_file is None) != (tls.key_file is None):
        raise CredentialsError("a client certificate and its key go together")
    if tls.cert_file is None or tls.key_file is None:
        return grpc.ssl_channel_credentials(roots)
    return grpc.ssl_channel_credentials(roots, _read(tls.key_file), _read(tls.cert_file))


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """Make the context of HTTP clients. Raises: CredentialsError where a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except OSError as error:
        raise CredentialsError(f"the files for TLS cannot be used: {error}") from error
    return context


def http_client(
    url: str,
    tls: Tls = SYSTEM,
    *,
    timeout_s: float,
    source: TokenSource = NO_TOKEN,
    transport: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """Make an HTTP client for what is below `url`, as whom `source` says; `transport` takes the place of the network.

    Raises: CredentialsError where a token would go in clear text, a file cannot be used, or `url` is none.
    """
    try:
        base, parts = httpx.URL(url), urlsplit(url)
        base.host.encode("idna")  # as looking it up does: a label is 1 to 63 letters
        sound = base.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        sound = False
    if not sound:
        raise CredentialsError(
            f"{url!r} is no URL of a service: https://host:port, or http://host:port on this machine"
        )
    if parts.scheme != "https" and source is not NO_TOKEN:
        refuse_clear_text(parts.hostname or "")
    secure = parts.scheme == "https" and transport is None
    return httpx.Client(
        base_url=base,
        timeout=timeout_s,
        auth=BearerAuth(source),
        transport=transport,
        verify=ssl_context(tls) if secure else True,
    )


def refuse_clear_text(host: str) -> None:
    """Let a credential go to this machine alone. Raises: CredentialsError."""
    if not is_loopback(host):
        raise CredentialsError(
            f"a key or token is not sent to {host} in clear text: name the target as https://{host}..."
        )


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine, by an address that nobody else reaches."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def local_ca() -> Path | None:
    """Find the CA that the local stack made, None where it runs without TLS or there is none."""
    if os.environ.get("GOODSTRACE_TLS") == "off":
        return None
    path = Path(os.environ.get("GOODSTRACE_RUN_DIR") or "run") / LOCAL_CA
    return path if path.exists() else None


def local_target(port: int, *, http: bool = False) -> str:
    """Give the local stack's target for a port: https where it made certificates; with `http` always a URL."""
    if local_ca() is not None:
        return f"https://127.0.0.1:{port}"
    return f"http://127.0.0.1:{port}" if http else f"127.0.0.1:{port}"


def with_local_ca(tls: Tls, text: str) -> Tls:
    """Believe the local stack's CA too, for an https target on this machine where no CA is named."""
    try:
        parts = urlsplit(text)
    except ValueError:  # no target: who connects to it says so
        return tls
    if tls.ca_file is None and parts.scheme == "https" and is_loopback(parts.hostname or ""):
        return Tls(local_ca(), tls.cert_file, tls.key_file)
    return tls


def _bare(text: str) -> str:
    return text.partition("://")[2] if text.startswith(("https://", "http://")) else text


def _system_roots() -> bytes | None:
    """Give the CAs that the system believes; None leaves gRPC the list that it brings."""
    path = ssl.get_default_verify_paths().cafile
    return _read(Path(path)) if path else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(f"cannot read {path}: {error.strerror}") from error
