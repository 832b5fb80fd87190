"""Page tokens: opaque to callers, who can neither read nor make them, and good for one query only.

A token is base64url, without padding, of 16 bytes of salt, 12 of nonce, and a JSON state under AES-256-GCM (NIST SP 800-38D). A state may
name what its holder is not told, such as where a withheld event is: so it is encrypted, and filled up so that not even its length tells.

The key of one token is HMAC-SHA-256(the tokens' key, salt || what the token belongs to): no token of another query opens, and
random nonces do not run out, however many tokens there are.
"""

import base64
import binascii
import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import msgspec

from services.runtime.aead import NONCE_BYTES, Aead
from services.runtime.call_errors import InvalidRequestError

MAX_TOKEN_CHARS: Final = 256 * 1024
FIELD: Final = "page_token"
NOT_OURS: Final = "not a token of this query, or one of an earlier release: begin again without it"
_SALT_BYTES: Final = 16
_FILL: Final = 128

State = TypeVar("State", bound=msgspec.Struct)
TokenKey = Callable[[], Awaitable[bytes]]
"""Gives the tokens' key, 32 bytes, the same for all processes that open each other's tokens. No client may ever have it."""


def fixed_key(key: bytes) -> TokenKey:
    """Give a key that is at hand as a TokenKey."""

    async def given() -> bytes:
        return key

    return given


class PageTokens(Generic[State]):
    """Makes and opens the tokens of one kind of state."""

    def __init__(self, key: TokenKey, state: type[State], field: str = FIELD) -> None:
        """Use a key of servers alone; `state` is what a token carries, `field` what callers call it."""
        self._key = key
        self._field = field
        self._decoder = msgspec.json.Decoder(state)

    async def seal(self, query: bytes, state: State) -> str:
        """Make the token with which `query` (method and all that the answer depends on) goes on from `state`.

        Raises: what getting the key raises.
        """
        body = msgspec.json.encode(state)
        salt, nonce = os.urandom(_SALT_BYTES), os.urandom(NONCE_BYTES)
        filled = body.ljust(-(-len(body) // _FILL) * _FILL)  # JSON may end in blanks
        return encoded(salt + (await self._aead(salt, query)).encrypted(filled, salt, nonce))

    async def open(self, query: bytes, token: str) -> State:
        """Give the state of a token that was made for `query`.

        Raises: InvalidRequestError, whatever the text: forged, damaged, of another query or release; what getting the key raises.
        """
        data = decoded(token, self._field)
        salt, sealed = data[:_SALT_BYTES], data[_SALT_BYTES:]
        body = (await self._aead(salt, query)).decrypted(sealed, salt)
        if body is None:
            raise InvalidRequestError(NOT_OURS, self._field)
        try:
            return self._decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise InvalidRequestError(
                "a token of another version of this service: begin again without it", self._field
            ) from error

    async def _aead(self, salt: bytes, query: bytes) -> Aead:
        return Aead(hmac.digest(await self._key(), salt + query, "sha256"))


def encoded(data: bytes) -> str:
    """Write bytes as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(token: str, field: str, not_ours: str = NOT_OURS) -> bytes:
    """Read what `encoded` wrote, and nothing else. Raises: InvalidRequestError of `field`, with `not_ours`."""
    if len(token) > MAX_TOKEN_CHARS:
        raise InvalidRequestError(f"over {MAX_TOKEN_CHARS} characters", field)
    try:
        data = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestError(not_ours, field) from error
    if encoded(data) != token:
        raise InvalidRequestError(not_ours, field)
    return data
