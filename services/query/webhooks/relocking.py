"""Secrets of webhooks that an earlier release has locked under the index secret, locked anew under the login secret.

All of them at each start, and one that a process of that release makes after this, as long as the two run side by side, when it is first used. Each
is replaced in one write, and only while it is what was opened: however many processes do it, and wherever one is killed, there is either of the
two, and both open to the same secret.
"""

import structlog

from services.query.webhooks.locking import SecretLock
from services.query.webhooks.store import WebhookStore
from services.query.webhooks.values import Locked, Under
from services.sealing.errors import CorruptError


async def relock(store: WebhookStore, lock: SecretLock, log: structlog.stdlib.BoundLogger) -> int:
    """Lock all that are under the index secret anew; may be repeated. What does not open is logged, and stays. Raises: UnavailableError.

    Returns: how many this call has replaced.
    """
    count = 0
    for webhook_id, kept in await store.locked_under_index_secret():
        try:
            _, replaced = await _relocked(store, lock, webhook_id, kept)
        except CorruptError as error:
            log.warning("a webhook cannot be signed for", webhook=webhook_id, why=str(error))
        else:
            count += replaced
    return count


async def opened(store: WebhookStore, lock: SecretLock, webhook_id: str, kept: Locked) -> bytes:
    """Decrypt the secret of a webhook, and lock it anew where that is called for. Raises: CorruptError, UnavailableError."""
    if kept.under is Under.LOGIN:
        return lock.unlocked(webhook_id, kept)
    secret, _ = await _relocked(store, lock, webhook_id, kept)
    return secret


async def _relocked(
    store: WebhookStore, lock: SecretLock, webhook_id: str, kept: Locked
) -> tuple[bytes, bool]:
    secret = lock.unlocked(webhook_id, kept)
    return secret, await store.relock(webhook_id, kept, lock.locked(webhook_id, secret))
