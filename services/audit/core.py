"""Listing browse records: what a request asks, and how the logs' records become pages. Pure, no I/O."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from goodstrace import entry as entries
from goodstrace.audit.v1 import audit_pb2
from goodstrace.entry import TagKind
from goodstrace.identifiers import canonical_key
from services.audit.index_values import Place
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


class ListQuery(msgspec.Struct, frozen=True):
    """Which browse records: of a canonical key or by a user; the other is empty."""

    key: str
    user: str

    def encode(self) -> bytes:
        """Give the bytes that page tokens are bound to."""
        return msgspec.json.encode((METHOD, self.key, self.user))

    def tag(self, secret: bytes) -> bytes:
        """Derive the index tag of the records asked for; one of a user is in records of before the index alone."""
        return (
            entries.tag(secret, TagKind.KEY, self.key)
            if self.key
            else entries.tag(secret, TagKind.USER, self.user)
        )


class ListState(msgspec.Struct, frozen=True):
    """Where a listing goes on: the checkpoints' sizes by log, and the place of the last record shown: log and index, or where the index has it."""

    sizes: dict[str, int]
    before: tuple[str, int] | None = None
    row: Place | None = None


def query_of(request: audit_pb2.ListBrowsesRequest) -> ListQuery:
    """Read what is asked. Raises: InvalidRequestError naming the field."""
    if bool(request.key) == bool(request.user):
        raise InvalidRequestError("exactly one of key and user, please", "key")
    check_text(request.key, "key", MAX_KEY_CHARS)
    check_text(request.user, "user", MAX_USER_CHARS)
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    return ListQuery(canonical_key(request.key) if request.key else "", request.user)


def check_own(query: ListQuery, user: str, *, sees_all: bool) -> None:
    """See that who is no auditor asks for the looks under its own name. Raises: NotAllowedError."""
    if not sees_all and query.user != user:
        raise NotAllowedError(
            "only auditors see who looked: ask for what was looked at under your own name", "user"
        )


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
