"""Query services in memory over a simulated chain: the real servicers, trees, signatures and runs; told what to hide."""

import asyncio
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace.checkpoint import Checkpoint
from goodstrace.client import Client
from goodstrace.completeness.leaf import IndexedLog, IndexLeaf, RootAt, Run, secret_commitment
from goodstrace.completeness.rows import Row
from goodstrace.entry import Position
from goodstrace.facts import decode as facts_of
from goodstrace.log_keys import LogKeys
from goodstrace.merkle import inclusion_path, leaf_hash, root_of
from goodstrace.multiproof import multiproof_path
from goodstrace.note import parse_note
from goodstrace.query.v1 import completeness_pb2_grpc, trace_pb2_grpc
from goodstrace.simulate import Simulation, SimulationOptions
from services.ledger.index_records import index_record
from services.query.completeness import CompletenessServicer
from services.query.index_gate import IndexGate
from services.query.metrics import QueryMetrics
from services.query.service import TraceServicer
from services.query.sight import Sight
from services.runtime.envelope import Record
from services.runtime.grpc import CallInterceptor
from services.runtime.page_tokens import fixed_key
from services.sealing.browse import Browse
from services.sealing.failures import FAILURES
from services.sealing.showing import PartKey
from services.sealing.values import LogInfo, SealedRecord, StoredCheckpoint
from tests.open_guard import open_guard
from tests.unit.collector_builders import SECRET, collected, counted, processed, wires
from tests.unit.completeness_builders import MemoryRuns
from tests.unit.fake_services import FakeLog

Place = tuple[str, int]
SERVICES = ("goodstrace.query.v1.TraceService", "goodstrace.query.v1.CompletenessService")


class MemoryReader:
    """Reads logs in memory; `hidden` is what it does not find by tag, `refused` what it does not show by place."""

    def __init__(self) -> None:
        self.logs: dict[str, FakeLog] = {}
        self.sealed: dict[str, list[SealedRecord]] = {}
        self.hidden: set[Place] = set()
        self.refused: set[Place] = set()
        self.without_log = ""

    def append(self, log: str, record: Record) -> None:
        fake = self.logs.setdefault(log, FakeLog(log, len(self.logs) + 1))
        fake.records.append((record.entry, [(part.name, part.salt, part.content) for part in record.parts]))
        sealed = self.sealed.setdefault(log, [])
        sealed.append(SealedRecord(log, len(sealed), record.entry, record.parts, record.tags))

    async def info(self, log: str) -> LogInfo | None:
        signer = self.logs[log].signer
        return LogInfo(log, signer.name, signer.verifier.vkey(), tuple(self.logs[log].changes))

    async def newest(self, prefix: str = "") -> dict[str, StoredCheckpoint]:
        names = sorted(log for log in self.logs if log.startswith(prefix) and log != self.without_log)
        return {log: await self.checkpoint(log) for log in names}

    async def checkpoint(self, log: str, size: int | None = None) -> StoredCheckpoint:
        note = self.logs[log].checkpoint(size).note
        parsed = Checkpoint.parse(parse_note(note).text)
        return StoredCheckpoint(log, parsed.size, parsed.root, note)

    async def find(
        self, tags: Sequence[bytes], sizes: Mapping[str, int], limit: int
    ) -> dict[bytes, list[SealedRecord]]:
        return {
            tag: [r for r in self._with(tag, sizes) if (r.log, r.index) not in self.hidden][:limit]
            for tag in tags
        }

    async def records(self, log: str, indexes: Sequence[int]) -> list[SealedRecord]:
        return [self._at(log, index) for index in indexes]

    def _at(self, log: str, index: int) -> SealedRecord:
        """What is there; another record in the place of one that is refused."""
        other = self.sealed[log][0 if (log, index) in self.refused else index]
        return msgspec.structs.replace(other, index=index)

    async def part_keys(self, _records: Sequence[SealedRecord]) -> Mapping[Position, PartKey]:
        return {}

    async def inclusion_proofs(self, log: str, indexes: Sequence[int], size: int) -> list[list[bytes]]:
        leaves = [leaf_hash(entry) for entry, _ in self.logs[log].records[:size]]
        return [[root_of(leaves[slice(*each)]) for each in inclusion_path(index, size)] for index in indexes]

    async def multiproof(self, log: str, indexes: Iterable[int], size: int) -> list[bytes]:
        leaves = [leaf_hash(entry) for entry, _ in self.logs[log].records[:size]]
        return [root_of(leaves[slice(*each)]) for each in multiproof_path(sorted(set(indexes)), size)]

    async def places(
        self, tags: Sequence[bytes], since: Mapping[str, int], sizes: Mapping[str, int]
    ) -> dict[bytes, list[Place]]:
        """As NewerEntries does it."""
        return {
            tag: [(r.log, r.index) for r in self._with(tag, sizes) if r.index >= since.get(r.log, 0)]
            for tag in tags
        }

    def _with(self, tag: bytes, sizes: Mapping[str, int]) -> Iterator[SealedRecord]:
        for log, size in sorted(sizes.items()):
            yield from (record for record in self.sealed[log][:size] if tag in record.tags)


class Recorder:
    """Acknowledges looks at once, and keeps them."""

    def __init__(self) -> None:
        self.looks: list[Browse] = []

    async def record(self, browse: Browse) -> str:
        self.looks.append(browse)
        return f"{len(self.looks):032x}"


class CompleteWorld:
    """A simulated chain, sealed into two logs, each event once or `twice`, and indexed up to some part of it."""

    def __init__(
        self,
        seed: int = 7,
        events: int = 300,
        covered: float = 1.0,
        runs: int = 4,
        *,
        twice: bool = False,
    ) -> None:
        simulation = Simulation(
            SimulationOptions(
                seed=seed, events=events, depth=3, items_per_case=3, cases_per_pallet=2, corrections=0.1
            )
        )
        self.reader, self.store, self.recorder = MemoryReader(), MemoryRuns(), Recorder()
        self.secret, self.page_bytes, self.gate = SECRET, 3 * 2**20, IndexGate(None)
        random = counted()
        values = [
            value
            for document in simulation.documents()
            for value in wires(collected(document.to_bytes(), random=random))
        ]
        self.known = simulation.interesting()
        for number, item in enumerate(processed(values)):
            for _ in range(1 + twice):
                self.reader.append(f"goods/{number % 2}", item.record)
        self.sizes = {log: int(len(sealed) * covered) for log, sealed in self.reader.sealed.items()}
        self.index(runs)

    def index(self, runs: int, left_out: Place | None = None) -> IndexLeaf:
        """Add a leaf to the log `index`; all entries are spread over runs, but for one that a wrong builder leaves out."""
        names = sorted(self.sizes)
        parts: list[list[bytes]] = [[] for _ in range(runs)]
        for number, log in enumerate(names):
            for record in self.reader.sealed[log][: self.sizes[log]]:
                if (log, record.index) != left_out:
                    parts[record.index * runs // self.sizes[log]] += [
                        Row(tag, number, record.index).encode() for tag in record.tags
                    ]
        made: list[Run] = [self.store.add(n * 5, n * 5 + 5, part) for n, part in enumerate(parts)]
        self.leaf = IndexLeaf(
            tuple(IndexedLog(log, self.sizes[log]) for log in names),
            RootAt("00" * 32, runs * 5),
            tuple(made),
            secret_commitment(SECRET),
        )
        number = len(self.reader.sealed.get("index", ()))
        self.reader.append(
            "index", index_record(self.leaf, record_id=number.to_bytes(16), salt=bytes(32), time_ms=1)
        )
        return self.leaf

    def partly_covered(self) -> str:
        """A key with entries that the index covers and some that it does not."""
        sides: dict[str, set[bool]] = {}
        for log, size in self.sizes.items():
            for record in self.reader.sealed[log]:
                facts = next(facts_of(part.content) for part in record.parts if part.name == "facts")
                for key in facts.keys.get("epc", ()):
                    sides.setdefault(key, set()).add(record.index < size)
        return next(key for key, found in sides.items() if len(found) == 2)

    def places_of(self, key_events: Sequence[Any]) -> list[Place]:
        """Where the events of an answer lie."""
        return [
            (each.log, each.index)
            for event in key_events
            for each in (event.event.position, *event.event.also_at)
        ]

    def keys(self) -> LogKeys:
        return LogKeys(log.signer.verifier for log in self.reader.logs.values())

    def servicers(self) -> tuple[TraceServicer, CompletenessServicer]:
        """The two services; tests make others of them."""
        shared: Any = {
            "sight": Sight(None),
            "metrics": QueryMetrics(CollectorRegistry()),
            "log": structlog.get_logger(),
        }
        reader: Any = self.reader
        trace = TraceServicer(
            reader,
            self.recorder,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            secret=SECRET,
            page_key=fixed_key(b"p" * 32),
            max_events=10_000,
            page_bytes=self.page_bytes,
            max_walks=4,
            **shared,
        )
        complete = CompletenessServicer(
            reader,
            self.recorder,  # type: ignore[arg-type]
            self.store,  # type: ignore[arg-type]
            reader,
            secret=self.secret,
            gate=self.gate,
            page_bytes=self.page_bytes,
            max_calls=4,
            **shared,
        )
        return trace, complete

    @contextmanager
    def served_in_full(self, folder: Path) -> Iterator[Client]:
        """Serve with nothing hidden, whatever was hidden before."""
        self.reader.hidden.clear()
        self.reader.refused.clear()
        with self.served(folder) as client:
            yield client

    @contextmanager
    def served(self, folder: Path, complete: Any = None, **options: Any) -> Iterator[Client]:
        """Serve on a Unix socket from a thread of its own; gives a client."""
        started, stop = threading.Event(), asyncio.Event()
        loop = asyncio.new_event_loop()
        target = f"unix:{folder}/socket"

        async def serve() -> None:
            traces, proofs = self.servicers()
            methods = [
                *(f"/{SERVICES[0]}/{name}" for name in ("Trace", "GetConsistencyProof")),
                *(f"/{SERVICES[1]}/{name}" for name in ("GetIndexSecret", "ProveComplete", "GetRecords")),
            ]
            metrics = QueryMetrics(CollectorRegistry())
            interceptor = CallInterceptor(
                methods, metrics.calls, FAILURES, 30, structlog.get_logger(), guard=open_guard()
            )
            server = grpc.aio.server(interceptors=[interceptor])
            trace_pb2_grpc.add_TraceServiceServicer_to_server(traces, server)
            completeness_pb2_grpc.add_CompletenessServiceServicer_to_server(complete or proofs, server)
            server.add_insecure_port(target)
            await server.start()
            started.set()
            await stop.wait()
            await server.stop(None)

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        assert started.wait(20)
        try:
            with Client(target, self.keys(), **options) as client:
                yield client
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()


@pytest.fixture(scope="module")
def world() -> CompleteWorld:
    """A world of the module's own."""
    return CompleteWorld()


@pytest.fixture
def client(world: CompleteWorld, tmp_path: Path) -> Iterator[Client]:
    """A client of a service that shows all of it."""
    with world.served_in_full(tmp_path) as made:
        yield made
