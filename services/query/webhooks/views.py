"""Named queries and webhooks as callers are shown them, as JSON. Pure."""

from datetime import UTC, datetime
from typing import Any, Final

from services.query.epcis_problems import DAMAGED_SAYS, DamagedError
from services.query.webhooks.asked import SEES_FIELD, NamedQuery
from services.query.webhooks.delivery import Checkpoints, lag
from services.query.webhooks.values import DAMAGED, Damaged, Webhook

_DAMAGED: Final = {
    "goodstrace:state": DAMAGED,
    "goodstrace:lastError": f"{DamagedError.category}: {DAMAGED_SAYS}",
}


def query_view(query: NamedQuery | Damaged) -> dict[str, Any]:
    """Show a named query; of a damaged one its name, by which it can be removed, and nothing of what is stored."""
    if isinstance(query, Damaged):
        return {"name": query.id, **_DAMAGED}
    return {"name": query.name, "query": query.query}


def webhook_view(webhook: Webhook | Damaged, checkpoints: Checkpoints) -> dict[str, Any]:
    """Show a webhook: how it is, when it was delivered to, what went wrong.

    Args:
        webhook: of a damaged one its ID is shown, by which it can be removed, and nothing of what is stored.
        checkpoints: the newest by log, for how far it is behind.
    """
    if isinstance(webhook, Damaged):
        return {"subscriptionID": webhook.id, "queryName": webhook.query, **_DAMAGED}
    progress = webhook.progress
    return {
        "subscriptionID": webhook.id,
        "queryName": webhook.query,
        "dest": webhook.dest,
        "createdAt": _time(webhook.created_ms),
        **({"lastNotifiedAt": _time(progress.last_success_ms)} if progress.last_success_ms else {}),
        "stream": True,
        SEES_FIELD: webhook.sees.value,
        "goodstrace:state": progress.state.value,
        "goodstrace:failures": progress.failures,
        **({"goodstrace:lastError": progress.last_error} if progress.last_error else {}),
        **({"goodstrace:nextTry": _time(progress.next_ms)} if progress.next_ms else {}),
        "goodstrace:deliveredEvents": progress.delivered_events,
        "goodstrace:deliveredMessages": progress.delivered_messages,
        "goodstrace:positions": progress.positions,
        "goodstrace:lag": lag(progress, checkpoints),
    }


def _time(time_ms: int) -> str:
    return (
        datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
