"""TLS of the ports that a service serves: certificate and key from files, read again when they change.

Certificates count for new connections only. Files that are replaced by something unusable (a key that does not fit, an
expired certificate, half a file) change nothing: what was read before goes on, and log and metric say so. See docs/tls.md.
"""

import datetime as dt
import signal
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import grpc
import structlog
from cryptography import x509
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from goodstrace.connections import is_loopback
from services.runtime.errors import SettingsError
from services.runtime.settings import load, refuse

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secret and authenticated only (RFC 9325 section 4.2). TLS 1.3 has no others."""
_LOADED, _REFUSED = "loaded", "refused"
_Signature = tuple[tuple[int, int, int], ...]


class TlsSettings(BaseSettings):
    """Which certificate a service shows, and to whom it opens its mTLS port.

    cert_file: the certificate, then those that lead to its CA, as PEM; key_file: its key, not encrypted; both or none.
    client_ca_file: the CAs whose client certificates the mTLS ports take. check_every_s: how soon files that were replaced are
    noticed without SIGHUP. metrics: whether the port of metrics and health speaks TLS too. plain_on_loopback: whether HTTP ports
    that listen on a loopback address also answer plain HTTP there.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_TLS_")

    cert_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    check_every_s: float = Field(2, ge=0.1, le=3600)
    metrics: bool = False
    plain_on_loopback: bool = False

    @field_validator("cert_file", "key_file", "client_ca_file", mode="before")
    @classmethod
    def _named(cls, path: Any) -> Any:
        return path or None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("GOODSTRACE_TLS_CERT_FILE and GOODSTRACE_TLS_KEY_FILE go together")
        if self.cert_file is None and (self.client_ca_file or self.metrics):
            raise ValueError("GOODSTRACE_TLS_CERT_FILE is wanted for that")
        return self

    def files(self) -> tuple[Path, ...]:
        """List the files that are set."""
        return tuple(each for each in (self.cert_file, self.key_file, self.client_ca_file) if each)


@dataclass(frozen=True, slots=True)
class Material:
    """What was read from the files at one moment: PEM bytes, a context made of them, and when the certificate ends (Unix s)."""

    chain: bytes
    key: bytes
    client_ca: bytes | None
    context: ssl.SSLContext
    expires_s: float


class ServedCertificate:
    """The certificate of this process's ports, as it is now. Thread-safe."""

    def __init__(
        self,
        settings: TlsSettings,
        log: structlog.stdlib.BoundLogger,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """Read the files. Raises: SettingsError where they cannot be used."""
        self.settings, self._log = settings, log
        self._signature = _signature(settings)
        self._material = read_material(settings)
        self._wake, self._stopping = threading.Event(), False
        self._thread: threading.Thread | None = None
        self._expires, self._reloads = certificate_metrics(registry)
        self._expires.set(self._material.expires_s)

    def current(self) -> Material:
        """Give what counts for a connection that begins now."""
        return self._material

    def reload(self) -> bool:
        """Read the files again; say whether they count now. What cannot be used leaves all as it is, and is logged."""
        self._signature = _signature(self.settings)
        try:
            self._material = read_material(self.settings)
        except SettingsError as error:
            self._reloads.labels(_REFUSED).inc()
            # What is wrong is in the text, and a traceback says no more.
            self._log.error("the certificate files cannot be used: those before go on", error=str(error))
            return False
        self._reloads.labels(_LOADED).inc()
        self._expires.set(self._material.expires_s)
        ends = dt.datetime.fromtimestamp(self._material.expires_s, dt.UTC).isoformat()
        self._log.info("certificate loaded", expires=ends)
        return True

    def watch(self) -> None:
        """Look after the files from now on, in a thread of its own; SIGHUP makes it look at once (from the main thread only)."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGHUP, lambda *_: self._wake.set())
        self._thread = threading.Thread(target=self._watch, name="certificates", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look after nothing any more."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def grpc_credentials(self, *, demand_client: bool) -> grpc.ServerCredentials:
        """Make the credentials of a gRPC port, which follow the files; with `demand_client` only those with a certificate get in.

        Raises: SettingsError where certificates are demanded and no CA is set.
        """
        material = self._material
        if demand_client and material.client_ca is None:
            raise SettingsError("an mTLS port wants GOODSTRACE_TLS_CLIENT_CA_FILE")
        given = [material]

        def newer() -> Any:
            """Give what changed since it was asked last; gRPC asks before each handshake."""
            material = self._material
            if material is given[0]:
                return None
            given[0] = material
            return _configuration(material, demand_client=demand_client)

        first = _configuration(material, demand_client=demand_client)
        made: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(first, newer, demand_client)
        return made

    def _watch(self) -> None:
        while True:
            asked = self._wake.wait(self.settings.check_every_s)
            self._wake.clear()
            if self._stopping:
                return
            if asked or _signature(self.settings) != self._signature:
                self.reload()


def served(log: structlog.stdlib.BoundLogger, host: str) -> ServedCertificate | None:
    """Give the certificate that the environment names, looked after from now on; None where none is named.

    Exits with 2 where a setting is wrong or a file cannot be used.
    """
    settings = load(TlsSettings)
    if settings.cert_file is None:
        if not is_loopback(host):
            log.warning("serves without TLS to other machines: see docs/tls.md", host=host)
        return None
    try:
        made = ServedCertificate(settings, log)
    except SettingsError as error:
        refuse(str(error))
    made.watch()
    return made


def served_for_metrics(log: structlog.stdlib.BoundLogger) -> ServedCertificate | None:
    """Give the certificate of a service that has no port but that of metrics and health; None where that is in clear text."""
    return served(log, "localhost") if load(TlsSettings).metrics else None


def read_material(settings: TlsSettings) -> Material:
    """Read certificate, key and client CAs, and see that they fit. Raises: SettingsError, naming the file."""
    cert_file, key_file, ca_file = settings.cert_file, settings.key_file, settings.client_ca_file
    if cert_file is None or key_file is None:
        raise SettingsError("GOODSTRACE_TLS_CERT_FILE and GOODSTRACE_TLS_KEY_FILE are wanted")
    chain, key = _read(cert_file), _read(key_file)
    client_ca = _read(ca_file) if ca_file else None
    leaf = _certificates(cert_file, chain)[0]
    if leaf.not_valid_after_utc <= dt.datetime.now(dt.UTC):
        raise SettingsError(f"{cert_file}: the certificate ended at {leaf.not_valid_after_utc.isoformat()}")
    if ca_file is not None and client_ca is not None:
        _certificates(ca_file, client_ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # An encrypted key would be asked about on the terminal: the empty password is wrong at once.
        context.load_cert_chain(cert_file, key_file, password="")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{key_file} is no key of {cert_file}: {error}") from error
    if (_read(cert_file), _read(key_file)) != (chain, key):
        raise SettingsError(f"{cert_file}: replaced while it was read")
    return Material(chain, key, client_ca, context, leaf.not_valid_after_utc.timestamp())


def certificate_metrics(registry: CollectorRegistry = REGISTRY) -> tuple[Gauge, Counter]:
    """Make the metrics of a certificate that is shown to callers: when it ends, and how often it was read again."""
    expires = Gauge(
        "goodstrace_tls_certificate_expires_timestamp_seconds",
        "When the certificate that is shown to callers ends, Unix time.",
        registry=registry,
    )
    reloads = Counter(
        "goodstrace_tls_reloads_total",
        "Certificate files read again: loaded, or refused and the ones before kept.",
        ["outcome"],
        registry=registry,
    )
    for outcome in (_LOADED, _REFUSED):
        reloads.labels(outcome)
    return expires, reloads


def certificate_names(context: "grpc.aio.ServicerContext[Any, Any]") -> tuple[str, ...]:
    """Give the names in the certificate of a gRPC caller that was verified: its SAN URIs, then its DNS names.

    Empty on ports that ask for no certificate: what a caller shows there is neither taken nor believed.
    """
    told = context.auth_context()
    return tuple(
        name.decode("utf-8", "replace") for kind in ("peer_uri", "peer_dns") for name in told.get(kind, ())
    )


def _configuration(material: Material, *, demand_client: bool) -> Any:
    make: Callable[..., Any] = grpc.ssl_server_certificate_configuration
    return make([(material.key, material.chain)], material.client_ca if demand_client else None)


def _certificates(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise SettingsError(f"{path} holds no certificate as PEM: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error


def _signature(settings: TlsSettings) -> _Signature:
    """Tell files from those that take their place, also where a link in the path is moved, as Kubernetes does."""
    found = []
    for path in settings.files():
        try:
            status = path.stat()
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)
