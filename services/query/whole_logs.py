"""What answers are made from: logs, as a caller may see them and as they are."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from goodstrace.entry import Position
from services.sealing.showing import PartKey
from services.sealing.values import SealedRecord


class Logs(Protocol):
    """Where records are found; `services.sealing.reader.LogReader` is the real one, and says what the methods do."""

    async def find(
        self, tags: Sequence[bytes], sizes: Mapping[str, int], limit: int
    ) -> dict[bytes, list[SealedRecord]]:
        """Find records by tag."""
        ...

    async def find_newest(
        self, tag: bytes, sizes: Mapping[str, int], limit: int, before: Position | None = None
    ) -> list[SealedRecord]:
        """Find records by one tag, newest first."""
        ...

    async def records(self, log: str, indexes: Sequence[int]) -> list[SealedRecord]:
        """Give the records at these indexes."""
        ...

    async def sealed_ms(self, log: str, index: int) -> int:
        """Tell when an entry was sealed."""
        ...

    async def inclusion_proofs(self, log: str, indexes: Sequence[int], size: int) -> list[list[bytes]]:
        """Make inclusion proofs."""
        ...

    async def multiproof(self, log: str, indexes: Iterable[int], size: int) -> list[bytes]:
        """Make one proof of several entries."""
        ...

    async def part_keys(self, records: Sequence[SealedRecord]) -> Mapping[Position, PartKey]:
        """Give what opens encrypted parts that may be read."""
        ...


class WholeLogs(Logs, Protocol):
    """Logs as they are, of which nothing is withheld yet."""

    async def find_from(
        self, log: str, tags: Sequence[bytes], first: int, size: int, limit: int
    ) -> list[SealedRecord]:
        """Find records of a log by tag from an index on, oldest first."""
        ...


class UntoldRecord(SealedRecord, frozen=True):
    """A record that is withheld and was found by a name by which not even that may be told: it counts nowhere."""


def untold(record: SealedRecord) -> UntoldRecord:
    """Give a record without parts as one of which nothing is told."""
    return UntoldRecord(record.log, record.index, record.entry, record.parts, record.tags)
