"""The log `index` over a real store and Kafka: each leaf has exactly the rows that were sealed, whatever is killed or lost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import pairwise
from typing import Any, cast

import pytest

from goodstrace.completeness import leaf as leaves
from goodstrace.completeness.leaf import IndexLeaf, Run
from goodstrace.completeness.rows import Row, run_root
from goodstrace.log_keys import INDEX_LOG
from services.ledger.root_rounds import RoundTopic
from services.ledger.root_topic import KafkaRoundTopic
from services.runtime import envelope, kafka, topics
from services.sealing.completeness import layout
from services.sealing.completeness.proving import prove
from services.sealing.completeness.source import IndexSource
from services.sealing.completeness.store import MongoRuns
from services.sealing.errors import RunGoneError
from services.sealing.fsck.faults import Verdict
from services.sealing.fsck.index_log_check import check_index
from services.sealing.indexes import INDEX_PAGES, INDEX_RUNS
from tests.crash_points import KILLS, Faulted, Faults, Point
from tests.handmade import event
from tests.integration.indexing import covered, index_rounds, indexed, leaves_of, rooted, sealer
from tests.integration.looking import Looking, eventually
from tests.memory_store import Failure, Killed
from tests.unit.completeness_builders import pieces, verified

SOURCE_CALLS = ("root_size", "root_hash", "pins", "reaches")  # rows are given one after the other
ITEM = "https://id.gs1.org/01/09521234543213/21/{}"


async def seal(looking: Looking, first: int, count: int) -> None:
    """Events of items of their own, on both logs."""
    records = [
        event(number, ITEM.format(number % 40), secret=looking.secret)
        for number in range(first, first + count)
    ]
    await looking.seal({0: records[::2], 1: records[1::2]})


async def sealed_rows(looking: Looking, leaf: IndexLeaf, sizes: dict[str, int]) -> set[bytes]:
    """The rows of all entries up to sizes, from the records themselves."""
    numbers = leaf.numbers()
    return {
        Row(tag, numbers[log], record.index).encode()
        for log, size in sizes.items()
        for record in await looking.reader.records(log, range(size))
        for tag in record.tags
    }


async def assert_right(looking: Looking, leaf: IndexLeaf) -> None:
    """Every live run is the one that its definition gives, and the store has it."""
    source = IndexSource(looking.mongo.database, looking.reader)
    store = MongoRuns(looking.mongo.database)
    assert leaves.problem_of(leaf) == ""
    vectors = await source.vectors([0, *(run.to for run in leaf.runs)])
    assert vectors[leaf.root.size] == leaf.sizes()
    assert (await source.root_hash(leaf.root.size)).hex() == leaf.root.hash
    for run in leaf.runs:
        before, after = vectors[run.since], vectors[run.to]
        rows = sorted(await sealed_rows(looking, leaf, after) - await sealed_rows(looking, leaf, before))
        assert (run.rows, bytes.fromhex(run.root)) == run_root(rows)
        found = await store.documents(layout.run_id(run.since, run.to), layout.places(run.rows))
        chunks = range(layout.counts(run.rows)[0] if run.rows else 0)
        assert b"".join(found[layout.Place(0, n)] for n in chunks) == b"".join(rows)


async def test_each_leaf_covers_what_the_root_log_pins(looking: Looking) -> None:
    async with indexed(looking):
        for number in range(6):
            await seal(looking, number * 50, 50)
            await covered(looking)
    found = await leaves_of(looking)
    before: IndexLeaf | None = None
    for leaf in found:
        if before is not None:
            assert leaves.succession_problem(before, leaf) == ""
        before = leaf
    assert found[-1].sizes() == {"goods/0": 150, "goods/1": 150}
    assert len(found[-1].runs) <= 6
    await assert_right(looking, found[-1])
    await assert_right(looking, found[len(found) // 2])
    assert len({leaf.root.size for leaf in found}) == len(found)

    leaf, store = found[-1], MongoRuns(looking.mongo.database)
    for number in (0, 39, 41):
        [tag, *_] = [event(number, ITEM.format(number), secret=looking.secret).tags[0]]
        proof = await pieces(cast(Any, store), leaf, tag)
        rows = verified(leaf, tag, proof)
        at = rows.positions()
        expected = [
            (log, record.index)
            for log in ("goods/0", "goods/1")
            for record in await looking.reader.records(log, range(150))
            if tag in record.tags
        ]
        assert at == expected


async def test_an_idle_platform_makes_no_leaves(looking: Looking) -> None:
    async with indexed(looking):
        await seal(looking, 0, 10)
        await covered(looking)
        count = len(await leaves_of(looking))
        size = await IndexSource(looking.mongo.database, looking.reader).root_size()
        pinned = await eventually(lambda: _rests(looking, size), "the root log rests")
        assert pinned
        assert len(await leaves_of(looking)) == count


async def _rests(looking: Looking, before: int) -> int:
    """The root log's size, once it did not grow for a while after the index was pinned in it."""
    source = IndexSource(looking.mongo.database, looking.reader)
    size = await source.root_size()
    await asyncio.sleep(0.5)
    return size if size == await source.root_size() and size > before else 0


async def test_runs_that_are_lost_are_made_again_and_those_merged_are_removed(looking: Looking) -> None:
    async with indexed(looking, index_rounds(looking, keep_s=0.5)):
        for number in range(9):
            await seal(looking, number * 20, 20)
            await covered(looking)

        async def removed() -> bool:
            return not any(each.retired_ms for each in await MongoRuns(looking.mongo.database).runs())

        await eventually(removed, "only live runs are there, and one that was merged since")
    live = {layout.run_id(run.since, run.to) for run in (await leaves_of(looking))[-1].runs}
    there = await MongoRuns(looking.mongo.database).runs()
    assert live <= {each.id for each in there}
    assert len(live) < 9
    assert len(there) <= len(live) + 1
    documents = sum(sum(layout.counts(run.rows)) for run in there)
    assert await looking.mongo.database[INDEX_PAGES].count_documents({}) == documents
    gone = Run("00" * 32, 5, 0, 10**6)
    with pytest.raises(RunGoneError):
        await prove(MongoRuns(looking.mongo.database), gone, b"t" * 16, page=None, most_pages=9)

    await looking.mongo.database[INDEX_RUNS].delete_many({})
    await looking.mongo.database[INDEX_PAGES].delete_many({})
    async with indexed(looking):
        await seal(looking, 500, 20)
        await assert_right(looking, await covered(looking))


READS = ("source.pins", "source.root_hash", "source.root_size", "store.runs", "topic.newest")


async def test_rounds_fail_and_are_killed_at_every_call(
    looking: Looking, tell: Callable[[str], None]
) -> None:
    database = looking.mongo.database
    name = looking.names.topic(topics.LOGS_INDEX)
    sealers = (
        sealer(looking, topics.LOGS_INDEX, INDEX_LOG),
        sealer(looking, topics.GOODS_STORED, "goods"),
    )

    async def live(faults: Faults) -> bool:
        rounds = index_rounds(
            looking,
            cast(IndexSource, Faulted(IndexSource(database, looking.reader), faults, "source", SOURCE_CALLS)),
            cast(MongoRuns, Faulted(MongoRuns(database), faults, "store")),
            cast(
                RoundTopic,
                Faulted(
                    KafkaRoundTopic(looking.stack.kafka_bootstrap_servers, name, f"{name}.rounds"),
                    faults,
                    "topic",
                    ("take_over", "newest", "write"),
                ),
            ),
        )
        stop = asyncio.Event()
        task = asyncio.create_task(rounds.run(stop))
        try:
            async with asyncio.timeout(60):
                while not task.done() and not await _reached(looking, number):  # noqa: ASYNC110 - a store tells nobody
                    await asyncio.sleep(0.02)
                stop.set()
                await task
        except Killed:
            pass
        return faults.dead

    async with rooted(looking, *sealers):
        number = 1
        await _put(looking, number)
        whole = Faults()
        await live(whole)
        points = [Point(call, 0) for call in sorted(whole.counts)]
        cases = [
            (point, failure)
            for point in points
            for failure in Failure
            if point.call not in READS or failure is Failure.KILLED_BEFORE
        ]
        for point, failure in cases:
            number += 1
            await _put(looking, number)
            faults = Faults(point, failure)
            assert await live(faults) == (failure in KILLS), (point, failure)
            assert faults.reached
        await live(Faults())
        leaf = await covered(looking)
    tell(f"failed both ways and killed, rounds of the index: {len(points)} calls, {len(cases)} cases")
    await assert_right(looking, leaf)
    found = await leaves_of(looking)
    assert not any(leaves.succession_problem(a, b) for a, b in pairwise(found))


async def _put(looking: Looking, number: int) -> None:
    """Put an event onto the topic that is being sealed."""
    producer = kafka.producer(looking.stack.kafka_bootstrap_servers)
    record = event(number, ITEM.format(number), secret=looking.secret)
    producer.produce(looking.names.topic(topics.GOODS_STORED), envelope.encode(record), partition=number % 2)
    assert await asyncio.to_thread(producer.flush, 30) == 0


async def _reached(looking: Looking, events: int) -> bool:
    found = await leaves_of(looking)
    return bool(found) and sum(found[-1].sizes().values()) == events


async def checked(looking: Looking, *, repair: bool = False) -> dict[str, int]:
    """What fsck finds of the log `index`."""
    verdict = Verdict(log=INDEX_LOG)
    await check_index(looking.mongo.database, [Verdict(log="goods/0"), verdict], repair=repair)
    return verdict.counts


class LeavingOut(IndexSource):
    """A wrong builder: it leaves one row out."""

    left_out = False

    async def rows(
        self, since: Mapping[str, int], to: Mapping[str, int], numbers: Mapping[str, int]
    ) -> AsyncIterator[list[bytes]]:
        async for rows in super().rows(since, to, numbers):
            yield rows if self.left_out else rows[1:]
            self.left_out = True


async def test_fsck_finds_a_wrong_index_and_makes_runs_again(looking: Looking) -> None:
    pages, runs = looking.mongo.database[INDEX_PAGES], looking.mongo.database[INDEX_RUNS]
    assert await checked(looking) == {}, "there is none"
    async with indexed(looking):
        for number in range(5):
            await seal(looking, number * 20, 20)
            await covered(looking)
    assert await checked(looking) == {}
    for tamper in (
        lambda: pages.delete_many({}),
        lambda: runs.delete_many({}),
        lambda: pages.update_many({}, {"$set": {"data": b"r" * 48}}),
    ):
        await tamper()
        assert set(await checked(looking)) == {"index-run"}
        await checked(looking, repair=True)
        assert await checked(looking) == {}
    await assert_right(looking, (await leaves_of(looking))[-1])


async def test_fsck_finds_an_index_that_leaves_something_out(looking: Looking) -> None:
    source = LeavingOut(looking.mongo.database, looking.reader)
    async with indexed(looking, index_rounds(looking, source)):
        await seal(looking, 0, 20)
        await covered(looking)
    assert set(await checked(looking)) == {"index-log"}
    await checked(looking, repair=True)
    assert set(await checked(looking)) >= {"index-log"}, "what is sealed is not mended"
