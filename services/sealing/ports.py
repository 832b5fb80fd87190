"""What sealing needs from outside. `mongo.py`, `kafka.py` and `keys.py` are the real ones."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from goodstrace.key_changes import KeyChange
from goodstrace.note import SigningKey
from services.sealing.core import Fetched, TopicIdentity
from services.sealing.tag_index import Page, TagIndex
from services.sealing.values import Head, LogInfo, Pack, StoredBlock, StoredCheckpoint

TileNames = Iterable[tuple[int, int]]


class TagPages(Protocol):
    """Reading the index by tag. Every method raises UnavailableError where the store is away."""

    async def pages(self, names: Collection[str]) -> dict[str, Page]:
        """Read the pages that are there, by name."""
        ...

    async def indexes(self, logs: Collection[str]) -> dict[str, TagIndex]:
        """Tell which runs the logs' indexes by tag have, in one call; logs without one are left out."""
        ...

    async def index(self, log: str) -> TagIndex | None:
        """Tell which runs the log's index by tag has."""
        ...


class BlockStore(TagPages, Protocol):
    """Where logs are kept.

    Every method raises UnavailableError where the store is away: a write's outcome is then unknown, and the same write
    may be repeated.
    """

    async def instance_id(self) -> str:
        """Give the installation's random ID (hex); made at the first call ever."""
        ...

    async def logs(self) -> list[LogInfo]:
        """List the registered logs by name."""
        ...

    async def register(self, info: LogInfo) -> LogInfo:
        """Register a log, unless it is; give what is registered."""
        ...

    async def propose_change(self, change: KeyChange) -> None:
        """Say which change of key the next block makes, in the place of what was said before; durable when it returns.

        Raises: LostRaceError where the log's key is not `change.old` any more, or a change at a later height was said:
            the block of that one may be there.
        """
        ...

    async def apply_change(self, change: KeyChange) -> LogInfo:
        """Put the new key of a change in force and the change into the log's list; give what is registered then.

        Raises: LostRaceError where neither the old nor the new key of the change is in force.
        """
        ...

    async def block(self, log: str, height: int) -> StoredBlock | None:
        """Give the block at a height."""
        ...

    async def put_packs(self, packs: Sequence[Pack]) -> None:
        """Write packs; those that are there already are left. Durable when it returns.

        Raises: CorruptError where one that is there is not the one to be written.
        """
        ...

    async def put_pages(self, pages: Mapping[str, Page]) -> None:
        """Write pages of the index by tag, by name; those that are there already are left. Durable when it returns.

        Raises: CorruptError where one that is there is not the one to be written.
        """
        ...

    async def put_index(self, index: TagIndex) -> None:
        """Say which runs the log's index by tag has; one of a higher `order` is left."""
        ...

    async def insert_block(self, block: StoredBlock) -> None:
        """Commit a block: durable when it returns.

        Raises: LostRaceError where other bytes are at that height. The same bytes again are no error.
        """
        ...

    async def put_tiles(self, log: str, tiles: Mapping[tuple[int, int], bytes]) -> None:
        """Write tiles by (level, n); one that is as wide already is left."""
        ...

    async def tiles(self, log: str, names: TileNames) -> dict[tuple[int, int], bytes]:
        """Read the tiles that are there."""
        ...

    async def put_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Keep a signed checkpoint; one of that size already there is left, cosignatures and all.

        Raises: CorruptError where that one says something else.
        """
        ...

    async def put_head(self, head: Head) -> None:
        """Say how far a log is signed, and where `published` is given how far it is published, in one write.

        What says as much or more already is left. Without `published`, what was published before stays so.
        """
        ...

    async def put_published(self, checkpoint: StoredCheckpoint) -> None:
        """Publish a checkpoint that was signed before: readers see it from now on.

        One that is larger, or of the same size with as many signatures, is left. The note is kept with the checkpoint of
        that size too, so that later proofs find its cosignatures.
        """
        ...

    async def head(self, log: str) -> Head | None:
        """Tell how far a log is signed and published."""
        ...

    async def remove_orphans(self, last: Sequence[StoredBlock]) -> int:
        """Remove packs that no block names; give their number.

        These are the ones written for the height of the last block or before, from the first index of `last` on, that
        none of them names. Nobody can name them any more, since their heights are taken; those of the next height may be
        in the making.

        Args:
            last: the log's last blocks, neighbours, oldest first; at least one.
        """
        ...


class LogScan(Protocol):
    """Reading a whole log in order, for `verify`: blocks and packs page by page."""

    async def logs(self) -> list[LogInfo]:
        """List the registered logs by name."""
        ...

    async def scan_blocks(self, log: str, height: int, end: int) -> list[StoredBlock]:
        """Give the blocks of heights height..end-1, in order."""
        ...

    async def scan_packs(self, log: str, first: int, size: int) -> list[Pack]:
        """Give all packs that begin in first..size-1, by first index and ID."""
        ...

    async def tiles(self, log: str, names: TileNames) -> dict[tuple[int, int], bytes]:
        """Read the tiles that are there."""
        ...

    async def head(self, log: str) -> Head | None:
        """Tell how far a log is signed and published."""
        ...

    async def count_tiles(self, log: str) -> int:
        """Count the log's tiles."""
        ...

    async def scan_checkpoints(self, log: str, above: int, upto: int) -> list[StoredCheckpoint]:
        """Give the checkpoints of sizes above+1..upto, in order."""
        ...


class RecordSource(Protocol):
    """A Kafka topic read as a member of a consumer group."""

    @property
    def joined(self) -> bool:
        """Whether the group has given this member its partitions, which may be none."""
        ...

    async def start(
        self, taken: Callable[[int], Awaitable[int]], given_up: Callable[[Sequence[int]], Awaitable[None]]
    ) -> None:
        """Join the group.

        Args:
            taken: called with each partition that this member gets; gives the offset to read from.
            given_up: called with partitions before another member may get them; returns when no more is written.
        """
        ...

    async def poll(self, max_records: int, timeout_s: float) -> list[tuple[int, list[Fetched]]]:
        """Give the next records by partition, in offset order, at most `max_records` in all.

        Raises: OffsetGapError where Kafka no longer holds the next offset; UnavailableError; whatever `taken` raised.
        """
        ...

    async def identity(self) -> TopicIdentity:
        """Ask Kafka now which topic this is; what was read before the call came from it. Raises: UnavailableError."""
        ...

    async def hold(self, partitions: Iterable[int]) -> None:
        """Read only from the other partitions, until the next call: these have enough waiting."""
        ...

    async def close(self) -> None:
        """Leave the group."""
        ...


class Keys(Protocol):
    """The logs' private keys. Called from threads, since what keeps them may take its time."""

    def find(self, log: str, origin: str, *, create: bool) -> Sequence[SigningKey]:
        """Give the keys there are for a log, at least one, named after its origin; one that shall follow comes last.

        Where there is none and `create` says so, it is made. Raises: LogKeyError, UnavailableError.
        """
        ...

    def may_have_next(self, log: str) -> bool:
        """Tell, at no cost, whether a key that shall follow may be there by now; asked before each block."""
        ...

    def settle(self, info: LogInfo) -> None:
        """Bring what is kept in line with what is registered: publish its key, destroy the key that was followed.

        May be repeated. Raises: LogKeyError.
        """
        ...
