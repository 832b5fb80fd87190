"""Listing browse records: what a request asks, and how the logs' records become pages. Pure, no I/O."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from goodstrace import entry as entries
from goodstrace.audit.v1 import audit_pb2
from goodstrace.entry import Position, TagKind
from goodstrace.identifiers import canonical_key
from services.audit.index_values import UNKNOWN, Place, Row, Wanted
from services.runtime.call_errors import InvalidRequestError, NotAllowedError
from services.runtime.call_limits import (
    MAX_KEY_CHARS,
    MAX_PURPOSE_CHARS,
    MAX_USER_CHARS,
    check_text,
    checked_page_size,
)
from services.sealing.showing import record_bytes
from services.sealing.values import SealedRecord

METHOD: Final = "ListBrowses"
DEFAULT_PAGE_SIZE: Final = 100
_LATEST_MS: Final = 2**53
_LATEST_MERCHANT: Final = 2**53
OUTCOMES: Final[Mapping[audit_pb2.BrowseOutcome.ValueType, str]] = {
    audit_pb2.BROWSE_OUTCOME_UNSPECIFIED: "",
    audit_pb2.BROWSE_OUTCOME_ANSWERED: "answered",
    audit_pb2.BROWSE_OUTCOME_FAILED: "failed",
    audit_pb2.BROWSE_OUTCOME_WITHHELD: "withheld",
    audit_pb2.BROWSE_OUTCOME_UNKNOWN: UNKNOWN,
}
"""What the index calls them; the first is any where it is asked for."""
MESSAGES: Final = {name: outcome for outcome, name in OUTCOMES.items() if name}


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which browse records: those that meet all that is said.

    key: canonical, that they name. user: who looked. merchant: for whom they acted. start_ms, end_ms: of record time, from then on and before then. outcome: of
    their answers, as the index names it. Empty or 0 is any.
    """

    key: str = ""
    user: str = ""
    merchant: int = 0
    start_ms: int = 0
    end_ms: int = 0
    outcome: str = ""

    def encode(self) -> bytes:
        """Give the bytes that page tokens are bound to."""
        return msgspec.json.encode((METHOD, *msgspec.structs.astuple(self)))

    def tag(self, secret: bytes) -> bytes:
        """Derive the index tag of the records asked for; one of a user is in records of before the index alone."""
        return (
            entries.tag(secret, TagKind.KEY, self.key)
            if self.key
            else entries.tag(secret, TagKind.USER, self.user)
        )

    def wanted(self, subject: bytes | None) -> Wanted:
        """Say what of the index is asked for; `subject` is the user's hash."""
        return Wanted(
            subject=subject,
            merchant=self.merchant,
            mark=self.outcome,
            from_ms=self.start_ms,
            until_ms=self.end_ms,
        )

    @property
    def narrows(self) -> bool:
        """Whether more is asked than a key, or a user."""
        return bool(self.merchant or self.start_ms or self.end_ms or self.outcome or (self.key and self.user))

    @property
    def told(self) -> str:
        """What a browse record says of it beside key and user."""
        said = (
            ("merchant", self.merchant),
            ("from", self.start_ms),
            ("before", self.end_ms),
            ("outcome", self.outcome),
        )
        return " ".join(f"{name}={value}" for name, value in said if value)

    def fits(self, time_ms: int, row: Row | None, subject: bytes | None) -> bool:
        """Say whether a record that names the key fits the rest.

        Args:
            time_ms: its record time.
            row: what the index has of it, if anything.
            subject: the hash of the user asked for.
        """
        if time_ms < self.start_ms or (self.end_ms and time_ms >= self.end_ms):
            return False
        if row is None:
            return not (subject or self.merchant) and self.outcome in ("", UNKNOWN)
        return (
            subject in (None, row.subject)
            and self.merchant in (0, row.merchant)
            and self.outcome in ("", row.mark)
        )


class ListState(msgspec.Struct, frozen=True):
    """Where a listing goes on: the checkpoints' sizes by log, and the place of the last record shown: log and index, or where the index has it."""

    sizes: dict[str, int]
    before: Position | None = None
    row: Place | None = None


def query_of(request: audit_pb2.ListBrowsesRequest) -> ListQuery:
    """Read what is asked. Raises: InvalidRequestError naming the field."""
    if not (request.key or request.user or request.merchant or request.start_ms):
        raise InvalidRequestError("at least one of key, user, merchant and start_ms, please", "key")
    check_text(request.key, "key", MAX_KEY_CHARS)
    check_text(request.user, "user", MAX_USER_CHARS)
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    for field in ("start_ms", "end_ms"):
        if not 0 <= getattr(request, field) < _LATEST_MS:
            raise InvalidRequestError("Unix milliseconds, please", field)
    if request.merchant > _LATEST_MERCHANT:
        raise InvalidRequestError("there is no such merchant", "merchant")
    if request.end_ms and request.end_ms < request.start_ms:
        raise InvalidRequestError("not before start_ms, please", "end_ms")
    if request.outcome not in OUTCOMES:
        raise InvalidRequestError("there is no such outcome", "outcome")
    return ListQuery(
        key=canonical_key(request.key) if request.key else "",
        user=request.user,
        merchant=request.merchant,
        start_ms=request.start_ms,
        end_ms=request.end_ms,
        outcome=OUTCOMES[request.outcome],
    )


def check_own(query: ListQuery, user: str, *, sees_all: bool) -> None:
    """See that who is no auditor asks for the looks under its own name. Raises: NotAllowedError."""
    if not sees_all and query.user != user:
        raise NotAllowedError(
            "only auditors see who looked: ask for what was looked at under your own name", "user"
        )


def outcome_of(row: Row | None) -> audit_pb2.BrowseOutcome.ValueType:
    """Show what became of a look; unknown where the index has nothing of it."""
    return MESSAGES.get(row.mark if row else UNKNOWN, audit_pb2.BROWSE_OUTCOME_UNKNOWN)


def page_size_of(request: audit_pb2.ListBrowsesRequest) -> int:
    """Read how many records a page may have. Raises: InvalidRequestError."""
    return checked_page_size(request.page_size, DEFAULT_PAGE_SIZE)


def cut_page(
    found: Sequence[SealedRecord], sizes: Mapping[str, int], page_size: int, page_bytes: int
) -> list[SealedRecord]:
    """Cut the records of one page off those that were found.

    Args:
        found: newest first, `page_size` + 1 records where there are so many.
        sizes: of the logs, for the size of the proofs.
        page_size: how many records at the most.
        page_bytes: how many bytes of an answer at the most; one record is shown in any case.
    """
    taken: list[SealedRecord] = []
    left = page_bytes
    for record in found[:page_size]:
        left -= record_bytes(record, sizes[record.log])
        if left < 0 and taken:
            break
        taken.append(record)
    return taken
