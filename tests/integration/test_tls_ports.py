"""TLS of the services' ports: who gets in, what is refused, and certificates that are replaced while they serve."""

import asyncio
import datetime as dt
import os
import signal
import socket
import ssl
import urllib.request
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.error import URLError

import grpc
import httpx
import pytest
import structlog
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from goodstrace.audit.v1 import audit_pb2, audit_pb2_grpc
from goodstrace.dev_certificates import LOCAL_NAMES, make_server
from goodstrace.policy import PolicyWitness
from services.runtime.errors import SettingsError
from services.runtime.grpc import Context
from services.runtime.http import HttpServer
from services.runtime.monitoring import Monitoring
from services.runtime.tls import ServedCertificate, certificate_names, read_material
from services.sealing.cosigning import Cosignatures, Fault
from services.sealing.witness_client import WitnessClient
from tests.certificates import URI, Files, World
from tests.deadlines import DEADLINE_S
from tests.integration.test_grpc_server import SERVICE, Running
from tests.integration.test_http_server import APP
from tests.integration.test_witness import WitnessProcess
from tests.witness_requests import LOG as LOG_SIGNER
from tests.witness_requests import asking

LOG = structlog.get_logger()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ours")


@pytest.fixture
def stranger(tmp_path: Path) -> World:
    return World(tmp_path / "theirs")


def served(world: World, **more: object) -> tuple[ServedCertificate, CollectorRegistry]:
    registry = CollectorRegistry()
    return ServedCertificate(world.settings(**more), LOG, registry), registry


def trusting(world: World) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=world.ca)


@asynccontextmanager
async def http(certificate: ServedCertificate) -> AsyncIterator[int]:
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    server = HttpServer(APP, "127.0.0.1", 0, max_connections=20, drain_s=1, certificate=certificate)
    running = asyncio.create_task(server.run(stop, port.set_result))
    try:
        yield await port
    finally:
        stop.set()
        await running


async def get(url: str, world: World) -> httpx.Response:
    async with httpx.AsyncClient(verify=trusting(world), timeout=DEADLINE_S) as client:
        return await client.get(url)


async def test_http_is_served_by_tls_to_who_trusts_the_ca(world: World, stranger: World) -> None:
    certificate, _ = served(world)
    async with http(certificate) as port:
        assert (await get(f"https://localhost:{port}/", world)).status_code == 200
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await get(f"https://127.0.0.1:{port}/", stranger)


async def test_plain_http_is_told_to_upgrade_and_served_only_where_that_is_set(world: World) -> None:
    certificate, _ = served(world)
    async with http(certificate) as port:
        answer = await get(f"http://127.0.0.1:{port}/", world)
        assert (answer.status_code, answer.headers["upgrade"]) == (426, "TLS/1.2, HTTP/1.1")
    certificate, _ = served(world, plain_on_loopback=True)
    async with http(certificate) as port:
        assert (await get(f"http://127.0.0.1:{port}/", world)).status_code == 200
        assert (await get(f"https://127.0.0.1:{port}/", world)).status_code == 200


async def test_tls_before_1_2_and_weak_ciphers_get_no_connection(world: World) -> None:
    certificate, _ = served(world)
    async with http(certificate) as port:
        old, weak = trusting(world), trusting(world)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            old.set_ciphers("ALL:@SECLEVEL=0")
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        weak.set_ciphers("AES256-SHA:@SECLEVEL=0")  # neither forward secret nor authenticated
        weak.maximum_version = ssl.TLSVersion.TLSv1_2
        for context in (old, weak):
            with pytest.raises(ConnectionError):  # what our own side cannot do would be an SSLError
                await asyncio.open_connection("127.0.0.1", port, ssl=context)


async def test_noise_and_silence_do_not_stop_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.tls_listener.HANDSHAKE_S", 0.3)
    certificate, _ = served(world)
    async with http(certificate) as port:
        for sent in (b"", b"\x00\x01", b"\x16\x03\x01garbage", b"\x16"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            async with asyncio.timeout(10):
                with suppress(ConnectionError):
                    while await reader.read(1000):
                        pass
            writer.close()
        assert (await get(f"https://127.0.0.1:{port}/", world)).status_code == 200


async def serial(port: int, world: World) -> int:
    """The number of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(world))
    shown = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.close()
    return x509.load_der_x509_certificate(shown).serial_number


async def test_a_replaced_certificate_counts_for_new_connections_without_a_restart(world: World) -> None:
    certificate, registry = served(world, check_every_s=0.1)
    certificate.watch()
    old, new = world.server.cert.read_bytes(), world.server_pair()
    async with http(certificate) as port, httpx.AsyncClient(verify=trusting(world)) as kept:
        assert await serial(port, world) == x509.load_pem_x509_certificate(old).serial_number
        await kept.get(f"https://127.0.0.1:{port}/")
        world.server.put(new)
        wanted = x509.load_pem_x509_certificate(new.certificate).serial_number
        async with asyncio.timeout(20):
            while await serial(port, world) != wanted:  # noqa: ASYNC110 - another process's files
                await asyncio.sleep(0.05)
        assert (await kept.get(f"https://127.0.0.1:{port}/")).status_code == 200  # on its old connection
    certificate.stop()
    ends = registry.get_sample_value("goodstrace_tls_certificate_expires_timestamp_seconds")
    assert ends == new.expires.timestamp()


@pytest.mark.parametrize("fault", ["cut", "other key", "ended", "gone", "encrypted"])
async def test_a_broken_replacement_keeps_the_old_one_and_says_so(world: World, fault: str) -> None:
    certificate, registry = served(world)
    before = certificate.current()
    if fault == "cut":
        world.server.cert.write_bytes(world.server.cert.read_bytes()[:100])
    elif fault == "other key":
        world.server.key.write_bytes(world.server_pair().key)
    elif fault == "ended":
        ago = world.now - dt.timedelta(days=60)
        world.server.put(make_server(world.authority, ago, LOCAL_NAMES))
    elif fault == "gone":
        world.server.key.unlink()
    else:
        world.server.key.write_text(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n"
        )
    with capture_logs() as lines:
        assert not certificate.reload()
    assert certificate.current() is before
    assert "go on" in lines[0]["event"]
    assert "PRIVATE KEY" not in str(lines)
    assert registry.get_sample_value("goodstrace_tls_reloads_total", {"outcome": "refused"}) == 1
    with pytest.raises(SettingsError):
        read_material(world.settings())


async def test_sighup_reads_the_files_again_at_once(world: World) -> None:
    certificate, _ = served(world, check_every_s=3600)
    certificate.watch()
    before = certificate.current()
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(20):
            while certificate.current() is before:  # noqa: ASYNC110 - a thread's doing
                await asyncio.sleep(0.02)
    finally:
        certificate.stop()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@asynccontextmanager
async def grpc_running(certificate: ServedCertificate) -> AsyncIterator[tuple[int, int]]:
    running = Running(certificate=certificate, max_call_s=5)

    async def names(context: Context) -> str:
        return " ".join(certificate_names(context))

    running.servicer.behaviour = names
    port = await running.server.start("127.0.0.1", 0, [SERVICE.full_name], mtls_port=0)
    assert running.server.mtls_port is not None
    try:
        yield port, running.server.mtls_port
    finally:
        await running.server.stop(notice_s=0, drain_s=1)


async def ask(port: int, world: World, client: Files | None = None) -> str:
    """The names that the server sees; raises AioRpcError where it lets nobody in."""
    pair = (client.key.read_bytes(), client.cert.read_bytes()) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(world.ca.read_bytes(), *pair)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        stub = audit_pb2_grpc.AuditServiceStub(channel)
        return str((await stub.ListBrowses(audit_pb2.ListBrowsesRequest(), timeout=DEADLINE_S)).browse_id)


async def test_the_mtls_port_lets_in_who_has_a_certificate_of_the_ca_alone(
    world: World, stranger: World
) -> None:
    certificate, _ = served(world)
    async with grpc_running(certificate) as (port, mtls_port):
        assert await ask(port, world) == ""
        assert await ask(port, world, world.client) == ""  # shown to nobody: it is not asked for
        assert await ask(mtls_port, world, world.client) == URI
        ended = world.files("ended", world.client_pair(ended=True))
        for refused in (None, stranger.client, ended):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await ask(mtls_port, world, refused)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(port, stranger)
        with pytest.raises(grpc.aio.AioRpcError):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as plain:
                await health_pb2_grpc.HealthStub(plain).Check(health_pb2.HealthCheckRequest(), timeout=5)


async def test_a_grpc_port_follows_replaced_certificates_and_client_cas(
    world: World, stranger: World
) -> None:
    certificate, _ = served(world)
    async with grpc_running(certificate) as (port, mtls_port):
        assert await ask(port, world) == ""
        world.server.put(make_server(stranger.authority, world.now, LOCAL_NAMES))
        world.ca.write_bytes(stranger.ca.read_bytes())
        assert certificate.reload()
        assert await ask(port, stranger) == ""
        assert await ask(mtls_port, stranger, stranger.client) == URI
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(mtls_port, stranger, world.client)


async def test_an_mtls_port_without_cas_or_a_certificate_is_a_wrong_setting(world: World) -> None:
    with pytest.raises(SettingsError, match="TLS_CERT_FILE"):
        await Running().server.start("127.0.0.1", 0, [SERVICE.full_name], mtls_port=0)
    settings = world.settings().model_copy(update={"client_ca_file": None})
    running = Running(certificate=ServedCertificate(settings, LOG, CollectorRegistry()))
    with pytest.raises(SettingsError, match="CLIENT_CA_FILE"):
        await running.server.start("127.0.0.1", 0, [SERVICE.full_name], mtls_port=0)


def test_the_port_of_metrics_speaks_tls_only_where_that_is_set(world: World) -> None:
    for metrics in (False, True):
        certificate, registry = served(world, metrics=metrics)
        monitoring = Monitoring("test", "127.0.0.1", 0, registry, certificate=certificate)
        try:
            right, wrong = ("https", "http") if metrics else ("http", "https")
            for _ in range(2):
                with urllib.request.urlopen(
                    f"{right}://127.0.0.1:{monitoring.port}/metrics",
                    context=trusting(world),
                    timeout=DEADLINE_S,
                ) as answer:
                    assert b"goodstrace_tls_certificate_expires_timestamp_seconds" in answer.read()
                with pytest.raises((URLError, OSError)):
                    urllib.request.urlopen(
                        f"{wrong}://127.0.0.1:{monitoring.port}/metrics",
                        context=trusting(world),
                        timeout=DEADLINE_S,
                    )
            with socket.create_connection(("127.0.0.1", monitoring.port)):
                pass  # gone before the handshake: nothing is written to standard error
        finally:
            monitoring.stop()


async def test_a_witness_by_https_is_asked_by_who_believes_its_ca(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOODSTRACE_TLS_CERT_FILE", str(world.server.cert))
    monkeypatch.setenv("GOODSTRACE_TLS_KEY_FILE", str(world.server.key))
    process = WitnessProcess(tmp_path / "witness", "--log", LOG_SIGNER.verifier.vkey())
    try:
        await asyncio.to_thread(process.start)
        witness = PolicyWitness("w", process.verifier, f"https://127.0.0.1:{process.port}")
        client = WitnessClient(witness.url or "", [witness], 20)
        answer = await client.add_checkpoint(asking(0, 1))
        await client.close()
        assert isinstance(answer, Fault)
        assert "CERTIFICATE_VERIFY_FAILED" in answer.detail
        monkeypatch.setenv("GOODSTRACE_CA_FILE", str(world.ca))
        client = WitnessClient(witness.url or "", [witness], 20)
        answer = await client.add_checkpoint(asking(0, 1))
        await client.close()
        assert isinstance(answer, Cosignatures)
    finally:
        process.close()
