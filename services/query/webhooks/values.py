"""What is kept of a webhook, as values."""

from enum import StrEnum
from typing import Any

import msgspec

from services.runtime.access.values import Principal, Role


class State(StrEnum):
    """Whether a webhook is delivered to."""

    ACTIVE = "active"
    DISABLED = "disabled"


class Pending(msgspec.Struct, frozen=True):
    """The delivery that is under way: what it holds follows from it, so that a repeated one is the same message.

    id: of the message, the same in every attempt. sizes: by log how far was looked. created_ms: Unix milliseconds.
    """

    id: str
    sizes: dict[str, int]
    created_ms: int


class Progress(msgspec.Struct, frozen=True):
    """How far a webhook is.

    positions: by log the index of the next entry that was not delivered or passed over. failures: how often it failed since the last
    success, the first time at failing_since_ms. next_ms: not tried before. Times are Unix milliseconds, 0 for never.
    """

    positions: dict[str, int]
    pending: Pending | None = None
    state: State = State.ACTIVE
    failures: int = 0
    failing_since_ms: int = 0
    last_error: str = ""
    last_success_ms: int = 0
    next_ms: int = 0
    delivered_events: int = 0
    delivered_messages: int = 0


class Webhook(msgspec.Struct, frozen=True):
    """A subscription to a named query.

    id: 32 hex digits. query: the name; definition what it asks, as it was when this was made. dest: where to. locked: its
    secret, encrypted. user: who made it; owner: whose it is (`owner_of`), "" for one of which nobody knows.
    """

    id: str
    query: str
    definition: dict[str, Any]
    dest: str
    locked: bytes
    user: str
    created_ms: int
    progress: Progress
    owner: str = ""


def owner_of(who: Principal) -> str:
    """Say whose the queries and subscriptions are that somebody makes: a merchant's, whoever acts for it, or an account's own."""
    return f"merchant:{who.merchant}" if who.merchant else who.name


def only_of(who: Principal) -> str | None:
    """Say whose somebody may see and remove; None for everybody's (operators)."""
    return None if Role.OPERATOR in who.roles else owner_of(who)
