"""The keys that are derived from the login secret, one for each use, and what is encrypted under one. Pure but for a nonce that is given."""

import hmac
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_LABEL: Final = b"goodstrace login v1: "
_NONCE_BYTES: Final = 12


class SecretKeys:
    """Keys of 32 bytes derived from one secret."""

    def __init__(self, secret: bytes) -> None:
        """Derive from 32 random bytes, the same for every query process of an installation."""
        self.challenges = _derived(secret, b"challenges")
        self.devices = _derived(secret, b"devices")
        self.refresh = _derived(secret, b"refresh tokens")
        self.pages = _derived(secret, b"pages")
        self._counters = _derived(secret, b"counters")
        self._totp = AESGCM(_derived(secret, b"one-time codes"))

    def counter(self, kind: str, *names: str) -> bytes:
        """Give the 16 bytes under which something is counted: what callers type is in no store as it is."""
        said = b"".join(
            len(each).to_bytes(4, "big") + each for each in (part.encode() for part in (kind, *names))
        )
        return hmac.digest(self._counters, said, "sha256")[:16]

    def encrypted(self, secret: bytes, account: str, random: Callable[[int], bytes]) -> bytes:
        """Encrypt an account's secret for the store, bound to the account: moved to another one it does not open."""
        nonce = random(_NONCE_BYTES)
        return nonce + self._totp.encrypt(nonce, secret, account.encode())

    def decrypted(self, sealed: bytes, account: str) -> bytes | None:
        """Open it; None where it was not encrypted under this secret for this account."""
        try:
            return self._totp.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], account.encode())
        except (InvalidTag, ValueError):
            return None


def _derived(secret: bytes, use: bytes) -> bytes:
    return hmac.digest(secret, _LABEL + use, "sha256")
