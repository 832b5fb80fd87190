"""An issuer's public keys (JWKS, RFC 7517 section 5), from a file, by HTTPS, or where the issuer's configuration says that they are.

Source of that: OpenID Connect Discovery 1.0, section 4.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import httpx
import msgspec

from services.runtime.access.tokens import PublicKey, public_key
from services.runtime.errors import UnavailableError
from services.runtime.outgoing import trusted

MAX_BYTES: Final = 256 * 1024
FRESH_S: Final = 300.0
LEAST_WAIT_S: Final = 10.0
_TIMEOUT_S: Final = 3.0
LOOPBACK: Final = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")
CONFIGURATION: Final = "/.well-known/openid-configuration"


class _KeySet(msgspec.Struct):
    keys: list[object]


class _Configuration(msgspec.Struct):
    issuer: str
    jwks_uri: str


class Jwks:
    """Keys by ID. Read again after five minutes, and when an unknown ID is asked for, but not within ten seconds."""

    def __init__(self, place: str, clock_s: Callable[[], float]) -> None:
        """Read from `place`: a path, an https:// address, or http:// on this machine."""
        self._place = place
        self._issuer = ""
        self._clock_s = clock_s
        self._keys: dict[str, PublicKey] | None = None
        self._read_at_s = 0.0
        self._tried_at_s: float | None = None
        self._lock = asyncio.Lock()

    @classmethod
    def of_issuer(cls, issuer: str, clock_s: Callable[[], float]) -> Self:
        """Read from where the configuration of `issuer` says; it is asked again at each reading, so the keys may move."""
        keys = cls(issuer.rstrip("/") + CONFIGURATION, clock_s)
        keys._issuer = issuer
        return keys

    async def find(self, kid: str) -> PublicKey | None:
        """See KeySource. While the place cannot be read the keys of before count. Raises: UnavailableError."""
        if self._keys is None or kid not in self._keys or self._clock_s() >= self._read_at_s + FRESH_S:
            async with self._lock:
                await self._refresh()
        if self._keys is None:
            raise UnavailableError("the token issuer's keys cannot be read")
        return self._keys.get(kid)

    async def _refresh(self) -> None:
        now_s = self._clock_s()
        if self._tried_at_s is not None and now_s < self._tried_at_s + LEAST_WAIT_S:
            return
        self._tried_at_s = now_s
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                listed = msgspec.json.decode(await _read(await self._where()), type=_KeySet).keys
        except (OSError, httpx.HTTPError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            if self._keys is None:
                raise UnavailableError(f"the token issuer's keys cannot be read: {error}") from error
            return
        self._keys = {
            str(jwk["kid"]): key
            for jwk in listed
            if isinstance(jwk, dict) and "kid" in jwk and (key := public_key(jwk)) is not None
        }
        self._read_at_s = now_s

    async def _where(self) -> str:
        if not self._issuer:
            return self._place
        told = msgspec.json.decode(await _read(self._place), type=_Configuration)
        if told.issuer != self._issuer:
            raise OSError(f"{self._place} is the configuration of another issuer")
        if not is_safe(told.jwks_uri):
            raise OSError(f"{self._place} names keys that are not at an https address")
        return told.jwks_uri


def is_safe(address: str) -> bool:
    """Say whether nobody on the way can change what is read from an address."""
    return address.startswith(("https://", *LOOPBACK))


async def _read(place: str) -> bytes:
    if not place.startswith(("https:", "http:")):
        return await asyncio.to_thread(Path(place).read_bytes)
    found = bytearray()
    async with (
        httpx.AsyncClient(timeout=_TIMEOUT_S, verify=trusted()) as http,
        http.stream("GET", place) as answer,
    ):
        answer.raise_for_status()
        async for chunk in answer.aiter_bytes():
            found += chunk
            if len(found) > MAX_BYTES:
                raise OSError(f"over {MAX_BYTES} bytes")
    return bytes(found)
