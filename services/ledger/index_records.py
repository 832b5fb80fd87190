"""The leaves of the log `index`, as its rounds make them. No I/O, no clock, no randomness."""

from collections.abc import Iterable, Mapping, Sequence

from goodstrace.completeness import leaf as leaves
from goodstrace.completeness.leaf import INDEX_PART, IndexedLog, IndexLeaf, RootAt, Run
from goodstrace.entry import Kind
from goodstrace.errors import EntryError
from goodstrace.facts import PIPELINE_VERSION
from goodstrace.root import TAG_KEY
from services.runtime import envelope
from services.runtime.envelope import Part, Record
from services.runtime.errors import EnvelopeError
from services.sealing.completeness.source import Pin
from services.sealing.entries import with_entry
from services.sealing.errors import CorruptError


class Growth:
    """What the root log has pinned since a leaf.

    Attributes:
        scanned: how many of its entries were looked at.
        reached: how many there are up to the last one that pins an indexed log; as many as the leaf has, where none does.
        sizes: the newest size of each log that grew.
    """

    def __init__(self, leaf: IndexLeaf) -> None:
        """Begin where a leaf ends."""
        self.scanned = self.reached = leaf.root.size
        self.sizes: dict[str, int] = {}
        self._before = leaf.sizes()

    def add(self, pins: Iterable[Pin], scanned: int) -> None:
        """Take what the entries up to `scanned` pin."""
        for pin in pins:
            if pin.size > max(self._before.get(pin.log, 0), self.sizes.get(pin.log, 0)):
                self.sizes[pin.log] = pin.size
                self.reached = pin.place + 1
        self.scanned = scanned


def grown_logs(leaf: IndexLeaf, sizes: Mapping[str, int]) -> tuple[IndexedLog, ...]:
    """Give the logs that the next leaf covers: those before keep their numbers, new ones come behind, by name."""
    known = leaf.sizes()
    kept = (IndexedLog(each.log, sizes.get(each.log, each.size)) for each in leaf.logs)
    return (*kept, *(IndexedLog(log, size) for log, size in sorted(sizes.items()) if log not in known))


def next_leaf(leaf: IndexLeaf, logs: Sequence[IndexedLog], root: RootAt, runs: Sequence[Run]) -> IndexLeaf:
    """Give the leaf that follows."""
    return IndexLeaf(tuple(logs), root, tuple(runs), leaf.secret)


def with_merged(runs: Sequence[Run], merged: Run | None) -> tuple[Run, ...]:
    """Put a merged run in the place of those that it is made of."""
    if merged is None:
        return tuple(runs)
    before = [run for run in runs if run.to <= merged.since]
    return (*before, merged, *(run for run in runs if run.since >= merged.to))


def index_record(leaf: IndexLeaf, *, record_id: bytes, salt: bytes, time_ms: int) -> Record:
    """Build the record of a leaf, with its entry.

    Args:
        leaf: what it says.
        record_id: 16 random bytes.
        salt: 32 random bytes; what they hide is no secret, but every part has its own.
        time_ms: Unix milliseconds.
    Raises: CorruptError where the leaf is out of its limits.
    """
    try:
        content = leaves.encode(leaf)
    except EntryError as error:
        raise CorruptError(str(error)) from error
    record = Record(
        id=record_id,
        kind=Kind.INDEX,
        time_ms=time_ms,
        pipeline_version=PIPELINE_VERSION,
        parts=(Part(INDEX_PART, salt, content),),
    )
    return with_entry(record, TAG_KEY, {})


def leaf_in(value: bytes) -> IndexLeaf:
    """Read the leaf in a record of the topic. Raises: CorruptError."""
    try:
        return leaves.decode(envelope.decode(value).part(INDEX_PART).content)
    except (EnvelopeError, EntryError) as error:
        raise CorruptError(f"the last record of the index's topic: {error}") from error
