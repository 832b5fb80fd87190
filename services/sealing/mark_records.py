"""Marks: records of what became of the answers to looks. Pure.

A mark is a record of kind browse with one part, `outcomes`: RFC 8785 JSON of the looks' record IDs (hex, sorted) by outcome. It has no tags and names
nobody. A look without a mark is one whose process ended in between: what became of it is unknown.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from goodstrace.entry import Kind
from goodstrace.facts import PIPELINE_VERSION
from goodstrace.record.v1 import record_pb2
from services.runtime.envelope import Committed, Part, Record, content_of
from services.runtime.errors import EnvelopeError
from services.runtime.looks import Outcome
from services.sealing.entries import with_entry

PART: Final = "outcomes"
MARKS: Final = "marks"
"""What `WatchedBrowse` calls them."""
_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(dict[str, list[str]])


def mark_record(
    outcomes: Mapping[bytes, Outcome], *, record_id: bytes, time_ms: int, salt: bytes, secret: bytes
) -> Record:
    """Build the record of a batch of marks with its entry. No I/O, no clock, no randomness.

    Args:
        outcomes: by the looks' record IDs, 1 to 200 of them.
        record_id: 16 random bytes.
        time_ms: Unix milliseconds.
        salt: 32 random bytes.
        secret: the index secret, 32 bytes.
    """
    content = {
        outcome.value: sorted(look.hex() for look, each in outcomes.items() if each is outcome)
        for outcome in Outcome
    }
    record = Record(
        id=record_id,
        kind=Kind.BROWSE,
        time_ms=time_ms,
        pipeline_version=PIPELINE_VERSION,
        parts=(Part(PART, salt, _ENCODER.encode(content)),),
    )
    return with_entry(record, secret, {})


def watched_marks(outcomes: Mapping[bytes, Outcome], time_ms: int) -> record_pb2.WatchedBrowse:
    """Build what is told of a batch of marks beside its record, for the index of looks."""
    by_outcome = {
        outcome: sorted(look for look, each in outcomes.items() if each is outcome) for outcome in Outcome
    }
    return record_pb2.WatchedBrowse(
        time_ms=time_ms,
        kind=MARKS,
        answered=by_outcome[Outcome.ANSWERED],
        failed=by_outcome[Outcome.FAILED],
        withheld=by_outcome[Outcome.WITHHELD],
    )


def is_mark(record: Committed) -> bool:
    """Say whether a record of kind browse is one of marks, and not of a look."""
    return content_of(record.parts, PART) is not None


def outcomes_of(record: Committed) -> dict[bytes, Outcome]:
    """Read a batch of marks. Raises: EnvelopeError."""
    content = content_of(record.parts, PART) or b""
    try:
        told = _DECODER.decode(content)
        return {bytes.fromhex(look): Outcome(name) for name, looks in told.items() for look in looks}
    except (msgspec.MsgspecError, ValueError) as error:
        raise EnvelopeError(f"record {record.id.hex()}: its part {PART!r} cannot be read") from error
