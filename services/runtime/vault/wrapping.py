"""Wrapping keys under key-encryption keys: AES-256-GCM with a random nonce. No I/O.

What is wrapped names the key-encryption key by a hash, so that another one can follow it. Source: NIST SP 800-38D.
"""

import hashlib
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.runtime.aead import Aead
from services.runtime.vault.errors import VaultError

KEY_BYTES: Final = 32
MAX_KEYS: Final = 16
_ID_CHARS: Final = 16
_ID_DOMAIN: Final = b"goodstrace/vault/v1 key-encryption key "
_BESIDE: Final = b"goodstrace/vault/v1 beside the key"


def wrap(key: bytes, secret: bytes, about: bytes, nonce: bytes) -> bytes:
    """Encrypt a secret: nonce || ciphertext.

    Args:
        key: 32 bytes.
        secret: of any size.
        about: what the secret belongs to; it opens for nothing else.
        nonce: NONCE_BYTES random bytes.
    """
    return Aead(key).encrypted(secret, about, nonce)


def unwrap(key: bytes, wrapped: bytes, about: bytes) -> bytes:
    """Decrypt what `wrap` gave. Raises: VaultError where key or `about` are others, or a byte was altered."""
    secret = Aead(key).decrypted(wrapped, about)
    if secret is None:
        raise VaultError("what lies in the vault does not open: it was altered, or is another's")
    return secret


def beside(user_key: bytes) -> bytes:
    """Derive from a user's key the one for what the vault says of that user. Source: RFC 5869."""
    return HKDF(SHA256(), KEY_BYTES, None, _BESIDE).derive(user_key)


class Ring(Protocol):
    """Key-encryption keys: the newest wraps, all of them open."""

    @property
    def newest(self) -> str:
        """The name of the newest, by which documents say what they are wrapped under."""
        ...

    def wrap(self, secret: bytes, about: bytes, nonce: bytes) -> dict[str, Any]:
        """Wrap a secret under the newest key, as fields of a document. Raises: VaultError."""
        ...

    def unwrap(self, document: dict[str, Any], about: bytes) -> bytes:
        """Open a document's secret. Raises: VaultError."""
        ...


class KeyRing:
    """The key-encryption keys of one installation, the newest first."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        """Take 1 to MAX_KEYS keys of 32 bytes. Raises: ValueError."""
        if not 0 < len(keys) <= MAX_KEYS or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"1 to {MAX_KEYS} keys of {KEY_BYTES} bytes each, please")
        self.keys = keys
        self._by_id = {_id_of(key): key for key in keys}
        self.newest = _id_of(keys[0])

    @property
    def names(self) -> frozenset[str]:
        """The names of all keys, as documents have them."""
        return frozenset(self._by_id)

    def wrap(self, secret: bytes, about: bytes, nonce: bytes) -> dict[str, Any]:
        """Wrap a secret under the newest key, as fields of a document."""
        return {"kek": self.newest, "wrapped": wrap(self._by_id[self.newest], secret, about, nonce)}

    def unwrap(self, document: dict[str, Any], about: bytes) -> bytes:
        """Open a document's secret. Raises: VaultError."""
        key = self._by_id.get(str(document.get("kek")))
        if key is None:
            raise VaultError(
                f"the vault is wrapped under the key-encryption key {document.get('kek')}, which is not in GOODSTRACE_VAULT_KEY_FILE: put it back"
            )
        return unwrap(key, bytes(document["wrapped"]), about)


def _id_of(key: bytes) -> str:
    return hashlib.sha256(_ID_DOMAIN + key).hexdigest()[:_ID_CHARS]
