"""Where the events of a capture are sealed: looked up when a job is read, so that sealing pays nothing for it.

The accepted events of a capture lie in each log next to one another, for they went to Kafka in one transaction and their order
in a partition is kept. So one look-up by tag finds the first of them, and one read of packs the others. What is told is only
what is published.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from goodstrace import entry as entries
from goodstrace.entry import Position, TagKind
from goodstrace.grouping import grouped
from services.collector.jobs import ACCEPTED, DUPLICATE, Progress, Verdict
from services.sealing.values import SealedRecord, StoredCheckpoint, log_name

LOGS: Final = "goods"
MOST_OF_A_TAG: Final = 16
"""How many records of one event ID are looked at. Where more share it, some may be shown without their place."""

Places = dict[str, Position]


class Logs(Protocol):
    """What is read of the logs; services.sealing.reader.LogReader."""

    def tag(self, kind: TagKind, text: str) -> bytes:
        """Derive a tag."""

    async def newest(self, prefix: str = "") -> dict[str, StoredCheckpoint]:
        """Give the newest published checkpoint of each log."""

    async def find(
        self, tags: Sequence[bytes], sizes: Mapping[str, int], limit: int
    ) -> dict[bytes, list[SealedRecord]]:
        """Find records by tag."""

    async def records(self, log: str, indexes: Sequence[int]) -> list[SealedRecord]:
        """Give the records at indexes."""


class Positions:
    """Finds where records are sealed."""

    def __init__(self, logs: Logs) -> None:
        """Read from logs; the reader needs the index secret."""
        self._logs = logs

    async def of(self, made: Progress, verdicts: Sequence[Verdict]) -> Places:
        """Find where the records of accepted events are sealed, and the first ones of duplicates.

        Args:
            made: the job, for the partition that each verdict came from.
            verdicts: a page of its events.
        Returns: by record ID log and index; what is not published yet is left out.
        Raises: UnavailableError, CorruptError.
        """
        wanted = [verdict for verdict in verdicts if verdict.verdict in (ACCEPTED, DUPLICATE)]
        if not wanted:
            return {}
        sizes = {log: stored.size for log, stored in (await self._logs.newest(f"{LOGS}/")).items()}
        places: Places = {}
        for kind in (ACCEPTED, DUPLICATE):
            of_kind = [verdict for verdict in wanted if verdict.verdict == kind]
            by_log = grouped((log_name(LOGS, made.partitions[each.index]), each) for each in of_kind)
            for log, group in by_log.items():
                if sizes.get(log):
                    places |= await self._in_log(log, sizes[log], group)
        return places

    async def _in_log(self, log: str, size: int, group: Sequence[Verdict]) -> Places:
        """Find a group's records: its first by tag, those that follow it by index, whatever is left by tag."""
        missing = {_record(verdict): verdict for verdict in group}
        found: Places = {}
        anchor = group[0]
        self._note(await self._by_tag(log, size, [anchor]), missing, found)
        place = found.get(_record(anchor))
        if place is None and anchor.verdict == ACCEPTED:
            return found  # what comes after it in the log is not published either
        if place is not None and missing:
            following = range(place[1] + 1, min(size, place[1] + len(group)))
            self._note(await self._logs.records(log, following), missing, found)
        if missing:
            self._note(await self._by_tag(log, size, list(missing.values())), missing, found)
        return found

    async def _by_tag(self, log: str, size: int, group: Sequence[Verdict]) -> list[SealedRecord]:
        texts = {text for verdict in group for text in (verdict.event_id, verdict.event_hash)}
        tags = [self._logs.tag(TagKind.EVENT_ID, text) for text in sorted(texts)]
        found = await self._logs.find(tags, {log: size}, MOST_OF_A_TAG)
        return [record for records in found.values() for record in records]

    @staticmethod
    def _note(records: Iterable[SealedRecord], missing: dict[str, Verdict], found: Places) -> None:
        for record in records:
            name = entries.decode(record.entry).id
            if missing.pop(name, None) is not None:
                found[name] = (record.log, record.index)


def _record(verdict: Verdict) -> str:
    """Name the record whose place is told: a duplicate's is its first one's."""
    return verdict.first or verdict.record
