"""The record of an erasure: sealed into a log of looks, in clear, and naming nobody. Pure.

It is of kind `erasure` and has one part, `erasure`: RFC 8785 JSON {"destroyed", "reason", "scope"}, of an event also "record". Whoever
kept a key can see by `destroyed` that it was this one; nobody else learns from it whose it was.
"""

from enum import StrEnum
from typing import Final

import msgspec

from goodstrace.entry import Kind, TagKind
from goodstrace.facts import PIPELINE_VERSION
from services.runtime.envelope import Part, Record
from services.sealing.entries import with_entry

PART: Final = "erasure"
_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class Scope(StrEnum):
    """Whose key it was: a user's, for all looks of that user, or one record's, for the personal data of its event."""

    USER = "user"
    EVENT = "event"


class Why(StrEnum):
    """Why a key was destroyed. A closed set: people write names into their own words, and these can never be taken back.

    ASKED: who it is about asked for it. RETENTION: its time was over. ORDERED: an authority ordered it. OTHER: see the operator's files.
    """

    ASKED = "asked"
    RETENTION = "retention"
    ORDERED = "ordered"
    OTHER = "other"


class Erasure(msgspec.Struct, frozen=True):
    """One destroyed key, and all that its record is made of, so that it can be made again after a crash.

    subject: hash of the vault's subject. destroyed: SHA-256 of the key, hex. about: of an event the ID of its record, else empty.
    record_id, salt, time_ms: of the record of the erasure.
    """

    subject: bytes
    scope: Scope
    why: Why
    destroyed: str
    about: bytes
    record_id: bytes
    salt: bytes
    time_ms: int


def erasure_record(erasure: Erasure, secret: bytes) -> Record:
    """Build the record with its entry; the same erasure always gives the same bytes.

    It is found by its own ID and, of an event, by that of the record whose key was destroyed.
    """
    content: dict[str, str] = {
        "destroyed": erasure.destroyed,
        "reason": erasure.why,
        "scope": erasure.scope,
    }
    if erasure.about:
        content["record"] = erasure.about.hex()
    record = Record(
        id=erasure.record_id,
        kind=Kind.ERASURE,
        time_ms=erasure.time_ms,
        pipeline_version=PIPELINE_VERSION,
        parts=(Part(PART, erasure.salt, _ENCODER.encode(content)),),
    )
    found_by = {each.hex() for each in (erasure.record_id, erasure.about) if each}
    return with_entry(record, secret, {TagKind.RECORD: found_by})
