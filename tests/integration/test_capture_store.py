"""What the capture API keeps in MongoDB: the same contract for the real store and for the one in memory that unit tests use."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from services.collector.calendar import SLOT_MS, SPAN_SLOTS, Position
from services.collector.jobs import Job, Verdicts
from services.collector.keys import KeyStore, Reservation
from services.collector.mongo import JobStore
from services.runtime.mongo import Mongo
from tests.unit.capture_api import Jobs, Keys
from tests.unit.collector_builders import NOW_MS

STORES = ("memory", "mongodb")
SPAN_MS = SLOT_MS * SPAN_SLOTS


@pytest.fixture(params=STORES)
async def jobs(request: pytest.FixtureRequest, mongo: Mongo) -> Jobs | JobStore:
    if request.param == "memory":
        return Jobs()
    store = JobStore(mongo.database)
    await store.prepare()
    return store


@pytest.fixture(params=STORES)
async def keys(request: pytest.FixtureRequest, mongo: Mongo) -> Keys | KeyStore:
    return Keys() if request.param == "memory" else KeyStore(mongo.database)


async def all_pages(jobs: Jobs | JobStore, merchant: int, size: int) -> list[Job]:
    listed: list[Job] = []
    before = None
    while page := await jobs.page(merchant, before, size):
        assert len(page) <= size
        listed += page
        before = Position(page[-1].created_ms, page[-1].id)
    return listed


async def test_jobs_are_listed_newest_first_however_far_apart_they_are(jobs: Jobs | JobStore) -> None:
    times = [
        NOW_MS - ago for ago in (0, 0, 1, 5_000, 5_001, 60_000, SPAN_MS, SPAN_MS + 1, 40 * SPAN_MS, NOW_MS)
    ]
    mine = [Job(f"{number:032x}", time, number + 1, "proceed", 7) for number, time in enumerate(times)]
    other = Job("f" * 32, NOW_MS, 1, "rollback", 8)
    for job in (*mine[::-1], other, mine[0]):
        await jobs.open(job)
    expected = sorted(mine, key=lambda job: (job.created_ms, job.id), reverse=True)
    for size in (1, 3, 100):
        assert await all_pages(jobs, 7, size) == expected
    assert await all_pages(jobs, 8, 2) == [other]
    assert await all_pages(jobs, 9, 2) == []


async def test_a_page_is_read_from_as_few_jobs_whatever_the_number(jobs: Jobs | JobStore) -> None:
    written: Sequence[Job] = [
        Job(f"{number:032x}", NOW_MS - number * SLOT_MS, 1, "rollback", 7) for number in range(60)
    ]
    for job in written:
        await jobs.open(job)
    assert await jobs.page(7, None, 10) == written[:10]
    assert await jobs.page(7, Position(written[29].created_ms, written[29].id), 10) == written[30:40]


async def test_a_job_is_known_by_its_description_or_its_verdicts(jobs: Jobs | JobStore) -> None:
    described, seen = "a" * 32, "b" * 32
    await jobs.open(Job(described, NOW_MS, 1, merchant=7))
    found = Verdicts("b/t/0/1-1", seen, 1, NOW_MS, NOW_MS, (), merchant=7, partition=2)
    if isinstance(jobs, Jobs):
        jobs.found.append(found)
    else:
        await jobs.add([found, found])
    assert [await jobs.is_known(each) for each in (described, seen, "c" * 32)] == [True, True, False]
    assert await jobs.find(seen) == (None, [found])
    assert await jobs.verdicts([described, seen]) == [found]


def reservation(capture: str, **changes: object) -> Reservation:
    made = Reservation("name", "request", capture, "0/1", NOW_MS, NOW_MS + 10**9)
    return msgspec.structs.replace(made, **changes)


async def test_a_key_is_held_by_one_until_it_is_released_or_taken_over(keys: Keys | KeyStore) -> None:
    first, second, third = (reservation(name) for name in "abc")
    assert await keys.reserve(first) is None
    assert await keys.reserve(second) == first
    assert await keys.take_over(second, third) is False
    assert await keys.take_over(first, second) is True
    assert await keys.take_over(first, third) is False
    await keys.release(first)
    assert await keys.reserve(third) == second
    await keys.release(second)
    assert await keys.reserve(third) is None


async def test_of_many_at_a_time_one_gets_the_key(keys: Keys | KeyStore) -> None:
    wanted = [reservation(f"{number}") for number in range(20)]
    held = await asyncio.gather(*map(keys.reserve, wanted))
    (winner,) = (each for each, holder in zip(wanted, held, strict=True) if holder is None)
    assert {holder for holder in held if holder is not None} == {winner}
    others = [reservation(f"x{number}") for number in range(20)]
    assert sum(await asyncio.gather(*(keys.take_over(winner, each) for each in others))) == 1
