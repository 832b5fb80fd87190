"""Cursors of subscriptions: opaque and authenticated, and good as long as the index secret is, by whichever release they were made.

A cursor is base64url, without padding, of a 16-byte HMAC-SHA-256 and a JSON state. It holds what the message that brings it tells readably,
so it is not encrypted; and its key comes from the index secret alone, so that neither an upgrade nor the loss of the vault ends a
subscription. Signed-in clients have that secret and can make cursors: these lead nowhere that `start` does not, through the same filters.
"""

import hmac
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from services.runtime.call_errors import InvalidRequestError
from services.runtime.page_tokens import decoded, encoded

FIELD: Final = "cursor"
NOT_OURS: Final = "not a cursor of this platform, or one under another index secret"
_MAC_BYTES: Final = 16
_DERIVATION: Final = b"goodstrace page token v1"  # that of earlier releases, whose cursors go on
_BOUND: Final = b'"Subscribe"'


class _State(msgspec.Struct, frozen=True):
    positions: dict[str, Annotated[int, msgspec.Meta(ge=0)]]


class Cursors:
    """Makes and opens cursors."""

    def __init__(self, secret: bytes) -> None:
        """Derive the key from the index secret."""
        self._key = hmac.digest(hmac.digest(secret, _DERIVATION, "sha256"), _BOUND, "sha256")
        self._decoder = msgspec.json.Decoder(_State)

    def seal(self, positions: Mapping[str, int]) -> str:
        """Make the cursor that says of each log the index of the next entry to be looked at."""
        body = msgspec.json.encode(_State(dict(positions)))
        return encoded(self._mac(body) + body)

    def open(self, cursor: str) -> dict[str, int]:
        """Give the positions of a cursor, each 0 or more. Raises: InvalidRequestError, whatever the text."""
        data = decoded(cursor, FIELD, NOT_OURS)
        mac, body = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body)):
            raise InvalidRequestError(NOT_OURS, FIELD)
        try:
            return self._decoder.decode(body).positions
        except msgspec.MsgspecError as error:
            raise InvalidRequestError(NOT_OURS, FIELD) from error

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:_MAC_BYTES]
