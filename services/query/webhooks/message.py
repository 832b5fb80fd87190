"""One message of a webhook, put together from what was gathered: which events it takes, its body, its headers. Pure."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from services.query import epcis_headers
from services.query.epcis_document import EventJson, Page, SealedAt, event_json
from services.query.epcis_walk import EVENT
from services.query.forward import Gathered, Seen
from services.query.webhooks.signing import mark, signature
from services.query.webhooks.values import Pending, Webhook
from services.runtime.envelope import Part
from services.runtime.epcis_negotiation import ANSWERED
from services.sealing.showing import position

_USER_AGENT: Final = "goodstrace-webhooks/1"


class Message(msgspec.Struct, frozen=True):
    """The events of one message, its body, and how far every log is looked at once it is delivered."""

    events: tuple[Seen, ...]
    body: bytes
    after: dict[str, int]

    def body_mark(self) -> str:
        """Mark the body by the salts of the events in it."""
        return mark((_content(each).salt for each in self.events), self.body)


def pending(webhook: Webhook, sizes: Mapping[str, int], now_ms: int) -> Pending:
    """Begin the next message of a webhook: the same positions and sizes are the same message, whoever sends it.

    One that takes the place of a message which may not be sent any more has an ID of its own.
    """
    instead_of = webhook.progress.pending.id if webhook.progress.pending else ""
    told = msgspec.json.encode((webhook.id, webhook.progress.positions, sizes, instead_of), order="sorted")
    return Pending(f"msg_{hashlib.sha256(told).hexdigest()[:32]}", dict(sizes), now_ms)


def message(webhook: Webhook, fixed: Pending, gathered: Gathered, most_bytes: int) -> Message:
    """Put events into one document, as many as fit under one JSON-LD context; the same arguments give the same bytes."""
    page = Page(len(gathered.events), most_bytes)
    taken = 0
    for seen in gathered.events:
        if not page.take(*_shown(seen, fixed.sizes[seen.record.log])):
            break
        taken += 1
    after = dict(gathered.after)
    for seen in reversed(gathered.events[taken:]):
        after[seen.record.log] = seen.record.index
    created = datetime.fromtimestamp(fixed.created_ms / 1000, UTC).isoformat(timespec="milliseconds")
    body = page.document(created.replace("+00:00", "Z"), webhook.query, webhook.id)
    return Message(gathered.events[:taken], body, after)


def fixed(begun: Pending, made: Message) -> Pending:
    """Fix a message: what it is made of, and what its body is to be in every attempt."""
    places = tuple(position(each.record) for each in made.events)
    return msgspec.structs.replace(begun, places=places, after=made.after, body_mark=made.body_mark())


def headers(fixed: Pending, secret: bytes, body: bytes, browse_id: str, now_s: int) -> dict[str, str]:
    """Give the headers of one attempt, signed. Source: Standard Webhooks 1.0.0."""
    return {
        "Content-Type": epcis_headers.JSON,
        "User-Agent": _USER_AGENT,
        **ANSWERED,
        epcis_headers.BROWSE: browse_id,
        "webhook-id": fixed.id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": signature(secret, fixed.id, now_s, body),
    }


def _shown(seen: Seen, size: int) -> tuple[EventJson, SealedAt]:
    facts = seen.facts
    assert facts is not None
    sealed = SealedAt(seen.record.log, seen.record.index, size, facts.event_hash)
    return event_json(_content(seen).content, facts.context), sealed


def _content(seen: Seen) -> Part:
    return next(part for part in seen.record.parts if part.name == EVENT)
