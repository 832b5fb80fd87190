"""The keys that are derived from the login secret, one for each use. Only query services have it, and no client is ever given it. Pure."""

import hmac
from typing import Final

from services.runtime.aead import Aead

_LABEL: Final = b"goodstrace login v1: "


class SecretKeys:
    """Keys of 32 bytes derived from one secret."""

    def __init__(self, secret: bytes) -> None:
        """Derive from 32 random bytes, the same for every query process of an installation."""
        self.challenges = _derived(secret, b"challenges")
        self.devices = _derived(secret, b"devices")
        self.refresh = _derived(secret, b"refresh tokens")
        self.pages = _derived(secret, b"pages")
        self._counters = _derived(secret, b"counters")
        self.one_time_codes = Aead(_derived(secret, b"one-time codes"))
        self.webhooks = Aead(_derived(secret, b"webhook secrets"))

    def counter(self, kind: str, *names: str) -> bytes:
        """Give the 16 bytes under which something is counted: what callers type is in no store as it is."""
        said = b"".join(
            len(each).to_bytes(4, "big") + each for each in (part.encode() for part in (kind, *names))
        )
        return hmac.digest(self._counters, said, "sha256")[:16]


def _derived(secret: bytes, use: bytes) -> bytes:
    return hmac.digest(secret, _LABEL + use, "sha256")
