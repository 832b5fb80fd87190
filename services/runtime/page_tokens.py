"""Page tokens: opaque to callers, authenticated, and good for one query only.

A token is base64url, without padding, of a 16-byte HMAC-SHA-256 and a JSON state. The HMAC covers what the token
belongs to (method and query) as well, so that neither a forged token nor one of another query is ever followed.
"""

import base64
import binascii
import hmac
from typing import Final, Generic, TypeVar

import msgspec

from services.runtime.call_errors import InvalidRequestError

MAX_TOKEN_CHARS: Final = 256 * 1024
FIELD: Final = "page_token"
_MAC_BYTES: Final = 16
_DERIVATION: Final = b"goodstrace page token v1"

State = TypeVar("State", bound=msgspec.Struct)


class PageTokens(Generic[State]):
    """Makes and opens the tokens of one kind of state."""

    def __init__(self, secret: bytes, state: type[State], field: str = FIELD) -> None:
        """Derive the tokens' key from the index secret; `state` is what a token carries, `field` what callers call it."""
        self._key = hmac.digest(secret, _DERIVATION, "sha256")
        self._field = field
        self._decoder = msgspec.json.Decoder(state)

    def seal(self, query: bytes, state: State) -> str:
        """Make the token with which `query` (method and all that the answer depends on) goes on from `state`."""
        body = msgspec.json.encode(state)
        return _encoded(self._mac(query, body) + body)

    def open(self, query: bytes, token: str) -> State:
        """Give the state of a token that was made for `query`.

        Raises: InvalidRequestError, whatever the text: forged, damaged, or of another query.
        """
        data = _decoded(token, self._field)
        mac, body = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(query, body)):
            raise InvalidRequestError("not a token of this query", self._field)
        try:
            return self._decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise InvalidRequestError("a token of another version of this service", self._field) from error

    def _mac(self, query: bytes, body: bytes) -> bytes:
        bound = hmac.digest(self._key, query, "sha256")
        return hmac.digest(bound, body, "sha256")[:_MAC_BYTES]


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(token: str, field: str) -> bytes:
    if len(token) > MAX_TOKEN_CHARS:
        raise InvalidRequestError(f"over {MAX_TOKEN_CHARS} characters", field)
    try:
        data = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestError("not a token of this query", field) from error
    if _encoded(data) != token:
        raise InvalidRequestError("not a token of this query", field)
    return data
