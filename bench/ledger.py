"""How fast the ledger seals, reads and restarts: `python -m bench.ledger [--entries N] [--entry-bytes N] [--restart]`.

Appending: a Kafka topic of two partitions is full; a ledger process starts, checks, seals, indexes and publishes all of it.
Reading: random records by index, and by a tag of their own, with inclusion proofs that are checked; one reader that reads one
after the other, and one with 16 reads under way. Both over a Kafka and a store of
their own; MONGODB_URI names another store.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.processes import cpu_s, rss_mib
from bench.store import bare_insert_rate
from deploy.processes import free_port
from deploy.stack import Stack
from goodstrace import block
from goodstrace.entry import Kind, TagKind
from goodstrace.merkle import leaf_hash, verify_inclusion
from services.runtime import envelope, kafka
from services.runtime.envelope import Part, Record
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings
from services.sealing.entries import with_entry
from services.sealing.reader import LogReader
from services.sealing.values import SealedRecord, StoredCheckpoint
from tests.system.harness import System

PARTITIONS: Final = 2
KEYS: Final = 4
READS: Final = 2000
AT_ONCE: Final = 16
BATCH: Final = 1000
SECRET: Final = bytes(range(32))
BARE_BYTES: Final = 450  # of a record on the topic without its content: entry, salt, keys
DEADLINE_S: Final = 1800
console = Console(stderr=True)


def main() -> int:
    """Measure; the table goes to standard error, the JSON to standard output."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--entries", type=int, default=200_000, help="records to seal (200,000)")
    parser.add_argument("--entry-bytes", type=int, default=500, help="bytes of a record on the topic (500)")
    parser.add_argument(
        "--restart", action="store_true", help="also restart with 10,000 and with all entries"
    )
    arguments = parser.parse_args()
    figures = measure(arguments.entries, arguments.entry_bytes)
    if arguments.restart:
        figures |= restarts(arguments.entries, arguments.entry_bytes)
    table = Table(
        title=f"{arguments.entries:,} records of {arguments.entry_bytes} bytes", title_justify="left"
    )
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.2f}" if value < 100 else f"{value:,.0f}")
    console.print(table)
    print(json.dumps(figures, indent=2))
    return 0


def measure(entries: int, entry_bytes: int) -> dict[str, float]:
    """Seal and read records on a stack of its own.

    Args:
        entries: how many.
        entry_bytes: of each record on the topic, about: the entry, its one part with salt, and its keys' tags.
    Returns: `append_per_s`; `append_bare_store_per_s`, what the store alone takes of the very same documents;
        `ledger_cpu_us` of the ledger's process for each entry; and what `read_rates` gives.
    """
    with tempfile.TemporaryDirectory(prefix="goodstrace-bench-") as folder:
        stack = own_stack(Path(folder) / "stack")
        stack.start()
        try:
            system = sealed_system(stack, Path(folder) / "system", entries, entry_bytes)
            try:
                figures = appended(system, entries)
                system.daemons["ledger"].stop()
                figures |= asyncio.run(read_rates(stack, system))
                return figures | {"append_bare_store_per_s": bare_insert_rate(system.store, entries)}
            finally:
                system.stop()
        finally:
            stack.stop()


def restarts(entries: int, entry_bytes: int) -> dict[str, float]:
    """Restart the ledger of a small log and of a large one, in order and by SIGKILL: seconds and memory."""
    figures: dict[str, float] = {}
    for count in (10_000, entries):
        with tempfile.TemporaryDirectory(prefix="goodstrace-bench-") as folder:
            stack = own_stack(Path(folder) / "stack")
            stack.start()
            system = sealed_system(stack, Path(folder) / "system", count, entry_bytes)
            try:
                appended(system, count)
                figures |= {f"{name}_{count}": value for name, value in restarted(system).items()}
            finally:
                system.stop()
                stack.stop()
    return figures


def own_stack(run_dir: Path) -> Stack:
    """Prepare a Kafka and a store on free ports; or the store that MONGODB_URI names."""
    return Stack(
        run_dir,
        free_port(),
        free_port(),
        controller_port=free_port(),
        mongodb_uri=os.environ.get("MONGODB_URI") or None,
    )


def sealed_system(stack: Stack, run_dir: Path, entries: int, entry_bytes: int) -> System:
    """Make a system whose topic is full, and which has not sealed yet."""
    system = System(
        stack, run_dir, {"GOODSTRACE_PARTITIONS": str(PARTITIONS), "GOODSTRACE_INSTANCE": "bench"}
    )
    made = system.run_module("services.runtime.provision")
    if made.returncode != 0:
        raise SystemExit(made.stdout + made.stderr)
    producer = kafka.producer(stack.kafka_bootstrap_servers)
    topic = f"{system.topic_prefix}goods.stored"
    for number, batch in enumerate(batches(entries, entry_bytes)):
        producer.produce_batch(topic, [{"value": each} for each in batch], partition=number % PARTITIONS)
        producer.flush()
    return system


def batches(entries: int, entry_bytes: int) -> Iterator[list[bytes]]:
    """Make the records as they are on the topic."""
    rng = random.Random(5)
    for first in range(0, entries, BATCH):
        numbers = range(first, min(entries, first + BATCH))
        yield [envelope.encode(record(rng, number, entry_bytes)) for number in numbers]


def record(rng: random.Random, number: int, entry_bytes: int) -> Record:
    """Make a record with keys of its own."""
    content = rng.randbytes(max(1, entry_bytes - BARE_BYTES))
    bare = Record(
        id=rng.randbytes(16),
        kind=Kind.EVENT,
        time_ms=1_700_000_000_000 + number,
        pipeline_version="1",
        merchant=1,
        parts=(Part("event", rng.randbytes(32), content),),
    )
    return with_entry(bare, SECRET, {TagKind.KEY: [key(number, which) for which in range(KEYS)]})


def key(number: int, which: int) -> str:
    """Name a record's key."""
    return f"https://id.gs1.org/01/00000000000000/21/{number}.{which}"


def appended(system: System, entries: int) -> dict[str, float]:
    """Let a ledger seal the topic; the clock runs from its first block on, whose entries do not count."""
    ledger = system.daemons["ledger"]
    ledger.start()
    system.wait_ready("ledger")
    ready_cpu_s = cpu_s(ledger.process.pid if ledger.process else 0)
    ready_sealed = published(system)
    deadline = time.monotonic() + DEADLINE_S
    while published(system) < entries:
        if ledger.process is None or time.monotonic() > deadline:
            raise SystemExit(
                f"the ledger ended, or had not sealed all within {DEADLINE_S} s\n{ledger.tail()}"
            )
        time.sleep(0.02)
    ended_ms = time.time_ns() / 1_000_000
    spent_s = cpu_s(ledger.process.pid if ledger.process else 0) - ready_cpu_s
    first = [
        block.decode(bytes(each["header"]))
        for each in system.store["blocks"].find({"_id": {"$in": [f"goods/{p}#0" for p in range(PARTITIONS)]}})
    ]
    seconds = (ended_ms - min(header.time for header in first)) / 1000
    return {
        "append_per_s": (entries - sum(header.count for header in first)) / seconds,
        "ledger_cpu_us": spent_s * 1e6 / max(1, entries - ready_sealed),
    }


def published(system: System) -> int:
    """Count the entries under published checkpoints."""
    names = [f"goods/{partition}" for partition in range(PARTITIONS)]
    return sum(each["size"] for each in system.store["heads"].find({"_id": {"$in": names}}, {"size": 1}))


async def read_rates(stack: Stack, system: System) -> dict[str, float]:
    """Read random records with proofs to the newest checkpoint, checked.

    Returns: reads a second `verified_reads_per_s` by log and index, as the peers that know no keys are read, and
        `verified_reads_by_key_per_s`; each also with AT_ONCE under way (`..._at_once_per_s`). For each of the four as
        `..._cpu_us` what a read costs this process. Each begins with a reader that remembers nothing.
    """
    figures: dict[str, float] = {}
    for way, find in (("verified_reads", by_index), ("verified_reads_by_key", by_key)):
        for name, at_once in ((way, 1), (f"{way}_{AT_ONCE}_at_once", AT_ONCE)):
            mongo = Mongo(
                MongoSettings(uri=stack.mongodb_uri, database=system.database_name, timeout_ms=10_000)
            )
            reads = Reads(LogReader(mongo.database, SECRET), find)
            figures |= await reads.rate(name, at_once)
            mongo.close()
    return figures


Find = Callable[[LogReader, random.Random, dict[str, int]], Awaitable[SealedRecord]]


async def by_index(reader: LogReader, rng: random.Random, sizes: dict[str, int]) -> SealedRecord:
    """Read a random record by its place."""
    log = rng.choice(sorted(sizes))
    [found] = await reader.records(log, [rng.randrange(sizes[log])])
    return found


async def by_key(reader: LogReader, rng: random.Random, sizes: dict[str, int]) -> SealedRecord:
    """Look a random record up by a key that no other has, in all logs."""
    tag = reader.tag(TagKind.KEY, key(rng.randrange(sum(sizes.values())), rng.randrange(KEYS)))
    [found] = (await reader.find([tag], sizes, 2))[tag]
    return found


@dataclass
class Reads:
    """Verified reads of one reader."""

    reader: LogReader
    find: Find

    async def rate(self, name: str, at_once: int) -> dict[str, float]:
        """Do READS of them, `at_once` under way at any time."""
        newest = await self.reader.newest("goods/")
        rng, left = random.Random(6), iter(range(READS))
        begun, begun_cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(self._some(newest, rng, left) for _ in range(at_once)))
        return {
            f"{name}_per_s": READS / (time.perf_counter() - begun),
            f"{name}_cpu_us": (time.process_time() - begun_cpu_s) / READS * 1e6,
        }

    async def _some(
        self, newest: dict[str, StoredCheckpoint], rng: random.Random, left: Iterator[int]
    ) -> None:
        sizes = {log: checkpoint.size for log, checkpoint in newest.items()}
        for _ in left:
            found = await self.find(self.reader, rng, sizes)
            size, root = sizes[found.log], newest[found.log].root
            [proof] = await self.reader.inclusion_proofs(found.log, [found.index], size)
            verify_inclusion(leaf_hash(found.entry), found.index, size, proof, root)


def restarted(system: System) -> dict[str, float]:
    """Restart the ledger; seconds from the start of its process until it is ready, and its memory then, in MiB."""
    figures: dict[str, Any] = {}
    ledger = system.daemons["ledger"]
    for way, end in (("stopped", ledger.stop), ("killed", ledger.kill)):
        end()
        begun = time.perf_counter()
        system.restart("ledger")
        figures[f"restart_{way}_s"] = time.perf_counter() - begun
        figures[f"restart_{way}_mib"] = rss_mib(ledger.process.pid if ledger.process else 0)
    return figures


if __name__ == "__main__":
    sys.exit(main())
