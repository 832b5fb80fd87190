"""`replay rebuild`: the logs sealed anew from Kafka into another database, by the sealer itself.

What is there already is gone on from, as after any restart; so an interrupted rebuild is repeated until it is done.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from goodstrace.entry import Kind
from goodstrace.errors import EntryError
from goodstrace.merkle import Frontier
from goodstrace.note import SigningKey
from services.collector import goods
from services.collector.flagged_store import FlaggedStore
from services.collector.goods_states import Stored
from services.collector.mongo import GoodsStore
from services.collector.registry import registrations
from services.collector.registry.store import RegistryStore
from services.collector.renewal_store import RenewalStore
from services.collector.renewing import Renewing
from services.collector.state_keeper import gathered, placed
from services.collector.state_store import StateStore
from services.replay.reading import TopicReader
from services.replay.source import ReplaySource
from services.replay.sources import Origin
from services.runtime import clock
from services.runtime.errors import ConflictError, EnvelopeError
from services.runtime.mongo import Database, translated
from services.runtime.monitoring import Readiness
from services.sealing import core
from services.sealing.core import Fetched, Limits
from services.sealing.epochs import random_epoch
from services.sealing.errors import CorruptError
from services.sealing.indexes import INSTANCE, REBUILD, RESTORED
from services.sealing.metrics import SealMetrics
from services.sealing.mongo import MongoBlockStore
from services.sealing.ports import Keys, LogScan
from services.sealing.provision import provision
from services.sealing.publishing import Publishing
from services.sealing.service import Sealer
from services.sealing.values import LogInfo, StoredBlock, StoredCheckpoint
from services.sealing.writer import SealerParts

PAGE_BLOCKS: Final = 32
_INSTANCE: Final = "instance"


class Rebuilt(msgspec.Struct, kw_only=True):
    """What came of one log.

    `entries` and `root` are those of the rebuilt log; `checkpoints` of the other store were compared, the last of size
    `compared_size`; `differing` are the sizes at which the roots differ; `beyond` counts checkpoints of more entries than the
    rebuilt log has.
    """

    log: str
    entries: int = 0
    root: str = ""
    checkpoints: int = 0
    compared_size: int = 0
    beyond: int = 0
    differing: list[int] = []


class KeysAtHand:
    """Keys that are there; none is made: a rebuilt log is signed by the key it was sealed with."""

    def __init__(self, keys: Keys) -> None:
        """Look in these."""
        self._keys = keys

    def find(self, log: str, origin: str, *, create: bool) -> Sequence[SigningKey]:
        """See Keys. Raises: LogKeyError where the key is not there."""
        del create
        return self._keys.find(log, origin, create=False)[:1]  # not one that shall follow

    def may_have_next(self, log: str) -> bool:
        """See Keys: the key does not change while a log is rebuilt."""
        del log
        return False

    def settle(self, info: LogInfo) -> None:
        """See Keys: what is published stays that of the store in use."""


async def prepare(database: Database, instance: str) -> None:
    """Make an empty database ready, or make sure that this one is a rebuild that was begun, or was restored from a copy.

    Raises: ConflictError where it holds something else; UnavailableError.
    """
    collection = database[INSTANCE]
    async with translated():
        known = {each["_id"]: each.get("value") async for each in collection.find()}
    if known and not {REBUILD, RESTORED} & known.keys():
        raise ConflictError(
            f"the database {database.name} is in use and no rebuild: name another one, or drop it first"
        )
    if (of := known.get(REBUILD, known.get(_INSTANCE, instance))) != instance:
        raise ConflictError(f"the database {database.name} is a rebuild of instance {of}")
    for name in (REBUILD, _INSTANCE):
        if name not in known:
            async with translated():
                await collection.insert_one({"_id": name, "value": instance})
    await provision(database)


class TopicSealer:
    """Seals topics to where they end now, into one database."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        *,
        name: str,
        limits: Limits,
        goods_information: bool,
        publishing: Publishing,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Seal into `database` under the installation's `name`; with `goods_information` that is kept there too."""
        self._publishing = publishing
        self._store = MongoBlockStore(database)
        self._goods = GoodsStore(database) if goods_information else None
        self._states, self._flagged = StateStore(database), FlaggedStore(database)
        self._renewing = Renewing(self._states, RenewalStore(database, log), log)
        self._registry = RegistryStore(database)
        self._keys = keys
        self._name = name
        self._limits = limits
        self._log = log
        self._metrics = SealMetrics("replay")

    async def run(self, origin: Origin, reader: TopicReader, told: Callable[[int], None]) -> None:
        """Seal one topic to its end; `told` gets the number of records taken, batch by batch. Raises: ServiceError."""

        async def watch(partition: int, records: Sequence[Fetched]) -> None:
            if self._goods is not None and origin.prefix == "goods":
                decoded = [placed(partition, each.offset, each.value) for each in records]
                await _keep_goods(self._goods, self._registry, decoded)
                found = gathered(decoded)
                await self._states.apply(found.said, found.given)
                await self._renewing.add(found.firsts)
                await self._flagged.add(found.flagged)
            told(len(records))

        if self._goods is not None and origin.prefix == "goods":
            await self._states.prepare()  # each registration looks for whether states depend on it
        source = ReplaySource(reader, change=origin.change, from_the_first=origin.from_the_first, watch=watch)
        parts = SealerParts(
            store=self._store,
            source=source,
            now_ms=clock.now_ms,
            limits=self._limits,
            new_epoch=random_epoch,
            metrics=self._metrics,
            log=self._log,
            publishing=self._publishing,
        )
        sealer = Sealer(parts, self._keys, prefix=origin.prefix, name=self._name, readiness=Readiness())
        await sealer.run(source.finished)
        if self._goods is not None and origin.prefix == "goods":
            while await self._renewing.portion(None) is not None:  # nobody else keeps the states of a rebuild
                pass


class RootComparison:
    """Compares the roots of a log, block by block, with the checkpoints published for its sizes. Pure."""

    def __init__(self, log: str) -> None:
        """Begin with the empty log."""
        self.found = Rebuilt(log=log)
        self._frontier = Frontier()

    def block(self, block: StoredBlock, checkpoints: Sequence[StoredCheckpoint]) -> None:
        """Take the next block, and the checkpoints of another store whose sizes it reaches, in order.

        Raises: CorruptError, where the block does not follow the one before.
        """
        if block.first != self._frontier.size:
            raise CorruptError(f"{block.id}: begins at {block.first}, not {self._frontier.size}")
        hashes = core.split_hashes(block.leaves)
        for checkpoint in checkpoints:
            wanted = checkpoint.size - block.first
            if self._frontier.append(hashes[:wanted]).root() != checkpoint.root:
                self.found.differing.append(checkpoint.size)
            self.found.checkpoints += 1
            self.found.compared_size = checkpoint.size
        self._frontier = self._frontier.append(hashes)
        self.found.entries, self.found.root = self._frontier.size, self._frontier.root().hex()


async def compare_roots(rebuilt: LogScan, published: LogScan, log: str) -> Rebuilt:
    """Compare a rebuilt log with every checkpoint that another store has published of it.

    Raises: CorruptError, UnavailableError.
    """
    comparison = RootComparison(log)
    height = 0
    while page := await rebuilt.scan_blocks(log, height, height + PAGE_BLOCKS):
        checkpoints = await published.scan_checkpoints(log, page[0].first, page[-1].size)
        for block in page:
            comparison.block(block, [each for each in checkpoints if block.first < each.size <= block.size])
        height += len(page)
    found = comparison.found
    head = await published.head(log)
    if head is not None and head.checkpoint.size > found.entries:
        beyond = await published.scan_checkpoints(log, found.entries, head.checkpoint.size)
        found.beyond = len(beyond)
    return found


async def _keep_goods(goods_store: GoodsStore, registry: RegistryStore, decoded: Sequence[Stored]) -> None:
    """Keep what the projector would; the same records again change nothing."""
    try:
        known, merchants = goods.changes(each.record for each in decoded if each.record.kind is Kind.EVENT)
    except EntryError as error:
        raise EnvelopeError(str(error)) from error
    await goods_store.apply(known, merchants)
    await registry.apply(registrations.changes(each.record for each in decoded))
