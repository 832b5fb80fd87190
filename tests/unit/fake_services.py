"""A query and an audit service in memory, on a Unix socket: real trees and signatures, and told what to get wrong."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from goodstrace import block as blocks
from goodstrace import entry as entries
from goodstrace import key_changes
from goodstrace.audit.v1 import audit_pb2, audit_pb2_grpc
from goodstrace.block import BlockHeader, KafkaRange
from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.client import Client
from goodstrace.entry import Entry, Kind
from goodstrace.errors import ProofError
from goodstrace.key_changes import KeyChange
from goodstrace.log.v1 import log_pb2
from goodstrace.log_keys import LogKeys
from goodstrace.merkle import consistency_path, inclusion_path, leaf_hash, root_of
from goodstrace.note import Signer
from goodstrace.proof_file import ProofFile
from goodstrace.query.v1 import registrations_pb2, subscribe_pb2, trace_pb2, trace_pb2_grpc

MAX_PAGE = 50
KEY = "urn:test:goods"
ClientOf = Callable[..., Client]
Part = tuple[str, bytes, bytes]  # name, salt, content


def salt_of(text: str) -> bytes:
    """A salt that is the same in each run."""
    return hashlib.sha256(text.encode()).digest()


class FakeLog:
    """A log whose whole tree is in memory.

    Args:
        name: such as "goods/0".
        seed: makes the key; another seed is another key.
    """

    def __init__(self, name: str, seed: int = 1) -> None:
        self.name = name
        self.signer = Signer(f"goodstrace.test/instance/{name}", bytes([seed]) * 32)
        self.seed = seed
        self.changes: list[KeyChange] = []
        self.retired: list[Signer] = []
        self.found = b""
        """The header of the block before the last change of key."""
        self.records: list[tuple[bytes, Sequence[Part]]] = []

    @property
    def size(self) -> int:
        return len(self.records)

    @property
    def origin(self) -> str:
        return self.signer.name

    def append(self, kind: Kind, parts: Mapping[str, bytes], time_ms: int = 0) -> int:
        """Seal a record; gives its index. Without a time each is a millisecond later than the one before."""
        salted = [(name, salt_of(f"{self.name}/{self.size}/{name}"), parts[name]) for name in parts]
        entry = Entry(
            id=f"{self.size:032x}",
            kind=kind,
            merchant=1 if kind in (Kind.EVENT, Kind.REGISTRATION) else 0,
            parts=tuple(entries.part_commitment(*part) for part in salted),
            tags=entries.tags_commitment([]),
            time=time_ms or 1_700_000_000_000 + self.size,
        )
        self.records.append((entries.encode(entry), salted))
        return self.size - 1

    def append_browses(self, count: int) -> None:
        """Seal look-ups of KEY by a user."""
        for _ in range(count):
            what = {"method": "Trace", "keys": [KEY], "checkpoints": []}
            parts = {
                "who": {"user": "someone"},
                "what": what,
                "purpose": {"purpose": ""},
                "outcome": {"events": 1},
            }
            self.append(Kind.BROWSE, {name: json.dumps(part).encode() for name, part in parts.items()})

    def change_key(self) -> None:
        """Sign with another key from the next entry on, as an honest log does."""
        self.seed += 10
        following = Signer(self.origin, bytes([self.seed]) * 32)
        number = len(self.changes) + 1
        self.found = self._header(number - 1) if self.size else b""
        self.changes.append(
            key_changes.sign(
                log=self.name,
                height=number,
                size=self.size,
                previous=blocks.header_hash(self.found),
                time=number,
                old=self.signer,
                new=following,
            )
        )
        self.retired.append(self.signer)
        self.signer = following

    def _header(self, height: int) -> bytes:
        """A block of all entries there are."""
        kafka = KafkaRange("cluster", 0, self.size, 0, "topic", "id")
        root = root_of(self._hashes(0, self.size)).hex()
        header = BlockHeader(self.size, 0, height, kafka, self.name, "0" * 64, root, self.size, 1)
        return blocks.encode(header)

    def forked(self, at: int) -> "FakeLog":
        """A log signed by the same key that says something else from index `at` on, and is as long."""
        other = FakeLog(self.name)
        other.signer = self.signer
        other.records = self.records[:at]
        while other.size < self.size:
            other.append(Kind.BROWSE, {"who": b"{}"})
        return other

    def cut(self, size: int) -> "FakeLog":
        """The log as it was at a smaller size."""
        other = FakeLog(self.name)
        other.signer, other.records = self.signer, self.records[:size]
        return other

    def checkpoint(self, size: int | None = None) -> log_pb2.Checkpoint:
        size = self.size if size is None else size
        checkpoint = Checkpoint(self.origin, size, root_of(self._hashes(0, size)))
        earlier = (
            signer for change, signer in zip(self.changes, self.retired, strict=False) if size <= change.size
        )
        signer = next(earlier, self.signer)
        return log_pb2.Checkpoint(log=self.name, note=sign_checkpoint(checkpoint, signer))

    def sealed(self, index: int, size: int | None = None) -> log_pb2.SealedEntry:
        entry, parts = self.records[index]
        path = inclusion_path(index, self.size if size is None else size)
        return log_pb2.SealedEntry(
            log=self.name,
            index=index,
            entry=entry,
            parts=[log_pb2.DisclosedPart(name=name, salt=salt, content=data) for name, salt, data in parts],
            inclusion_proof=[root_of(self._hashes(*subtree)) for subtree in path],
        )

    def consistency(self, old: int, new: int) -> list[bytes]:
        return [root_of(self._hashes(*subtree)) for subtree in consistency_path(old, new)]

    def _hashes(self, start: int, end: int) -> list[bytes]:
        return [leaf_hash(entry) for entry, _ in self.records[start:end]]


class FakeServices(trace_pb2_grpc.TraceServiceServicer, audit_pb2_grpc.AuditServiceServicer):
    """Both services over fake logs.

    `traces` are the pages that Trace gives, one for each call with a page token in order; `altered` is applied to every
    answer before it leaves; `root_proof` is the answer of GetRootProof; `consistency_error` is what GetConsistencyProof fails
    with; `previous_header` is shown beside changes of keys.
    """

    def __init__(self, *logs: FakeLog) -> None:
        self.logs = {log.name: log for log in logs}
        self.traces: list[trace_pb2.TraceResponse] = []
        self.events: list[trace_pb2.GetEventResponse] = []
        self.registrations: list[registrations_pb2.GetRegistrationsResponse] = []
        self.root_proof: trace_pb2.GetRootProofResponse | None = None
        self.altered: Callable[[Any], None] = lambda _: None
        self.previous_header = b""
        self.altered_change: Callable[[bytes], bytes] = lambda change: change
        self.consistency_error: grpc.StatusCode | None = None
        self.error: grpc.StatusCode | None = None
        self.subscriptions: list[list[subscribe_pb2.SubscribeResponse]] = []
        self.requests: list[Any] = []
        self.users: list[str] = []

    def Trace(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        return self._answer(request, context, self.traces[int(request.page_token or 0)])

    def GetEvent(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        return self._answer(request, context, self.events[0])

    def Subscribe(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802 - gRPC's name
        """Give the messages of one stream after the other, each of which breaks off."""
        if not self.subscriptions:
            context.abort(grpc.StatusCode.NOT_FOUND, "no more streams")
        for message in self.subscriptions.pop(0):
            yield self._answer(request, context, message)
        context.abort(grpc.StatusCode.UNAVAILABLE, "told to break off")

    def message(self, log: FakeLog, *indexes: int, after: int, **more: Any) -> Any:
        """A message of a subscription with these entries of a log, whose cursor is at `after`."""
        return subscribe_pb2.SubscribeResponse(
            events=[subscribe_pb2.SubscribedEvent(sealed=log.sealed(index)) for index in indexes],
            checkpoints=[log.checkpoint()],
            cursor=more.pop("cursor", f"{log.name}@{after}"),
            positions=[log_pb2.LogSize(log=log.name, size=after)],
            **more,
        )

    def GetRegistrations(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        return self._answer(request, context, self.registrations[int(request.page_token or 0)])

    def GetCheckpoint(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        checkpoints = [log.checkpoint() for log in self.logs.values()]
        return self._answer(request, context, trace_pb2.GetCheckpointResponse(checkpoints=checkpoints))

    def GetConsistencyProof(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        if self.consistency_error is not None:
            context.abort(self.consistency_error, "no such proof")
        try:
            proof = self.logs[request.log].consistency(request.old_size, request.new_size)
        except ProofError as error:
            context.abort(grpc.StatusCode.OUT_OF_RANGE, str(error))
        answer = trace_pb2.GetConsistencyProofResponse(proof=proof, new_size=request.new_size)
        return self._answer(request, context, answer)

    def GetKeyChanges(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.requests.append(request)
        log = self.logs.get(request.log)
        changes = map(key_changes.statement, log.changes if log else ())
        return trace_pb2.GetKeyChangesResponse(
            changes=map(self.altered_change, changes), previous_header=self.previous_header
        )

    def GetInclusionProof(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        proof = self.logs[request.log].sealed(request.index).inclusion_proof
        return self._answer(request, context, trace_pb2.GetInclusionProofResponse(proof=proof))

    def GetRootProof(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        if self.root_proof is None:
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "not yet")
        return self._answer(request, context, self.root_proof)

    def GetProofFile(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        log = self.logs[request.log]
        size = request.size or log.size
        sealed = log.sealed(request.index, size)
        note = log.checkpoint(size).note
        proof = ProofFile(request.index, tuple(sealed.inclusion_proof), note, sealed.entry)
        return self._answer(request, context, trace_pb2.GetProofFileResponse(proof=proof.encode()))

    def ListBrowses(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        log = self.logs["browse/0"]
        newest_first = range(log.size - 1, -1, -1)
        start = int(request.page_token or 0)
        end = start + min(request.page_size or 100, MAX_PAGE)
        answer = audit_pb2.ListBrowsesResponse(
            browses=[log.sealed(index) for index in newest_first[start:end]],
            checkpoints=[log.checkpoint()],
            next_page_token=str(end) if end < log.size else "",
            browse_id="ab" * 16,
        )
        return self._answer(request, context, answer)

    def _answer(self, request: Any, context: Any, answer: Any) -> Any:
        self.requests.append(request)
        self.users += [value for key, value in context.invocation_metadata() if key == "goodstrace-user"]
        if self.error is not None:
            context.abort(self.error, "told to fail")
        self.altered(answer)
        return answer

    def keys(self) -> LogKeys:
        """The keys of its logs as they are now."""
        return LogKeys(log.signer.verifier for log in self.logs.values())


@contextmanager
def served(services: FakeServices, folder: Path) -> Iterator[str]:
    """Serve on a Unix socket in `folder`, which takes no port; gives the target for clients."""
    server = grpc.server(ThreadPoolExecutor(2))
    trace_pb2_grpc.add_TraceServiceServicer_to_server(services, server)
    audit_pb2_grpc.add_AuditServiceServicer_to_server(services, server)
    target = f"unix:{folder}/socket"
    server.add_insecure_port(target)
    server.start()
    try:
        yield target
    finally:
        server.stop(None).wait()


@pytest.fixture
def services() -> FakeServices:
    goods, browse = FakeLog("goods/0", 1), FakeLog("browse/0", 2)
    for number in range(7):
        goods.append(Kind.EVENT, {"event": b"{%d}" % number})
    browse.append_browses(5)
    return FakeServices(goods, browse)


@pytest.fixture
def client_of(services: FakeServices, tmp_path: Path) -> Iterator[ClientOf]:
    """Clients of the services, closed after the test."""
    made: list[Client] = []
    with served(services, tmp_path) as target:

        def make(keys: LogKeys | None = None, **options: Any) -> Client:
            made.append(Client(target, keys or services.keys(), audit_target=target, **options))
            return made[-1]

        yield make
        for client in made:
            client.close()
