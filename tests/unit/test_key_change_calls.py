"""GetKeyChanges and GetConsistencyProof around a change of key of which nothing is published: what they show, and what they do not."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from goodstrace import key_changes
from goodstrace.query.v1 import trace_pb2
from services.query import proofs
from services.runtime.call_errors import OutOfRangeError
from services.sealing.errors import CorruptError
from services.sealing.pins import SignedHeader
from services.sealing.values import LogInfo, StoredCheckpoint
from tests.unit.fake_services import FakeLog

PUBLISHED = 3
CHANGED = 5


class Reader:
    """A log whose key changed at a size, and of which less is published."""

    def __init__(self) -> None:
        self.log = FakeLog("browse/0")
        self.log.append_browses(CHANGED)
        self.log.change_key()
        self.log.append_browses(2)

    async def info(self, log: str) -> LogInfo | None:
        vkey = self.log.signer.verifier.vkey()
        return LogInfo(log, self.log.origin, vkey, tuple(self.log.changes)) if log == self.log.name else None

    async def checkpoint(self, log: str, size: int | None = None) -> StoredCheckpoint:
        return StoredCheckpoint(log, PUBLISHED, bytes(32), "")

    async def consistency_proof(self, _log: str, old_size: int, new_size: int) -> list[bytes]:
        return self.log.consistency(old_size, new_size)


class Headers:
    """Headers by place, or what reading them fails with."""

    def __init__(self, there: dict[tuple[str, int], SignedHeader], error: Exception | None = None) -> None:
        self.there, self.error = there, error

    async def headers_there(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], SignedHeader]:
        if self.error is not None:
            raise self.error
        return {place: self.there[place] for place in places if place in self.there}


async def test_a_damaged_or_missing_header_keeps_nobody_from_the_statements() -> None:
    reader: Any = Reader()
    change = reader.log.changes[0]
    place = (reader.log.name, change.height - 1)
    sound = Headers({place: SignedHeader(header=reader.log.found, signature=bytes(64))})
    request = trace_pb2.GetKeyChangesRequest(log=reader.log.name)
    cases: Sequence[tuple[Any, bytes]] = [
        (sound, reader.log.found),
        (Headers({}), b""),
        (Headers({}, CorruptError("malformed")), b""),
    ]
    for pins, header in cases:
        answer = await proofs.key_changes_of(reader, pins, request)
        assert list(answer.changes) == [key_changes.statement(change)]
        assert answer.previous_header == header


async def test_growth_is_proved_to_what_is_published_and_to_where_the_key_changed_alone() -> None:
    reader: Any = Reader()
    for size in range(1, reader.log.size + 1):
        request = trace_pb2.GetConsistencyProofRequest(log=reader.log.name, old_size=1, new_size=size)
        if size <= PUBLISHED or size == CHANGED:
            answer = await proofs.consistency(reader, request)
            assert answer.new_size == size
            assert list(answer.proof) == (reader.log.consistency(1, size) if size > 1 else [])
        else:
            with pytest.raises(OutOfRangeError):
                await proofs.consistency(reader, request)
