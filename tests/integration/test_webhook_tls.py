"""A webhook over TLS: connected to by the address that was checked, and believed only by the name."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.query.webhooks.guard import Reach
from services.query.webhooks.sender import Outcome, Sender


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate of a name alone, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(own)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@asynccontextmanager
async def serving(path: Path, heard: list[bytes]) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("name", "outcome"), [("localhost", Outcome.DELIVERED), ("other.example", Outcome.UNREACHABLE)]
)
async def test_only_who_has_the_names_certificate_is_believed(
    tmp_path: Path, name: str, outcome: Outcome
) -> None:
    path, heard = certificate(tmp_path, name), list[bytes]()

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    trusted = ssl.create_default_context(cafile=path)
    sender = Sender(Reach.LOOPBACK, 10, resolve=resolve, transport=httpx.AsyncHTTPTransport(verify=trusted))
    async with serving(path, heard) as port:
        sent = await sender.send(f"https://localhost:{port}/hook", {"webhook-id": "1"}, b"{}")
        await sender.close()
    assert sent.outcome is outcome, sent.detail
    assert [f"host: localhost:{port}".encode() in each.lower() for each in heard] == [True] * (
        outcome is Outcome.DELIVERED
    )
