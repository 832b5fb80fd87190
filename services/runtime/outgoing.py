"""Asking servers over HTTP that nobody vouches for: of their answers nothing is unpacked, followed or kept."""

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx
from pydantic_settings import BaseSettings, SettingsConfigDict

from goodstrace.connections import Tls
from services.runtime.errors import SettingsError
from services.runtime.settings import load


def careful_client(
    *, max_connections: int | None = None, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """Make a client without a time limit of its own: the caller gives each whole request one.

    It asks for answers that are not packed, follows no redirect, and takes no cookie: each answer could set others, and
    all would be kept and sent again.
    """
    return httpx.AsyncClient(
        verify=trusted() if transport is None else True,
        timeout=None,  # noqa: S113 - see above
        limits=httpx.Limits(max_connections=max_connections),
        transport=transport,
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


class OutgoingSettings(BaseSettings):
    """Whom we believe by HTTPS: the system's CAs, and those of ca_file besides (GOODSTRACE_CA_FILE)."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_")

    ca_file: Path | None = None

    def tls(self) -> Tls:
        """Give whom clients of our own services believe: the CA of GOODSTRACE_CA_FILE, else the system's."""
        return Tls(ca_file=None if self.ca_file == Path() else self.ca_file)


def outgoing_tls() -> Tls:
    """Give whom clients of our own services believe, by the environment; where that cannot be, say why and exit with 2."""
    return load(OutgoingSettings).tls()


def trusted() -> ssl.SSLContext:
    """Make the context for asking others. Raises: SettingsError where GOODSTRACE_CA_FILE cannot be used."""
    context, path = ssl.create_default_context(), load(OutgoingSettings).ca_file
    try:
        if path is not None and path != Path():
            context.load_verify_locations(path)
    except OSError as error:
        raise SettingsError(f"GOODSTRACE_CA_FILE: {path} cannot be used: {error}") from error
    return context


async def read_plain(response: httpx.Response, limit_bytes: int) -> bytes:
    """Read the body of a streamed response, at most `limit_bytes` and one more.

    Raises: httpx.DecodingError, where it is packed, which was not asked for: a few kilobytes can be gigabytes.
    """
    packed = response.headers.get("content-encoding", "identity")
    if packed.strip().lower() != "identity":
        raise httpx.DecodingError(f"the answer is packed: {packed[:80]}", request=response.request)
    read = bytearray()
    async for chunk in response.aiter_bytes():
        read += chunk
        if len(read) > limit_bytes:
            break
    return bytes(read[: limit_bytes + 1])
