"""What `collect` makes of personal data in an event: a record without it and an encrypted part `personal`, or a refusal. Pure."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from goodstrace import encrypted_parts, personal_part
from goodstrace.entry import SALT_BYTES
from goodstrace.personal_part import Personal
from services.collector.documents import Document
from services.collector.errors import DocumentError, Fault
from services.collector.flow import EVENT_PART, PERSONAL_PART, SIGNATURE_PART, Reason
from services.collector.personal.finding import Finder, Path
from services.collector.personal.table import Table
from services.collector.personal.taking_out import take_out
from services.collector.strict_json import pointer
from services.collector.validation import check_event
from services.runtime.envelope import Part, Record
from services.runtime.merchants.values import PersonalData

_SHOWN: Final = 5


class Apart(msgspec.Struct, frozen=True):
    """An event taken apart.

    content, event: its bytes without personal data, and their JSON form. personal: what was taken out. fault: why what is left cannot be
    captured, None where it can. stays: whether some of it may still be in `content`.
    """

    content: bytes
    event: Any
    personal: Personal
    fault: Fault | None = None
    stays: bool = False


def apart(document: Document, sequence: int, event: Any, finder: Finder) -> Apart | None:
    """Take the personal data out of an event; None where there is none, and the event stays as it is.

    Args:
        document: in which it came.
        sequence: its number in it.
        event: its JSON form, as decoded: it may be no event at all.
        finder: finds what is about a person, in events with this one's context around them.
    """
    if type(event) is not dict:
        return None
    paths = finder.find(event)
    if not paths:
        return None
    content, personal = take_out(document.events[sequence], paths, finder.table)
    try:
        left = document.decode_as(sequence, content)
    except DocumentError as error:
        return Apart(content, None, personal, _stays(paths, error.faults[0].detail), stays=True)
    stays = bool(finder.find(left)) if type(left) is dict else True
    fault = check_event(left, document.context_of(sequence))
    if fault is not None:
        told = _stays(paths, f"{fault.pointer} {fault.detail}")
        return Apart(content, left, personal, told, stays=stays)
    if stays:
        return Apart(content, left, personal, _stays(paths, "it could not be told from the rest"), stays=True)
    return Apart(content, left, personal)


def refusal(taken: Apart, record: Record, policy: PersonalData) -> tuple[Reason, Fault] | None:
    """Say why an event with personal data is refused, None where that may be moved."""
    if policy is PersonalData.REFUSE:
        why = "is personal data, which events of this merchant may not hold: leave it out"
    elif any(part.name == SIGNATURE_PART for part in record.parts):
        why = "is personal data, and cannot be taken out of an event that is signed: leave it out, and sign again"
    else:
        return (Reason.INVALID, taken.fault) if taken.fault is not None else None
    return Reason.INVALID, _told(taken.personal.pointers, why)


def bared(record: Record, taken: Apart) -> Record:
    """Give a record that is refused without the personal data in it, and without what could tell a guess of it: the signature.

    An empty part `personal` says that something was left out. Where not all of it could be taken out nothing of the event is kept.
    """
    event = record.parts[0]
    kept = (
        Part(event.name, event.salt, b"" if taken.stays else taken.content),
        Part(PERSONAL_PART, bytes(SALT_BYTES), b""),
    )
    return msgspec.structs.replace(record, parts=kept)


def unread(record: Record, context: Any, table: Table) -> Record:
    """Give a record whose event cannot be read without its bytes, where they may hold personal data: by a name of their own, or one that the document's `@context` makes of another."""
    event = record.parts[0]
    if not (table.may_name(event.content) or table.may_name(msgspec.json.encode(context))):
        return record
    kept = (Part(event.name, event.salt, b""), Part(PERSONAL_PART, bytes(SALT_BYTES), b""))
    return msgspec.structs.replace(record, parts=kept)


def sealed(record: Record, taken: Apart, random: Callable[[int], bytes]) -> tuple[Record, bytes]:
    """Give a record with its personal data in a part of its own, and the key that this is encrypted under: 32 bytes.

    The salt beside the ciphertext is as random as any; what keeps the content from being guessed is the key, which is in the vault alone.
    """
    key = random(encrypted_parts.KEY_BYTES)
    own = encrypted_parts.record_key(key, record.id, PERSONAL_PART)
    clear = personal_part.encode(taken.personal)
    part = Part(
        PERSONAL_PART, random(SALT_BYTES), encrypted_parts.encrypt(own, record.id, PERSONAL_PART, clear)
    )
    parts = tuple(
        Part(each.name, each.salt, taken.content) if each.name == EVENT_PART else each
        for each in record.parts
    )
    return msgspec.structs.replace(record, parts=(*parts, part)), key


def _stays(paths: tuple[Path, ...], why: str) -> Fault:
    told = f"is personal data, and cannot be taken out of the event ({why}): leave it out"
    return _told(tuple(pointer(*path) for path in paths), told)


def _told(pointers: tuple[str, ...], why: str) -> Fault:
    """Name the first place as such, and some more of them in words."""
    others = ", ".join(pointers[1:_SHOWN])
    more = f" and {len(pointers) - _SHOWN} more" if len(pointers) > _SHOWN else ""
    return Fault(pointers[0], f"{why}; so is {others}{more}" if others else why)
