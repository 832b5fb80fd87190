"""What the index of looks has of each, and how it is made of what is told on `browse.watched`. Pure."""

from typing import Final

import msgspec

from goodstrace.entry import ID_BYTES
from goodstrace.record.v1 import record_pb2

MARKS: Final = "marks"
GRANTED: Final = "granted"
UNKNOWN: Final = "unknown"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What the index has of a look.

    record_id: of its browse record. subject: the hash of its user, None where that is forgotten. merchant: for whom the user acted, 0 for
    none. time_ms: of the record, Unix milliseconds. role, kind, method: as in WatchedBrowse. outcome: GRANTED, or why it was refused. mark: what became of
    the answer, UNKNOWN where that was not told.
    """

    record_id: bytes
    subject: bytes | None
    merchant: int
    time_ms: int
    role: str
    kind: str
    method: str
    outcome: str
    mark: str = UNKNOWN

    @property
    def place(self) -> "Place":
        """Where it stands in lists: newest first."""
        return Place(self.time_ms, self.record_id.hex())


class Place(msgspec.Struct, frozen=True):
    """A place in a list of rows, newest first: time and record ID (hex)."""

    time_ms: int
    record_id: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which looks: those that fit all that is said. subject: a user's hash. from_ms, until_ms: from this time on, before that one; 0: no bound."""

    subject: bytes | None = None
    merchant: int = 0
    mark: str = ""
    from_ms: int = 0
    until_ms: int = 0


def row_of(told: record_pb2.WatchedBrowse, subject: bytes | None) -> Row:
    """Make a look's row. Pure. Raises: ValueError where the message is none of a look."""
    if len(told.record_id) != ID_BYTES or not told.kind or told.kind == MARKS:
        raise ValueError("not what is told of a look")
    return Row(
        record_id=told.record_id,
        subject=subject,
        merchant=told.merchant,
        time_ms=told.time_ms,
        role=told.role,
        kind=told.kind,
        method=told.method,
        outcome=told.refused or GRANTED,
    )


def marks_of(told: record_pb2.WatchedBrowse) -> dict[bytes, str]:
    """Give what became of looks, by record ID. Pure. Raises: ValueError where an ID is none."""
    found = {
        bytes(each): name
        for name, those in (("answered", told.answered), ("failed", told.failed), ("withheld", told.withheld))
        for each in those
    }
    if any(len(each) != ID_BYTES for each in found):
        raise ValueError("not the ID of a record")
    return found
