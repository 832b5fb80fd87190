"""Rejections and the topic that they lie on, in memory."""

from collections.abc import Sequence

import msgspec

from services.collector.rejection_store import Wanted
from services.collector.rejections import Again, Rejection, State
from services.runtime.envelope import Record
from services.runtime.errors import UnavailableError
from services.runtime.kafka import OffsetGapError
from services.sealing.browse import Browse, NotRecordedError


class Store:
    """Rejections in memory; away while `away`."""

    def __init__(self) -> None:
        self.kept: dict[str, Rejection] = {}
        self.away = False

    async def find(self, record: str) -> Rejection | None:
        return self.kept.get(record)

    async def page(self, wanted: Wanted, before: str, limit: int) -> Sequence[Rejection]:
        query = wanted.query()
        found = [
            each
            for each in self.kept.values()
            if all(getattr(each, name) == value for name, value in query.items())
            and (not before or each.order < before)
        ]
        return sorted(found, key=lambda each: each.order, reverse=True)[:limit]

    async def resubmitted(self, record: str, again: Again) -> None:
        if self.away:
            raise UnavailableError("away")
        found = self.kept[record]
        changed = msgspec.structs.replace(found, state=State.RESUBMITTED, again=(*found.again, again))
        self.kept[record] = changed


class Topic:
    """`goods.rejected` in memory."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def read(self, partition: int, offset: int) -> Record:
        if offset >= len(self.records):
            raise OffsetGapError("gone")
        return self.records[offset]


class Looks:
    """Looks that were recorded; Kafka is away while `away`."""

    def __init__(self) -> None:
        self.recorded: list[Browse] = []
        self.away = False

    async def record(self, browse: Browse) -> str:
        if self.away:
            raise NotRecordedError("Kafka is away")
        self.recorded.append(browse)
        return "00" * 16
