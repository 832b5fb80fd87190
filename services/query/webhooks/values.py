"""What is kept of a webhook, as values."""

from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec

from goodstrace.entry import Position
from services.runtime.access.lasting import Credential

DAMAGED: Final = "damaged"
"""What is said in the place of a state of a webhook, or of a named query, whose document in the store cannot be read; it is never stored."""
OVER: Final = "over"
"""What is said in the place of a state of a webhook to which nothing is sent, as there are more than settings allow; it is never stored."""
TimeMs = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
"""Unix milliseconds, 0 for never, up to the year 9999: a later one could not be shown."""


class State(StrEnum):
    """Whether a webhook is delivered to."""

    ACTIVE = "active"
    DISABLED = "disabled"


class DisabledBy(StrEnum):
    """Why a webhook was disabled: the closed set of the metric's label.

    GONE: its receiver answered 410. UNAUTHENTICATED: who made it does not count any more. FAILING: nothing was delivered for too long.
    UNKNOWN: an earlier release did not keep it.
    """

    GONE = "gone"
    UNAUTHENTICATED = "unauthenticated"
    FAILING = "failing"
    UNKNOWN = "unknown"


class Sees(StrEnum):
    """What is sent of the events meant: those that everybody may see, or those that the owner may see at the time of each message."""

    PUBLIC = "public"
    OWNER = "owner"


class OwnerKind(StrEnum):
    """By what an owner is told from all others.

    MERCHANT: a number. ACCOUNT: the ID of an account. PROVIDER: a subject of the identity provider. OPERATOR: whoever has the operator's token, or an
    operator's of the identity provider that names no subject. ANYBODY: where accounts are off.
    """

    MERCHANT = "merchant"
    ACCOUNT = "account"
    PROVIDER = "oidc"
    OPERATOR = "operator"
    ANYBODY = "anybody"


class OwnerId(msgspec.Struct, frozen=True):
    """Whose a query or subscription is, by what nobody else is ever given: a name can be another's later. `id` is "" where the kind says it all."""

    kind: OwnerKind
    id: str = ""


class Pending(msgspec.Struct, frozen=True):
    """The delivery that is under way: what it holds follows from it, so that a repeated one is the same message.

    id: of the message, the same in every attempt. sizes: by log how far was looked. created_ms: Unix milliseconds. places: of its events,
    in their order. after: by log how far is looked once it is delivered. body_mark: of its body
    (`signing.mark`), which says nothing of what was erased; "" where it was begun by an earlier release, which kept none of these three.
    """

    id: str
    sizes: dict[str, int]
    created_ms: int
    places: tuple[Position, ...] = ()
    after: dict[str, int] = {}
    body_mark: str = ""


class Progress(msgspec.Struct, frozen=True):
    """How far a webhook is.

    positions: by log the index of the next entry that was not delivered or passed over. failures: how often it failed since the last
    success, the first time at failing_since_ms. next_ms: not tried before. Times are Unix milliseconds, 0 for never. disabled_by: why, of
    one that is DISABLED.
    """

    positions: dict[str, int]
    pending: Pending | None = None
    state: State = State.ACTIVE
    failures: int = 0
    failing_since_ms: int = 0
    last_error: str = ""
    last_success_ms: TimeMs = 0
    next_ms: TimeMs = 0
    delivered_events: int = 0
    delivered_messages: int = 0
    disabled_by: DisabledBy = DisabledBy.UNKNOWN


class Under(StrEnum):
    """Which secret a webhook's own is encrypted under: an earlier release took the index secret, which clients are given."""

    LOGIN = "login"
    INDEX = "index"


class Locked(msgspec.Struct, frozen=True):
    """The secret of a webhook, encrypted: nonce, ciphertext and tag."""

    data: bytes
    under: Under = Under.LOGIN


class Webhook(msgspec.Struct, frozen=True):
    """A subscription to a named query.

    id: 32 hex digits. query: the name; definition what it asks, as it was when this was made. dest: where to. locked: its
    secret, by which messages are signed. user: what records call who made it; owner: what they call whose it is, "" for one of which nobody knows; owner_id: whose it
    is, None for one that is the operators'. sees: what is sent; maker: where that is the owner's, what was shown by who made it,
    None where that was erased.
    """

    id: str
    query: str
    definition: dict[str, Any]
    dest: str
    locked: Locked
    user: str
    created_ms: TimeMs
    progress: Progress
    owner: str = ""
    owner_id: OwnerId | None = None
    sees: Sees = Sees.PUBLIC
    maker: Credential | None = None


class Damaged(msgspec.Struct, frozen=True):
    """A webhook or named query whose document in the store cannot be read: nothing is done for it until somebody mends or removes it.

    id: of the webhook, or the query's name. query: the name of its query, "" where not even that is known; of a query its own. why: for
    the log, it may say what is stored.
    """

    id: str
    query: str
    why: str
