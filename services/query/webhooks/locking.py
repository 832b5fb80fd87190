"""Signing secrets of webhooks as the store keeps them: encrypted under the login secret, which never leaves the servers. Pure but for nonces.

Earlier releases encrypted them under the index secret, which signed-in clients are given: with it and a copy of the store all of them could be
read. Such a value still opens, for as long as it takes to encrypt it anew (`relocking`).
"""

import hmac
import os
from collections.abc import Callable
from typing import Final

import msgspec

from services.query.accounts.secret_keys import SecretKeys
from services.query.webhooks.signing import SECRET_BYTES
from services.query.webhooks.values import Locked, Under, Webhook
from services.runtime.aead import NONCE_BYTES, Aead
from services.sealing.errors import CorruptError

_OF_INDEX_SECRET: Final = b"goodstrace webhook secrets v1"
_WHAT_TO_DO: Final = "put that one back, or resume the webhook, which gives it a new secret"


class SecretLock:
    """Encrypts and decrypts secrets of webhooks, each bound to its webhook: no other one's can be put in its place."""

    def __init__(
        self, keys: SecretKeys, index_secret: bytes, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        """Lock under the login secret's key for webhooks.

        Args:
            keys: of the login secret.
            index_secret: of the installation, 32 bytes; it only opens what an earlier release has locked.
            random: gives as many random bytes as are asked for.
        """
        self._keys = {
            Under.LOGIN: keys.webhooks,
            Under.INDEX: Aead(hmac.digest(index_secret, _OF_INDEX_SECRET, "sha256")),
        }
        self._random = random

    def locked(self, webhook_id: str, secret: bytes) -> Locked:
        """Encrypt the secret of a webhook for the store, which alone then gives nobody the right to sign."""
        data = self._keys[Under.LOGIN].encrypted(secret, webhook_id.encode(), self._random(NONCE_BYTES))
        return Locked(data)

    def unlocked(self, webhook_id: str, kept: Locked) -> bytes:
        """Decrypt the secret of a webhook. Raises: CorruptError that says what to do, where it was altered or is of another installation."""
        secret = self._keys[kept.under].decrypted(kept.data, webhook_id.encode())
        if secret is None:
            raise CorruptError(
                f"the secret of the webhook {webhook_id} does not open: it was altered, or locked under another {kept.under} secret;"
                f" {_WHAT_TO_DO}"
            )
        return secret

    def signable(self, webhook: Webhook, asked: bytes | None) -> tuple[Webhook, bytes | None]:
        """Give a webhook a secret that opens, locked anew.

        Args:
            webhook: as it is kept.
            asked: the secret that it is to have; None: its own, or a new one where that does not open.
        Returns: the webhook, and its secret where that is another one than before, to be told.
        """
        told = asked
        if told is None and not self._opens(webhook):
            told = self._random(SECRET_BYTES)
        secret = self.unlocked(webhook.id, webhook.locked) if told is None else told
        return msgspec.structs.replace(webhook, locked=self.locked(webhook.id, secret)), told

    def _opens(self, webhook: Webhook) -> bool:
        try:
            self.unlocked(webhook.id, webhook.locked)
        except CorruptError:
            return False
        return True
