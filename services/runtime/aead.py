"""Encrypting small secrets for a store: AES-256-GCM, bound to what each belongs to. Pure. Source: NIST SP 800-38D."""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 12


class Aead:
    """Encrypts and decrypts under one key."""

    def __init__(self, key: bytes) -> None:
        """Use a key of 32 bytes, random or derived for this use alone."""
        self._gcm = AESGCM(key)

    def encrypted(self, secret: bytes, about: bytes, nonce: bytes) -> bytes:
        """Encrypt a secret: nonce || ciphertext || 16 bytes of tag.

        Args:
            secret: of any size.
            about: what the secret belongs to; it opens for nothing else.
            nonce: NONCE_BYTES random bytes.
        """
        return nonce + self._gcm.encrypt(nonce, secret, about)

    def decrypted(self, sealed: bytes, about: bytes) -> bytes | None:
        """Decrypt what `encrypted` gave; None where key or `about` are others, or a byte was altered."""
        try:
            return self._gcm.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
        except (InvalidTag, ValueError):
            return None
