"""What the calls of CompletenessService ask, read from the wire and checked against their limits. Pure, no I/O."""

from collections.abc import Mapping
from typing import Final

import msgspec

from goodstrace.completeness.leaf import INDEXED_PREFIX, MAX_RUNS
from goodstrace.entry import Position, TagKind
from goodstrace.identifiers import canonical_key
from goodstrace.merkle import MAX_SIZE
from goodstrace.query.v1 import completeness_pb2
from services.query.requests import sizes_asked
from services.runtime.call_errors import InvalidRequestError
from services.runtime.call_limits import MAX_KEY_CHARS, MAX_PURPOSE_CHARS, check_text

MAX_NAMES: Final = 64
MAX_POSITIONS: Final = 1000


class CompleteQuery(msgspec.Struct, frozen=True):
    """Names to be proved, each with its kind of tag; from where in the first one's proof; sizes up to which newer ones are wanted."""

    names: tuple[tuple[TagKind, str], ...]
    index_size: int
    start_run: int
    start_page: int | None
    as_of: Mapping[str, int]


class RecordsQuery(msgspec.Struct, frozen=True):
    """Places of records, and the sizes to prove them at."""

    key: str
    positions: tuple[Position, ...]
    as_of: Mapping[str, int]


def complete_query(request: completeness_pb2.ProveCompleteRequest) -> CompleteQuery:
    """Read a request for proofs. Raises: InvalidRequestError naming the field."""
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    if not 1 <= len(request.names) <= MAX_NAMES:
        raise InvalidRequestError(f"1 to {MAX_NAMES} names", "names")
    for name in request.names:
        check_text(name.text, "names", MAX_KEY_CHARS, least=1)
        if name.kind not in completeness_pb2.NameKind.values() or not name.kind:
            raise InvalidRequestError(f"{name.kind} is no kind of name", "names")
    if request.index_size > MAX_SIZE or request.start_page > MAX_SIZE:
        raise InvalidRequestError("a size is at most 2**63-1", "index_size")
    if request.start_run > MAX_RUNS:
        raise InvalidRequestError(f"there are at most {MAX_RUNS} runs", "start_run")
    return CompleteQuery(
        names=tuple((TagKind(name.kind), name.text) for name in request.names),
        index_size=request.index_size,
        start_run=request.start_run,
        start_page=request.start_page if request.HasField("start_page") else None,
        as_of=sizes_asked(request.as_of),
    )


def records_query(request: completeness_pb2.GetRecordsRequest) -> RecordsQuery:
    """Read a request for records. Raises: InvalidRequestError naming the field."""
    check_text(request.key, "key", MAX_KEY_CHARS, least=1)
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    if not 1 <= len(request.positions) <= MAX_POSITIONS:
        raise InvalidRequestError(f"1 to {MAX_POSITIONS} places", "positions")
    if not all(each.log.startswith(INDEXED_PREFIX) for each in request.positions):
        raise InvalidRequestError("only records of goods logs are shown here", "positions")
    positions = tuple((each.log, each.index) for each in request.positions)
    return RecordsQuery(canonical_key(request.key), positions, sizes_asked(request.as_of))
