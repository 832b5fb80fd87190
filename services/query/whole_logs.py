"""What answers are made from: logs, as a caller may see them and as they are."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from goodstrace.entry import Position
from services.sealing.showing import PartKey
from services.sealing.values import SealedRecord

AT_ONCE_RECORDS: Final = 200
AT_ONCE_BYTES: Final = 128 * 1024  # one event of a MiB names 20,000 keys


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


def is_much(records: Sequence[SealedRecord]) -> bool:
    """Tell whether reading records, or judging who may see them, takes more than some milliseconds: then it is done in a thread, so that other calls go on."""
    if len(records) > AT_ONCE_RECORDS:
        return True
    return sum(len(part.content) for record in records for part in record.parts) > AT_ONCE_BYTES
