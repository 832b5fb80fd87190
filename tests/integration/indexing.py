"""The log `index` over what a test has sealed: root log, index and their sealers, run in the test's own process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from prometheus_client import CollectorRegistry

from goodstrace.completeness import leaf as leaves
from goodstrace.completeness.leaf import INDEX_PART, IndexLeaf, secret_commitment
from goodstrace.log_keys import INDEX_LOG, ROOT_LOG
from services.ledger.index_rounds import IndexRounds
from services.ledger.metrics import IndexMetrics, RootMetrics
from services.ledger.root_rounds import RootRounds, RoundTopic
from services.ledger.root_topic import KafkaRoundTopic
from services.runtime import clock, topics
from services.runtime.monitoring import Readiness
from services.sealing.completeness.source import IndexSource
from services.sealing.completeness.store import MongoRuns
from services.sealing.core import Limits
from services.sealing.epochs import random_epoch
from services.sealing.kafka import KafkaSource
from services.sealing.keys import KeyFolder
from services.sealing.metrics import SealMetrics
from services.sealing.mongo import MongoBlockStore
from services.sealing.pins import Pins
from services.sealing.reader import LogReader
from services.sealing.service import Sealer
from services.sealing.writer import SealerParts
from tests.integration.looking import Looking, eventually


def index_rounds(
    looking: Looking,
    source: IndexSource | None = None,
    store: MongoRuns | None = None,
    topic: RoundTopic | None = None,
    keep_s: float = 3600,
) -> IndexRounds:
    """Rounds of the log `index` in a test's database."""
    database, name = looking.mongo.database, looking.names.topic(topics.LOGS_INDEX)
    return IndexRounds(
        source or IndexSource(database, LogReader(database)),
        store or MongoRuns(database),
        topic or KafkaRoundTopic(looking.stack.kafka_bootstrap_servers, name, f"{name}.rounds"),
        lambda: True,
        secret=secret_commitment(looking.secret),
        interval_s=0.02,
        keep_s=keep_s,
        now_ms=clock.now_ms,
        metrics=IndexMetrics(CollectorRegistry()),
        log=structlog.get_logger(),
    )


def sealer(looking: Looking, topic: str, prefix: str) -> Sealer:
    """A sealer of one of the single logs."""
    full = looking.names.topic(topic)
    parts = SealerParts(
        store=MongoBlockStore(looking.mongo.database),
        source=KafkaSource(looking.stack.kafka_bootstrap_servers, f"{full}.test", full),
        now_ms=clock.now_ms,
        limits=Limits(age_ms=20),
        new_epoch=random_epoch,
        metrics=SealMetrics(f"ledger_{prefix}", CollectorRegistry()),
        log=structlog.get_logger(),
    )
    return Sealer(parts, KeyFolder(looking.key_dir), prefix=prefix, name="test", readiness=Readiness())


@asynccontextmanager
async def rooted(looking: Looking, *more: object) -> AsyncIterator[None]:
    """Keep the root log going, and whatever else has a `run`."""
    name, stop = looking.names.topic(topics.LOGS_CHECKPOINTS), asyncio.Event()
    rounds = RootRounds(
        Pins(looking.mongo.database),
        KafkaRoundTopic(looking.stack.kafka_bootstrap_servers, name, f"{name}.rounds"),
        lambda: True,
        interval_s=0.02,
        now_ms=clock.now_ms,
        metrics=RootMetrics(CollectorRegistry()),
        log=structlog.get_logger(),
    )
    running = (rounds, sealer(looking, topics.LOGS_CHECKPOINTS, ROOT_LOG), *more)
    tasks = [asyncio.create_task(each.run(stop)) for each in running]  # type: ignore[attr-defined]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


@asynccontextmanager
async def indexed(looking: Looking, rounds: IndexRounds | None = None) -> AsyncIterator[None]:
    """Keep the root log and the log `index` going."""
    async with rooted(
        looking, sealer(looking, topics.LOGS_INDEX, INDEX_LOG), rounds or index_rounds(looking)
    ):
        yield


async def leaves_of(looking: Looking) -> Sequence[IndexLeaf]:
    """All published leaves."""
    stored = await looking.reader.checkpoint(INDEX_LOG)
    records = await looking.reader.records(INDEX_LOG, range(stored.size if stored else 0))
    found = []
    for record in records:
        [part] = record.parts
        assert part.name == INDEX_PART
        found.append(leaves.decode(part.content))
    return found


async def covered(looking: Looking) -> IndexLeaf:
    """Wait until the newest leaf covers all that is published of the goods logs."""

    async def done() -> IndexLeaf | None:
        found = await leaves_of(looking)
        newest = {log: each.size for log, each in (await looking.reader.newest("goods/")).items()}
        return found[-1] if found and found[-1].sizes() == newest else None

    leaf = await eventually(done, "the index covers all that is sealed")
    assert leaf is not None
    return leaf
