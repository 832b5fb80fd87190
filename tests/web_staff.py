"""The pages of auditors and operators in memory: logs with blocks, browse records by the real AuditServicer, neighbours that can be away."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from goodstrace import block
from goodstrace.audit.v1 import audit_pb2, watch_pb2
from goodstrace.block import GENESIS_HASH, BlockHeader, KafkaRange
from goodstrace.merkle import leaf_hashes, root_of
from services.audit.index_values import GRANTED, Place, Row, Wanted
from services.audit.service import AuditServicer
from services.query.web.auditing import AuditorPages
from services.query.web.neighbours import Asker, Health, NeighbourAwayError, Rung
from services.query.web.operating import OperatorPages
from services.query.web.pages import WebPages
from services.query.web.routes import MorePages
from services.query.web.settings import WebSettings
from services.runtime.access.values import Means, Principal, Role
from services.runtime.errors import UnavailableError
from services.runtime.page_tokens import fixed_key
from services.runtime.vault import user_subject
from services.sealing.browse import Browse, browse_record
from services.sealing.pins import SignedHeader
from services.sealing.values import Head, StoredCheckpoint
from tests.unit.collector_builders import SECRET
from tests.web_world import EVENTS, ITEM_KEY, RECALL, WebLogs, WebWorld

AUDITOR = Principal(means=Means.TOKEN, account="01", name="auditor@example", roles=frozenset((Role.AUDITOR,)))
OPERATOR = Principal(
    means=Means.TOKEN, account="02", name="operator@example", roles=frozenset((Role.OPERATOR,))
)
BROWSE_LOG = "browse/0"
_BLOCK = 3
REJECTED = {
    "recordID": "ab" * 16,
    "state": "open",
    "reason": "INVALID",
    "stage": "collect",
    "detail": "eventTime: it is no time",
    "merchant": 2,
    "captureID": "cd" * 16,
    "recordTime": "2026-04-12T05:30:00Z",
    "partition": 0,
    "resubmitted": [{"captureID": "ef" * 16, "time": "2026-04-13T05:30:00Z"}],
}


def look(number: int, user: str = "ann", **changed: Any) -> Browse:
    told = {
        "method": "Trace",
        "keys": (ITEM_KEY,),
        "sizes": {"goods/0": 3},
        "purpose": "web page",
        "events": 13,
    }
    return Browse(user=user, merchant=number % 3, network="203.0.113.0/24", **{**told, **changed})


class MemoryBook:
    """The blocks of logs in memory, three entries each, signed by their logs' keys."""

    def __init__(self, logs: WebLogs) -> None:
        self._logs = logs

    async def heads(self) -> dict[str, Head]:
        newest = await self._logs.newest()
        return {
            log: Head(-(-each.size // _BLOCK) - 1, each, each) for log, each in newest.items() if each.size
        }

    async def blocks(self, log: str, low: int, high: int) -> list[SignedHeader]:
        return self.chain(log)[low:high][::-1]

    async def checkpoints(self, log: str, limit: int) -> list[StoredCheckpoint]:
        size = len(self._logs.records_of[log])
        return [self._logs.signed(log, each) for each in range(size, max(0, size - min(limit, 4)), -1)]

    def chain(self, log: str) -> list[SignedHeader]:
        seed, previous, found = log.encode().ljust(32, b"k"), GENESIS_HASH, []
        records = self._logs.records_of[log]
        for height, first in enumerate(range(0, len(records), _BLOCK)):
            size = min(len(records), first + _BLOCK)
            header = BlockHeader(
                count=size - first,
                first=first,
                height=height,
                kafka=KafkaRange("cluster", first, size, 0, "goods.stored", "topic"),
                log=log,
                previous=previous,
                root=root_of(leaf_hashes([each.entry for each in records[:size]])).hex(),
                size=size,
                time=1_776_000_000_000 + height * 1000,
            )
            data = block.encode(header)
            previous = block.header_hash(data)
            found.append(
                SignedHeader(data, block.sign_header(data, Ed25519PrivateKey.from_private_bytes(seed)))
            )
        return found


@dataclasses.dataclass
class MemoryNeighbours:
    """Answers as the other services do; `away` of them answers nothing."""

    audit: AuditServicer
    alerts_there: Sequence[watch_pb2.Alert] = ()
    rejected: Mapping[str, Any] = dataclasses.field(default_factory=lambda: dict(REJECTED))
    content: bytes | None = b'{"eventTime": "<tomorrow>"}'
    away: bool = False
    askers: list[Asker] = dataclasses.field(default_factory=list)

    def _asked(self, asker: Asker) -> None:
        self.askers.append(asker)
        if self.away:
            raise NeighbourAwayError("it is away")

    async def browses(
        self, asker: Asker, request: audit_pb2.ListBrowsesRequest
    ) -> audit_pb2.ListBrowsesResponse:
        self._asked(asker)
        return await self.audit.ListBrowses(request, Metadata())  # type: ignore[arg-type]

    async def alerts(
        self, asker: Asker, request: watch_pb2.ListAlertsRequest
    ) -> watch_pb2.ListAlertsResponse:
        self._asked(asker)
        del request
        return watch_pb2.ListAlertsResponse(alerts=self.alerts_there, browse_id="cd" * 16)

    async def rejections(self, asker: Asker, state: str, reason: str, limit: int) -> list[dict[str, Any]]:
        self._asked(asker)
        found = [dict(self.rejected)] if reason in ("", self.rejected.get("reason")) else []
        return found[:limit] if state in ("", "open") else []

    async def rejection(self, asker: Asker, record: str) -> tuple[dict[str, Any], bytes | None]:
        self._asked(asker)
        return {**self.rejected, "recordID": record}, self.content

    async def health(self) -> list[Health]:
        return [
            Health("collector", is_ready=True, problems=""),
            Health("ledger", is_ready=False, problems="mongodb: <away>"),
        ]

    async def backlog(self) -> list[Rung]:
        if self.away:
            raise UnavailableError("Prometheus is away")
        return [Rung("captured", 120, 0), Rung("sealed", 100, 20), Rung("witnessed", 90, 10)]


class Metadata:
    """A call that tells nothing by metadata."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()


class MemoryVault:
    """Keys of users that follow from their names."""

    async def hash_of(self, subject: str) -> bytes:
        return sha256(subject.encode()).digest()

    def __init__(self) -> None:
        self.asked: dict[bytes, bytes] = {}

    async def key_by_hash(self, subject_hash: bytes) -> bytes:
        return sha256(b"key" + subject_hash).digest()

    async def asked_of(self, record_ids: Collection[bytes]) -> dict[bytes, bytes]:
        return {each: self.asked[each] for each in record_ids if each in self.asked}


class MemoryIndex:
    """The index of looks in a dictionary."""

    def __init__(self) -> None:
        self.there: dict[bytes, Row] = {}

    async def find(self, wanted: Wanted, before: Place | None, limit: int) -> list[Row]:
        newest = sorted(self.there.values(), key=lambda row: (row.time_ms, row.record_id), reverse=True)
        meant = [row for row in newest if wanted.subject in (None, row.subject)]
        behind = [each for each in meant if before is None or _place(each.place) < _place(before)]
        return behind[:limit]

    async def rows_of(self, made_ms: Mapping[bytes, int]) -> dict[bytes, Row]:
        return {each: self.there[each] for each in made_ms if each in self.there}


def _place(place: Place) -> tuple[int, str]:
    return place.time_ms, place.record_id


class StaffWorld(WebWorld):
    """WebWorld with looks that are sealed, and the pages of auditors and operators."""

    def __init__(
        self, *, looks: Sequence[Browse] | None = None, who: Principal = AUDITOR, **more: Any
    ) -> None:
        self._looks = [look(number) for number in range(6)] if looks is None else looks
        super().__init__([*EVENTS, RECALL], who=who, **more)

    def more_pages(self, pages: WebPages, settings: WebSettings) -> Sequence[MorePages]:
        log, unused = structlog.get_logger(), _Metrics()
        vault, index = MemoryVault(), MemoryIndex()
        audit = AuditServicer(
            self.logs,
            self,
            index,
            vault,
            figures=unused,
            secret=SECRET,
            page_key=fixed_key(b"p" * 32),
            page_bytes=10**6,
            metrics=unused,
            log=log,
        )  # type: ignore[arg-type]
        for number, browse in enumerate(self._looks):
            self._seal(number, browse, index, vault)
        self.neighbours = MemoryNeighbours(audit)
        book: Any = MemoryBook(self.logs)
        auditors = AuditorPages(
            pages,
            logs=self.logs,
            book=book,
            envelopes=self.logs,
            neighbours=self.neighbours,
            witnesses=settings.verifiers(),
        )
        return (auditors, OperatorPages(pages, book, self.neighbours, settings))

    def _seal(self, number: int, browse: Browse, index: MemoryIndex, vault: MemoryVault) -> None:
        """Seal a look, encrypted as the recorder does, and tell the index of it."""
        subject = sha256(user_subject(browse.user).encode()).digest()
        record_id, time_ms = bytes([number]) * 16, 1_776_000_000_000 + number
        asked_key = sha256(b"key of " + browse.asked_user.encode()).digest()
        if browse.asked_user:
            vault.asked[record_id] = asked_key
        record = browse_record(
            browse,
            asked_key=asked_key,
            secret=SECRET,
            user_key=sha256(b"key" + subject).digest(),
            record_id=record_id,
            time_ms=time_ms,
            salts=tuple(bytes([number, place]) * 16 for place in range(4)),
        )
        self.logs.append(BROWSE_LOG, record)
        index.there[record_id] = Row(
            record_id=record_id,
            subject=subject,
            merchant=browse.merchant,
            time_ms=time_ms,
            role="",
            kind=browse.kind,
            method=browse.method,
            outcome=GRANTED,
        )


class _Metrics:
    """Counts nothing."""

    def __getattr__(self, name: str) -> Any:
        return self

    def inc(self, _count: int) -> None:
        """Take it."""


__all__ = ["AUDITOR", "OPERATOR", "REJECTED", "StaffWorld", "look"]
