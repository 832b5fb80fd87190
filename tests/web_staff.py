"""The pages of auditors and operators in memory: logs with blocks, browse records by the real AuditServicer, neighbours that can be away."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from goodstrace import block
from goodstrace import entry as entries
from goodstrace.audit.v1 import audit_pb2, watch_pb2
from goodstrace.block import GENESIS_HASH, BlockHeader, KafkaRange
from goodstrace.encrypted_parts import is_encrypted, record_key
from goodstrace.entry import TagKind
from goodstrace.log.v1 import log_pb2
from goodstrace.merkle import leaf_hashes, root_of
from services.query.web.auditing import AuditorPages
from services.query.web.neighbours import Asker, Health, NeighbourAwayError, Rung
from services.query.web.operating import OperatorPages
from services.query.web.pages import WebPages
from services.query.web.routes import MorePages
from services.query.web.settings import WebSettings
from services.runtime.access.current import principal
from services.runtime.access.values import Means, Principal, Role
from services.runtime.errors import UnavailableError
from services.sealing import disclosure
from services.sealing.browse import Browse, browse_record
from services.sealing.pins import SignedHeader
from services.sealing.values import Head, SealedRecord, StoredCheckpoint
from tests.unit.collector_builders import SECRET
from tests.web_world import EVENTS, ITEM_KEY, RECALL, WebLogs, WebWorld

AUDITOR = Principal(means=Means.TOKEN, account="01", name="auditor@example", roles=frozenset((Role.AUDITOR,)))
OPERATOR = Principal(
    means=Means.TOKEN, account="02", name="operator@example", roles=frozenset((Role.OPERATOR,))
)
BROWSE_LOG = "browse/0"
USER_KEY = b"u" * 32
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

    world: "StaffWorld"
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
        tag = entries.tag(SECRET, TagKind.KEY, request.key)
        looks = self.world.sealed_looks()
        there = [
            (record, browse)
            for record, browse in reversed(looks)
            if (tag in record.tags if request.key else browse.user == request.user)
        ]
        start = int(request.page_token or 0)
        page = there[start : start + request.page_size]
        sizes = {BROWSE_LOG: len(looks)}
        shown = await disclosure.disclose(self.world.logs, [record for record, _ in page], sizes)  # type: ignore[arg-type]
        for message in shown.values():
            for part in message.parts:
                if is_encrypted(part.content):
                    part.key = record_key(
                        USER_KEY, bytes.fromhex(entries.decode(message.entry).id), part.name
                    )
        listed = Browse(
            user=principal().name,
            method="ListBrowses",
            keys=(request.key,) if request.key else (),
            sizes=sizes,
            purpose=request.purpose,
            events=len(page),
        )
        signed = self.world.logs.signed(BROWSE_LOG, len(looks))
        return audit_pb2.ListBrowsesResponse(
            browses=[shown[record.log, record.index] for record, _ in page],
            checkpoints=[log_pb2.Checkpoint(log=BROWSE_LOG, note=signed.note)],
            next_page_token=str(start + len(page)) if start + len(page) < len(there) else "",
            browse_id=await self.world.record(listed),
        )

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


class StaffWorld(WebWorld):
    """WebWorld with looks that are sealed, and the pages of auditors and operators."""

    def __init__(
        self, *, looks: Sequence[Browse] | None = None, who: Principal = AUDITOR, **more: Any
    ) -> None:
        self._looks = [look(number) for number in range(6)] if looks is None else looks
        super().__init__([*EVENTS, RECALL], who=who, **more)

    def sealed_looks(self) -> list[tuple[SealedRecord, Browse]]:
        """The browse records with what they say, oldest first."""
        return list(zip(self.logs.records_of[BROWSE_LOG], self._looks, strict=True))

    def more_pages(self, pages: WebPages, settings: WebSettings) -> Sequence[MorePages]:
        for number, browse in enumerate(self._looks):
            salts = tuple(bytes([number, place]) * 16 for place in range(4))
            self.logs.append(
                BROWSE_LOG,
                browse_record(
                    browse,
                    secret=SECRET,
                    user_key=USER_KEY,
                    record_id=bytes([number]) * 16,
                    time_ms=1_776_000_000_000 + number,
                    salts=salts,
                ),
            )
        self.neighbours = MemoryNeighbours(self)
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


__all__ = ["AUDITOR", "OPERATOR", "REJECTED", "StaffWorld", "look"]
