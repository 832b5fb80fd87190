"""The log `index` against the logs: each leaf follows the one before, the newest is what the entries give, and its runs are there.

What the leaf says is sealed; the documents of its runs are derived, and made again. Memory does not grow with the logs.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from goodstrace.completeness import leaf as leaves
from goodstrace.completeness.leaf import INDEX_PART, IndexLeaf, Run
from goodstrace.completeness.rows import hashed
from goodstrace.errors import EntryError, VerificationError
from goodstrace.log_keys import INDEX_LOG
from goodstrace.merkle import Frontier
from services.runtime.envelope import content_of
from services.runtime.mongo import Database
from services.runtime.sorting import Sorter
from services.sealing.completeness import layout
from services.sealing.completeness.layout import Builder, run_id
from services.sealing.completeness.source import IndexSource
from services.sealing.completeness.store import MongoRuns, StoredRun, lacking
from services.sealing.errors import CorruptError, RunGoneError
from services.sealing.fsck.faults import Standing, Verdict
from services.sealing.reader import LogReader
from services.sealing.values import SealedRecord

LEAVES_AT_ONCE: Final = 256
LOG_FAULT: Final = "index-log"
RUN_FAULT: Final = "index-run"


async def check_index(database: Database, verdicts: Iterable[Verdict], *, repair: bool = False) -> None:
    """Check the log `index`, where it is among those checked and nothing is wrong with what is sealed in it.

    Where something else that is sealed is at fault, what the entries give cannot be told: then only the leaves are checked.
    With `repair` runs that are not there as they should be are written. Raises: UnavailableError.
    """
    checked = list(verdicts)
    verdict = next((each for each in checked if each.log == INDEX_LOG), None)
    if verdict is None or verdict.of(Standing.SEALED):
        return
    reader = LogReader(database)
    source, store = IndexSource(database, reader), MongoRuns(database)
    try:
        leaf = await _check_leaves(reader, verdict)
        if leaf is not None and not any(each.of(Standing.SEALED) for each in checked):
            await _check_newest(source, store, leaf, verdict, repair=repair)
    except (CorruptError, RunGoneError) as error:
        verdict.found(LOG_FAULT, f"cannot be checked to its end: {error}")


async def _check_leaves(reader: LogReader, verdict: Verdict) -> IndexLeaf | None:
    """Check that each leaf can be read and follows the one before; gives the last."""
    size = await reader.signed_size(INDEX_LOG)
    last: IndexLeaf | None = None
    for first in range(0, size, LEAVES_AT_ONCE):
        records = await reader.records(INDEX_LOG, range(first, min(size, first + LEAVES_AT_ONCE)))
        for record in records:
            try:
                leaf = leaf_in(record)
            except EntryError as error:
                verdict.found(LOG_FAULT, str(error), index=record.index)
                continue
            problem = leaves.succession_problem(last or leaves.empty(leaf.secret), leaf)
            if problem:
                verdict.found(LOG_FAULT, problem, index=record.index)
            last = leaf
    return last


async def _check_newest(
    source: IndexSource, store: MongoRuns, leaf: IndexLeaf, verdict: Verdict, *, repair: bool
) -> None:
    bounds = [0, *(run.to for run in leaf.runs)]
    vectors = await source.vectors(bounds)
    if vectors[leaf.root.size] != leaf.sizes():
        verdict.found(LOG_FAULT, "the newest leaf covers other sizes than the root log pins")
        return
    if (await source.root_hash(leaf.root.size)).hex() != leaf.root.hash:
        verdict.found(LOG_FAULT, "the newest leaf names another root log than the store holds")
    there = await store.runs()
    for (since, to), run in zip(pairwise(bounds), leaf.runs, strict=True):
        with Sorter() as sorter:
            async for rows in source.rows(vectors[since], vectors[to], leaf.numbers()):
                sorter.add(rows)
            await _check_run(store, run, sorter, verdict, there=there, repair=repair)


async def _check_run(
    store: MongoRuns, run: Run, sorter: Sorter, verdict: Verdict, *, there: list[StoredRun], repair: bool
) -> None:
    """Make a run again: against the leaf, and document by document against the store."""
    name = run_id(run.since, run.to)
    builder, frontier, rows = Builder(), Frontier(), 0
    missing = 0
    ordered = sorter.sorted()
    try:
        for part in hashed(ordered):
            rows, frontier = part.rows, part.frontier
            missing += await _differing(store, name, dict(builder.add(part.data)), repair=repair)
        missing += await _differing(store, name, dict(builder.finish()), repair=repair)
    except VerificationError as error:
        verdict.found(LOG_FAULT, f"run {name}: {error}")
        return
    if (rows, frontier.root().hex()) != (run.rows, run.root):
        verdict.found(
            LOG_FAULT,
            f"the newest leaf says of the run {name} that it has {run.rows} rows under {run.root}, and the entries give {rows} "
            f"under {frontier.root().hex()}: something was left out, or put in",
        )
        return
    if missing or lacking([run], there):
        verdict.found(RUN_FAULT, f"run {name}: {missing} documents are missing or hold other rows")
        if repair:
            await store.begin(run.since, run.to, run.rows)
            await store.finish(run)


async def _differing(
    store: MongoRuns, name: str, documents: dict[layout.Place, bytes], *, repair: bool
) -> int:
    """Count the documents that are not in the store as they should be; with `repair` they are put there."""
    if not documents:
        return 0
    found = await store.present(name, documents)
    wrong = {place: data for place, data in documents.items() if found.get(place) != data}
    if repair and wrong:
        await store.replace(name, wrong)
    return len(wrong)


def leaf_in(record: SealedRecord) -> IndexLeaf:
    """Read the leaf in a record. Raises: EntryError."""
    content = content_of(record.parts, INDEX_PART) or b""
    return leaves.decode(content)
