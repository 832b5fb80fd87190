"""What the stages hand to one another: an event on its way, accepted or rejected."""

from enum import StrEnum
from typing import Any, Final

import msgspec

from goodstrace import facts as facts_format
from goodstrace import personal_part, registration, signatures
from goodstrace.errors import EntryError, EventContentError
from goodstrace.event_content import read_event
from goodstrace.facts import Facts
from services.runtime import envelope, topics
from services.runtime.envelope import Committed, Memory, Part, Record, Rejection

EVENT_PART: Final = "event"
FACTS_PART: Final = "facts"
DOCUMENT_PART: Final = "document"
CONTEXT_PART: Final = "context"
MAX_CONTEXT_BYTES: Final = 32 * 1024
SIGNATURE_PART: Final = signatures.PART
PERSONAL_PART: Final = personal_part.PART
REGISTRATION_PART: Final = registration.PART
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
    """Why a record was refused; a closed set. FAULT: a stage failed over it, which is an error of the program."""

    INVALID = "INVALID"
    FORBIDDEN = "FORBIDDEN"
    DUPLICATE = "DUPLICATE"
    TOO_LARGE = "TOO_LARGE"
    FAULT = "FAULT"


class Item(msgspec.Struct, frozen=True):
    """A record between stages of one process: its facts and event decoded, so that no stage does that again.

    `facts` stand for the record's facts part, which is written anew by `settled`. `event` is None until a stage needed it.
    `wire` is the record's exact value on a topic, None where it never was on one; `changed` says that facts are newer. `head` is what
    stands before the facts in `wire`, where that is known.
    """

    record: Record
    facts: Facts
    event: dict[str, Any] | None = None
    wire: bytes | None = None
    changed: bool = False
    head: bytes | None = None

    def with_facts(self, **changes: Any) -> "Item":
        """Give the item with some facts changed."""
        facts = msgspec.structs.replace(self.facts, **changes)
        return Item(self.record, facts, self.event, self.wire, changed=True, head=self.head)

    def with_event(self, event: dict[str, Any]) -> "Item":
        """Give the item with its event decoded."""
        return Item(self.record, self.facts, event, self.wire, self.changed, self.head)

    def decoded(self) -> "Item":
        """Give the item with its event decoded, by whichever stage needs it first. Raises: EntryError as `event_of` does."""
        return self if self.event is not None else self.with_event(event_of(self.record, self.facts))


def settled(item: Item) -> Item:
    """Write the facts part, and the record as it goes onto a topic; the same item always gives the same bytes."""
    if item.wire is not None and not item.changed:
        return item
    record = with_facts_part(item)
    head = None
    if item.wire is not None and record.parts[-1].name == FACTS_PART:
        head = item.head or envelope.without_last_part(item.wire, item.record)
    wire = envelope.encode(record) if head is None else head + envelope.part_field(record.parts[-1])
    return Item(record, item.facts, item.event, wire, head=head)


def with_facts_part(item: Item) -> Record:
    """Give the record with its facts part written."""
    content = facts_format.encode(item.facts)
    parts = item.record.parts
    if parts[-1].name == FACTS_PART:
        return msgspec.structs.replace(
            item.record, parts=(*parts[:-1], Part(FACTS_PART, parts[-1].salt, content))
        )
    written = [Part(part.name, part.salt, content) if part.name == FACTS_PART else part for part in parts]
    return msgspec.structs.replace(item.record, parts=tuple(written))


class Unanswered(msgspec.Struct, frozen=True):
    """A rule whose expression had no answer for a thing in an event, such as a number compared with a text: it gives no verdict.

    at: JSON pointer of the thing. reason: for people, not sealed.
    """

    rule: str
    at: str
    reason: str


class Accepted(msgspec.Struct, frozen=True):
    """The stage passes the event on; `unanswered`: rules that had no answer for it."""

    item: Item
    unanswered: tuple[Unanswered, ...] = ()


class Rejected(msgspec.Struct, frozen=True):
    """The stage refuses the event: it goes to `goods.rejected`, with everything it came with."""

    record: Record


Outcome = Accepted | Rejected


def reject(
    record: Record, stage: StageName, reason: Reason, detail: str, first_id: bytes = b"", *, pointer: str = ""
) -> Rejected:
    """Refuse a record; a detail over 2,000 characters is cut, a JSON pointer over that (it leads nowhere then) left out."""
    place = pointer if len(pointer) <= MAX_DETAIL else ""
    rejection = Rejection(stage, reason, detail[:MAX_DETAIL], first_id, place)
    return Rejected(msgspec.structs.replace(record, entry=b"", tags=(), rejection=rejection))


def from_wire(value: bytes) -> Item | Memory:
    """Take what is next off a topic: an event, or what the partition must remember.

    Stages write facts anew, so they carry what was sealed unchecked once; a replay from any topic gives the same.

    Raises: EnvelopeError or EntryError where it is none of ours.
    """
    found = envelope.decode_any(value)
    if isinstance(found, Memory):
        return found
    return Item(found, facts_format.decode_as_sealed(found.part(FACTS_PART).content), wire=value)


def event_of(record: Committed, facts: Facts) -> dict[str, Any]:
    """Read a record's event, numbers exactly as written. Raises: EntryError where it is none that `collect` let pass."""
    try:
        return read_event(record.part(EVENT_PART).content, facts.context, exact_numbers=True)
    except EventContentError as error:
        raise EntryError(f"not an event: {error}") from error


def to_wire(item: Item) -> bytes:
    """Write an item for a topic; the same item always gives the same bytes."""
    value = item.wire
    if value is None or item.changed:
        value = settled(item).wire
        assert value is not None
    return value
