"""API keys: `gst_<ID>_<secret>`. Pure.

The ID, 8 bytes, finds the row; the secret, 32 random bytes, is kept as its SHA-256 alone. A slow hash guards what people choose;
against 2^256 it adds nothing, and every capture would pay for it. Source: OWASP ASVS 5.0, 11.4 and 6.5.2; NIST SP 800-63B section 5.1.2.2.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final

import msgspec

PREFIX: Final = "gst_"
ID_BYTES: Final = 8
SECRET_BYTES: Final = 32
_SHAPE: Final = re.compile(r"gst_([0-9a-f]{16})_([A-Za-z0-9_-]{43})", re.ASCII)
_NOBODY: Final = bytes(32)


class ApiKey(msgspec.Struct, frozen=True):
    """A key at rest. `digest` is the SHA-256 of its secret's text; `revoked_ms` is 0 while it is good."""

    id: str
    merchant: int
    digest: bytes
    created_ms: int
    label: str = ""
    revoked_ms: int = 0


def new_key(merchant: int, label: str, now_ms: int, random: Callable[[int], bytes]) -> tuple[ApiKey, str]:
    """Make a key: what is kept of it, and the key itself, which nobody can be told again."""
    identifier = random(ID_BYTES).hex()
    secret = urlsafe_b64encode(random(SECRET_BYTES)).decode().rstrip("=")
    kept = ApiKey(identifier, merchant, _digest(secret), now_ms, label)
    return kept, f"{PREFIX}{identifier}_{secret}"


def parse(text: str) -> tuple[str, str] | None:
    """Take a key apart into ID and secret; None where it is none."""
    match = _SHAPE.fullmatch(text)
    return (match[1], match[2]) if match else None


def is_of(secret: str, key: ApiKey | None) -> bool:
    """Say whether a secret is the key's, in the same time whatever it is; also where there is no such key."""
    same = hmac.compare_digest(_digest(secret), key.digest if key else _NOBODY)
    return same and key is not None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
