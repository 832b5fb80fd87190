"""A little chain of merchants who keep different things from one another, behind the query service's calls in memory.

A maker makes and ships an item, a carrier carries it, a shop receives and sells it; somebody is a stranger to all of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.client import Client
from goodstrace.log_keys import LogKeys
from goodstrace.merkle import root_of
from goodstrace.multiproof import multiproof_path
from goodstrace.note import Signer
from goodstrace.registration import merchant_key
from goodstrace.visibility import VisibilityPolicy
from services.collector.registry.registrations import Registration, changes, item_of
from services.query.forward import Forward, Heads
from services.query.metrics import QueryMetrics
from services.query.service import TraceServicer
from services.query.sight import Sight
from services.query.subscribing import Subscriptions
from services.runtime.access.guard import Guard
from services.runtime.envelope import Record
from services.runtime.merchants.api_keys import new_key
from services.runtime.merchants.directory import Directory, Staleness
from services.runtime.merchants.values import Delegation, Merchant, Status, What, plain
from services.runtime.page_tokens import fixed_key
from services.sealing.values import SealedRecord, StoredCheckpoint
from tests.memory_accounts import OPERATOR, MemoryAccounts, authenticator
from tests.memory_registry import MemoryRegistry
from tests.unit.collector_builders import (
    NOW_MS,
    SECRET,
    counted,
    sealed_by,
)
from tests.unit.test_goods_answer import ProvedLogs

MAKER, CARRIER, SHOP, STRANGER, AGENT, PLATFORM = 1, 2, 3, 4, 5, 6
PREFIXES = {MAKER: "9521231", CARRIER: "9521232", SHOP: "9521233", STRANGER: "9521234"}
ITEM = "urn:epc:id:sgtin:9521231.054321.1"
CASE = "urn:epc:id:sscc:9521231.0000000001"
INPUT = "urn:epc:class:lgtin:9521231.054322.L1"


def party(number: int) -> str:
    return f"urn:epc:id:pgln:{PREFIXES[number]}.00000"


def place(number: int) -> str:
    return f"urn:epc:id:sgln:{PREFIXES[number]}.00001.0"


def _event(number: int, kind: str, step: str, **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "eventID": f"urn:uuid:00000000-0000-4000-8000-{number:012d}",
        "eventTime": f"2026-01-02T03:{number:02d}:00Z",
        "eventTimeZoneOffset": "+00:00",
        "bizStep": step,
        **more,
    }


STREAMS = ("StreamTrace", "Recall")
_TO_CARRIER = [{"type": "possessing_party", "destination": party(CARRIER)}]
EVENTS: list[tuple[int, dict[str, Any]]] = [
    (
        MAKER,
        _event(
            1,
            "TransformationEvent",
            "commissioning",
            inputQuantityList=[{"epcClass": INPUT, "quantity": 5, "uom": "KGM"}],
            outputEPCList=[ITEM],
        ),
    ),
    (MAKER, _event(2, "AggregationEvent", "packing", parentID=CASE, childEPCs=[ITEM], action="ADD")),
    (
        MAKER,
        _event(3, "ObjectEvent", "shipping", epcList=[CASE], action="OBSERVE", destinationList=_TO_CARRIER),
    ),
    (
        CARRIER,
        _event(
            4, "ObjectEvent", "receiving", epcList=[CASE], action="OBSERVE", readPoint={"id": place(CARRIER)}
        ),
    ),
    (
        CARRIER,
        _event(
            5,
            "ObjectEvent",
            "arriving",
            epcList=[CASE],
            action="OBSERVE",
            bizLocation={"id": place(SHOP)},
            sourceList=[{"type": "owning_party", "source": party(MAKER)}],
        ),
    ),
    (SHOP, _event(6, "AggregationEvent", "unpacking", parentID=CASE, childEPCs=[ITEM], action="DELETE")),
    (SHOP, _event(7, "ObjectEvent", "retail_selling", epcList=[ITEM], action="OBSERVE")),
]
"""Who captured it, and the event: their numbers are the last digits of their IDs."""
STEPS = ("production", "logistics", "logistics", "logistics", "logistics", "logistics", "sale")
"""Of the events: what the program's table says, said again by hand."""


class World:
    """The chain under policies; `away` of the registry makes it answer nothing; `now_s` is a clock."""

    def __init__(
        self,
        policies: Mapping[int, VisibilityPolicy],
        *,
        page_bytes: int = 10**6,
        max_events: int = 10_000,
        keep_bytes: int = 2**26,
        copies: int = 1,
        events: Sequence[tuple[int, dict[str, Any]]] = EVENTS,
    ) -> None:
        self.registry, self.now_s = MemoryRegistry(), 0.0
        self.keys: dict[int, str] = {}
        self.key_ids: dict[int, str] = {}
        self.records = [
            sealed_by(event, merchant, 1000 * number + copy)
            for copy in range(copies)
            for number, (merchant, event) in enumerate(events, 1)
        ]
        self.logs = SignedLogs(self.records)
        self.browses: list[Any] = []
        for number in (*PREFIXES, AGENT, PLATFORM):
            prefixes = (PREFIXES[number],) if number in PREFIXES else ()
            self.register(
                number,
                prefixes=prefixes,
                everything=number == PLATFORM,
                visibility=policies.get(number, VisibilityPolicy()),
                delegations=(Delegation(AGENT, PREFIXES[SHOP], NOW_MS * 2),) if number == SHOP else (),
            )
            kept, self.keys[number] = new_key(number, "", 0, counted(100 * number))
            self.key_ids[number] = kept.id
            self.registry.rows[kept.id] = kept
        directory = Directory(self.registry, Staleness(2, 0), lambda: self.now_s, lambda: NOW_MS)
        self.directory, self.accounts = directory, MemoryAccounts()
        self.sight = Sight(directory)
        known = authenticator(directory, self.accounts, lambda: self.now_s, lambda: NOW_MS)
        self.guard = Guard("query", known, lambda _refusal: None, fresh_s=0.02)
        self.registry_of_metrics = CollectorRegistry()
        self.metrics = QueryMetrics(self.registry_of_metrics)
        self.servicer = TraceServicer(
            self.logs,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            sight=self.sight,
            secret=SECRET,
            page_key=fixed_key(b"p" * 32),
            max_events=max_events,
            page_bytes=page_bytes,
            max_walks=4,
            keep_bytes=keep_bytes,
            clock_s=lambda: self.now_s,
            metrics=self.metrics,
            log=structlog.wrap_logger(structlog.ReturnLogger()),  # silent: commands run in this process too
        )
        self.answers: list[Any] = []

    def register(self, number: int, **content: Any) -> None:
        """Register a merchant, anew too."""
        merchant = Merchant(f"merchant {number}", **content)
        known = self.registry.documents.get((What.MERCHANT, number), {"time_ms": 0})
        time_ms = known["time_ms"] + 1
        registration = Registration(What.MERCHANT, merchant_key(number), number, plain(merchant))
        found = changes([item_of(registration, time_ms, counted(10 * number)).record])
        asyncio.run(self.registry.apply(found))

    def suspend(self, number: int) -> None:
        self.register(number, status=Status.SUSPENDED)

    async def record(self, browse: Any) -> str:
        self.browses.append(browse)
        return "ab" * 16

    def client(self, merchant: int = 0) -> Client:
        """A verifying client of the calls, with what a merchant shows."""
        client = Client("unix:nobody", LogKeys([each.verifier for each in self.logs.signers.values()]))
        client._query = _Stub(self, merchant)  # type: ignore[assignment]
        return client

    def call(self, name: str, request: Any, metadata: Sequence[tuple[str, str]] = ()) -> Any:
        """Call a method; errors come as they are raised."""
        context = SimpleNamespace(invocation_metadata=lambda: tuple(metadata))
        answer = asyncio.run(self.guarded(metadata, lambda: getattr(self.servicer, name)(request, context)))
        self.answers.append(answer)
        return answer

    def streamed(self, name: str, request: Any, metadata: Sequence[tuple[str, str]] = ()) -> "Streamed":
        """Call a method that streams, to its end; errors come as they are raised."""
        messages = Streamed()

        async def write(message: Any) -> None:
            messages.append(message)

        context = SimpleNamespace(invocation_metadata=lambda: tuple(metadata), write=write)
        asyncio.run(self.guarded(metadata, lambda: getattr(self.servicer, name)(request, context)))
        self.answers += messages
        return messages

    def shown_with(self, merchant: int) -> Sequence[tuple[str, str]]:
        """The headers of a merchant's requests; for 0 those of an operator, who sees what is public."""
        return (("authorization", f"Bearer {self.keys[merchant] if merchant else OPERATOR}"),)

    async def guarded(self, metadata: Sequence[tuple[str, str]], answer: Callable[[], Awaitable[Any]]) -> Any:
        """Answer as the guard of a port has it answered; who shows nothing is taken for an operator, who sees what is public."""
        shown = metadata if "authorization" in dict(metadata) else self.shown_with(0)
        known = await self.guard.admit("/goodstrace.query.v1.TraceService/Subscribe", shown, "")
        async with self.guard.watching(known, "", is_long=True):
            return await answer()

    def number_at(self, log: str, index: int) -> int:
        """The number of the event at a place."""
        return (2 * index + int(log[-1])) % len(EVENTS) + 1

    def secrets_of(self, number: int) -> list[bytes]:
        """What nobody may see who may not see an event: its parts, salts, and words of its content."""
        record = self.records[number - 1]
        words = [b"T03:%02d:00" % number, b"-%012d" % number]
        return [each for part in record.parts for each in (part.content, part.salt)] + words


class Streamed(list[Any]):
    """The messages of a stream, as a call of gRPC's that gives them."""

    def cancel(self) -> None:
        """Nothing is under way any more."""


def subscriptions_of(world: World, stop: asyncio.Event, *, share: float = 1.0) -> Subscriptions:
    """Subscriptions to the world's logs, four at a time, of which each caller has a share."""
    logs: Any = world.logs
    recorder: Any = world
    return Subscriptions(
        logs,
        recorder,
        Forward(logs),
        Heads(logs, 0.01),
        sight=world.sight,
        secret=SECRET,
        page_bytes=10**6,
        most=4,
        share=share,
        stop=stop,
        metrics=world.metrics,
        log=structlog.get_logger(),
    )


class SignedLogs(ProvedLogs):
    """Logs in memory with trees, signed checkpoints and look-ups by tag."""

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__(records)
        self.signers = {
            log: Signer(f"goodstrace.test/00/{log}", log.encode().ljust(32, b"k")) for log in self.records_of
        }

    async def newest(self, prefix: str) -> dict[str, StoredCheckpoint]:
        found = await super().newest(prefix)
        return {log: self._signed(log, each.size) for log, each in found.items()}

    async def checkpoint(self, log: str, size: int) -> StoredCheckpoint | None:
        return self._signed(log, size)

    def _signed(self, log: str, size: int) -> StoredCheckpoint:
        root = root_of(self._hashes(log, size))
        note = sign_checkpoint(Checkpoint(self.signers[log].name, size, root), self.signers[log])
        return StoredCheckpoint(log, size, root, note)

    async def find(
        self, tags: Sequence[bytes], sizes: Mapping[str, int], limit: int
    ) -> dict[bytes, list[SealedRecord]]:
        every = [each for log, size in sizes.items() for each in self.records_of[log][:size]]
        return {tag: [each for each in every if tag in each.tags][:limit] for tag in tags}

    async def multiproof(self, log: str, indexes: Iterable[int], size: int) -> list[bytes]:
        hashes = self._hashes(log, size)
        return [root_of(hashes[start:end]) for start, end in multiproof_path(sorted(set(indexes)), size)]

    async def find_from(
        self, log: str, tags: Sequence[bytes], first: int, size: int, limit: int
    ) -> list[SealedRecord]:
        below = self.records_of[log][first:size]
        return [each for each in below if not set(tags).isdisjoint(each.tags)][:limit]


class _Stub:
    """In the place of the wire: shows what a merchant shows, as a channel of the client's does."""

    def __init__(self, world: World, merchant: int) -> None:
        self._world, self._merchant = world, merchant

    def __getattr__(self, name: str) -> Any:
        """A method: calls the servicer and keeps the answer."""

        def call(request: Any, timeout: float = 0, metadata: Sequence[tuple[str, str]] = ()) -> Any:
            ask = self._world.streamed if name in STREAMS else self._world.call
            return ask(name, request, (*metadata, *self._world.shown_with(self._merchant)))

        return call
