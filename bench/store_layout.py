"""How blocks should lie in MongoDB: `python -m bench.store_layout [--events N]... [--json FILE]`.

Each layout gets the same synthetic records on a store of its own; printed are the insert rate (durable, one writer,
blocks of 2,000 entries), and for a look-up of one event by one tag its time and the bytes that travel. The figures of
docs/decisions/0003-block-layout.md come from here.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from deploy.document_store import DocumentStore
from deploy.processes import free_port

Document = dict[str, Any]
BLOCK_ENTRIES = 2000
TAGS = 8
LOOKUPS = 200


@dataclass(frozen=True)
class Layout:
    """One way to lay blocks out: `pack` entries share a document (0: no packs, all lies in the block)."""

    name: str
    pack: int
    entries_in_block: bool = False
    separate_index: bool = False


LAYOUTS = (
    Layout("packs of 1", 1),
    Layout("packs of 16", 16),
    Layout("packs of 64", 64),
    Layout("packs of 256", 256),
    Layout("packs of 16, entries in the block only", 16, entries_in_block=True),
    Layout("packs of 16, index documents", 16, separate_index=True),
    Layout("no packs, blocks of 256", 0),
)


def record(index: int) -> Document:
    """A record of usual size: 600 bytes of entry, 900 of event, 700 of facts, 8 tags of which one is its own."""
    rng = random.Random(index)
    own = index.to_bytes(16, "big")
    shared = [
        rng.randrange(index // 40 * 8, index // 40 * 8 + 8).to_bytes(8, "big") * 2 for _ in range(TAGS - 1)
    ]
    parts = [
        {"name": "event", "salt": rng.randbytes(32), "content": rng.randbytes(450) * 2},
        {"name": "facts", "salt": rng.randbytes(32), "content": rng.randbytes(350) * 2},
    ]
    return {"entry": rng.randbytes(300) * 2, "parts": parts, "tags": b"".join(sorted({own, *shared}))}


def split_tags(joined: bytes) -> list[bytes]:
    """Take joined tags apart."""
    return [joined[start : start + 16] for start in range(0, len(joined), 16)]


def pack_of(first: int, records: Sequence[Document], *, indexed: bool) -> Document:
    """Make one pack."""
    tags = sorted({tag for each in records for tag in split_tags(each["tags"])}) if indexed else []
    return {
        "_id": f"goods/0#{first:x}",
        "log": "goods/0",
        "first": first,
        "tags": tags,
        "records": list(records),
    }


def index_documents(first: int, records: Sequence[Document]) -> list[Document]:
    """Make the index documents of one pack: one for each tag, naming the pack."""
    tags = {tag for each in records for tag in split_tags(each["tags"])}
    return [{"tag": tag, "log": "goods/0", "first": first} for tag in sorted(tags)]


def insert_block(database: Database[Document], layout: Layout, first: int, records: list[Document]) -> None:
    """Commit one block as the ledger does: packs, then the block."""
    block: Document = {"_id": f"goods/0#{first}", "header": b"h" * 400, "leaves": b"l" * 32 * len(records)}
    if layout.pack == 0:
        block |= pack_of(first, records, indexed=True)
        database["packs"].insert_one(block)
        return
    starts = range(0, len(records), layout.pack)
    packs = [
        pack_of(first + start, records[start : start + layout.pack], indexed=not layout.separate_index)
        for start in starts
    ]
    if layout.entries_in_block:
        block["entries"] = [each.pop("entry") for each in records]
    database["packs"].insert_many(packs, ordered=False)
    if layout.separate_index:
        rows = [row for pack in packs for row in index_documents(pack["first"], pack["records"])]
        database["tags"].insert_many(rows, ordered=False)
    database["blocks"].insert_one(block)


def indexed_keys(layout: Layout) -> list[tuple[str, int]]:
    """Name the look-up index."""
    return [("tag" if layout.separate_index else "tags", 1), ("log", 1), ("first", 1)]


def look_up(database: Database[Document], layout: Layout, tag: bytes) -> int:
    """Find one event by its tag; give the bytes of the documents read."""
    if layout.separate_index:
        rows = list(database["tags"].find({"tag": tag}))
        packs = list(database["packs"].find({"_id": {"$in": [f"goods/0#{row['first']:x}" for row in rows]}}))
        read = [*rows, *packs]
    else:
        read = packs = list(database["packs"].find({"tags": tag}))
    found = [each for pack in packs for each in pack["records"] if tag in split_tags(each["tags"])]
    if len(found) != 1:
        raise SystemExit(f"{layout.name}: {len(found)} records found, not 1")
    size = sum(len(bson.encode(document)) for document in read)
    if layout.entries_in_block:
        block = database["blocks"].find_one(
            {"_id": f"goods/0#{packs[0]['first'] // BLOCK_ENTRIES * BLOCK_ENTRIES}"}
        )
        size += len(bson.encode(block or {}))
    return size


def measure(database: Database[Document], layout: Layout, sizes: Sequence[int]) -> Iterator[Document]:
    """Insert up to each size and look up there."""
    durable: Collection[Document] = database["tags" if layout.separate_index else "packs"]
    durable.create_index(indexed_keys(layout))
    block_entries = 256 if layout.pack == 0 else BLOCK_ENTRIES
    done, spent_s = 0, 0.0
    for size in sizes:
        while done < size:
            records = [record(index) for index in range(done, min(done + block_entries, size))]
            started = time.perf_counter()
            insert_block(database, layout, done, records)
            spent_s += time.perf_counter() - started
            done += len(records)
        times_ms, bytes_read = [], []
        for index in random.Random(1).choices(range(done), k=LOOKUPS):
            started = time.perf_counter()
            bytes_read.append(look_up(database, layout, index.to_bytes(16, "big")))
            times_ms.append(1000 * (time.perf_counter() - started))
        yield {
            "layout": layout.name,
            "events": done,
            "inserts_per_s": round(done / spent_s),
            "lookup_p50_ms": round(statistics.median(times_ms), 2),
            "lookup_p99_ms": round(sorted(times_ms)[LOOKUPS * 99 // 100], 2),
            "bytes_read": round(statistics.mean(bytes_read)),
        }


def run(layout: Layout, sizes: Sequence[int]) -> Iterator[Document]:
    """Measure a layout on a store of its own."""
    with tempfile.TemporaryDirectory(prefix="layout-") as folder:
        store = DocumentStore(Path(folder), free_port())
        try:
            store.start()
            store.wait_ready()
            with MongoClient[Document](store.uri) as client:
                concern = WriteConcern(w="majority", j=True)
                yield from measure(client.get_database("bench", write_concern=concern), layout, sizes)
        finally:
            store.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """Run all layouts, or those whose name holds `--only`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, action="append", help="how many events; may be given again")
    parser.add_argument("--only", default="", help="layouts whose name holds this text")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args(argv)
    rows = []
    print(
        "| layout | events | inserts/s | look-up p50 ms | p99 ms | bytes read |\n|---|---:|---:|---:|---:|---:|"
    )
    for layout in LAYOUTS:
        if arguments.only in layout.name:
            for row in run(layout, sorted(arguments.events or [10_000, 100_000])):
                print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)
                rows.append(row)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
