"""Secrets of webhooks, signatures by them, and marks by which a body is known again. Pure. Source: Standard Webhooks 1.0.0 (standardwebhooks.com)."""

import base64
import binascii
import hmac
from collections.abc import Iterable
from typing import Final

from services.query.epcis_problems import ParameterError

SECRET_FIELD: Final = "signatureToken"  # noqa: S105 - a member's name
SECRET_BYTES: Final = 32
"""Of one that we make."""
_PREFIX: Final = "whsec_"
_LEAST_BYTES: Final = 24
_MOST_BYTES: Final = 64
_MARKS: Final = b"goodstrace webhook bodies v2"


def secret_text(secret: bytes) -> str:
    """Write a secret as both sides of a webhook know it."""
    return _PREFIX + base64.b64encode(secret).decode()


def read_secret(text: str) -> bytes:
    """Read a secret: base64 of 24 to 64 bytes, with or without `whsec_` before it. Raises: ParameterError."""
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not _LEAST_BYTES <= len(secret) <= _MOST_BYTES:
        raise ParameterError(
            f"whsec_ and base64 of {_LEAST_BYTES} to {_MOST_BYTES} random bytes, please", SECRET_FIELD
        )
    return secret


def signature(secret: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Sign a message: the value of the header `webhook-signature`."""
    signed = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def mark(salts: Iterable[bytes], body: bytes) -> str:
    """Mark a body, so that it is known whether another is the same: HMAC-SHA-256, hex.

    The key is made of the salts of what the body shows, which are kept with that and go with it: no guess of what was erased can be
    tried on a mark. A bare digest, or the index secret as the key, which clients are given, would allow that to who reads the store.

    Args:
        salts: of the commitments to the parts in the body, 32 random bytes each, in their order.
        body: as it is sent.
    """
    return hmac.digest(hmac.digest(_MARKS, b"".join(salts), "sha256"), body, "sha256").hex()
