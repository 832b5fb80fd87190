"""What the stages hand to one another: an event on its way, accepted or rejected."""

from enum import StrEnum
from typing import Any, Final

import msgspec

from goodstrace import facts as facts_format
from goodstrace import signatures
from goodstrace.facts import Facts
from services.runtime import envelope, topics
from services.runtime.envelope import Part, Record, Rejection

EVENT_PART: Final = "event"
FACTS_PART: Final = "facts"
SIGNATURE_PART: Final = signatures.PART
REGISTRATION_PART: Final = "registration"
MAX_DETAIL: Final = 2000
MAX_RECORD_BYTES: Final = (
    topics.MAX_MESSAGE_BYTES - 64 * 1024
)  # room for a rejection's detail and the message's frame
MAX_COLLECTED_BYTES: Final = (
    MAX_RECORD_BYTES - 64 * 1024
)  # room for what `summarise` adds, which refuses for no size


class StageName(StrEnum):
    """The five stages, in order."""

    COLLECT = "collect"
    SUMMARISE = "summarise"
    RECORD = "record"
    CLASSIFY = "classify"
    STORE = "store"


class Reason(StrEnum):
    """Why a record was refused; a closed set."""

    INVALID = "INVALID"
    FORBIDDEN = "FORBIDDEN"
    DUPLICATE = "DUPLICATE"
    TOO_LARGE = "TOO_LARGE"


class Item(msgspec.Struct, frozen=True):
    """A record between stages of one process: its facts and event decoded, so that no stage does that again.

    `facts` stand for the record's facts part, which is written anew when the item leaves. `event` is None until a stage
    needed it. `wire` is the record's exact value on the topic it came from, while nothing has changed.
    """

    record: Record
    facts: Facts
    event: dict[str, Any] | None = None
    wire: bytes | None = None

    def with_facts(self, **changes: Any) -> "Item":
        """Give the item with some facts changed."""
        return Item(self.record, msgspec.structs.replace(self.facts, **changes), self.event)

    def with_event(self, event: dict[str, Any]) -> "Item":
        """Give the item with its event decoded."""
        return Item(self.record, self.facts, event, self.wire)

    def sealed(self) -> Record:
        """Give the record with its facts part written."""
        content = facts_format.encode(self.facts)
        parts = tuple(
            Part(part.name, part.salt, content) if part.name == FACTS_PART else part
            for part in self.record.parts
        )
        return msgspec.structs.replace(self.record, parts=parts)


class Accepted(msgspec.Struct, frozen=True):
    """The stage passes the event on."""

    item: Item


class Rejected(msgspec.Struct, frozen=True):
    """The stage refuses the event: it goes to `goods.rejected`, with everything it came with."""

    record: Record


Outcome = Accepted | Rejected


def reject(record: Record, stage: StageName, reason: Reason, detail: str, first_id: bytes = b"") -> Rejected:
    """Refuse a record; a detail over 2,000 characters is cut."""
    return Rejected(
        msgspec.structs.replace(
            record, entry=b"", tags=(), rejection=Rejection(stage, reason, detail[:MAX_DETAIL], first_id)
        )
    )


def from_wire(value: bytes) -> Item:
    """Take an event off a topic. Raises: EnvelopeError or EntryError where it is none of ours."""
    record = envelope.decode(value)
    return Item(record, facts_format.decode(record.part(FACTS_PART).content), wire=value)


def to_wire(item: Item) -> bytes:
    """Write an item for a topic; the same item always gives the same bytes."""
    return item.wire if item.wire is not None else envelope.encode(item.sealed())
