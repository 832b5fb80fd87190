"""An Idempotency-Key: one capture for one key, whatever dies in between and whichever process is asked."""

import asyncio

import httpx
import pytest

from services.collector.idempotency import LEASE_MS
from services.runtime.errors import UnavailableError
from tests.unit.capture_api import LOG, Jobs, Keys, Running, running
from tests.unit.collector_builders import document, object_event

BODY = document(object_event())
OTHER = document(object_event(eventID="urn:e:other"))
KEY = {"idempotency_key": '"order-4711"'}


def collected(*processes: Running) -> int:
    return sum(len(here.kafka.values("goods.collected")) for here in processes)


async def test_sent_again_it_is_the_same_capture_also_by_another_process_and_after_a_restart() -> None:
    keys, jobs = Keys(), Jobs()
    async with running(keys=keys, jobs=jobs) as here:
        first = await here.post(BODY, **KEY)
        again = await here.post(BODY, **KEY)
        bare = await here.post(BODY, idempotency_key="order-4711")
        without = await here.post(BODY)
    async with running(keys=keys, jobs=jobs, instance="other", start=100_000) as other:
        elsewhere = await other.post(BODY, **KEY)
    assert {answer.status_code for answer in (first, again, bare, without, elsewhere)} == {202}
    assert {answer.headers["location"] for answer in (first, again, bare, elsewhere)} == {
        first.headers["location"]
    }
    assert without.headers["location"] != first.headers["location"]
    assert collected(here, other) == 2
    assert here.metrics.replayed_keys._value.get() == 2


@pytest.mark.parametrize(
    ("body", "changes"),
    [(OTHER, {}), (BODY, {"gs1_capture_error_behaviour": "proceed"}), (BODY + b" ", {})],
)
async def test_with_another_request_the_key_is_refused(body: bytes, changes: dict[str, str]) -> None:
    async with running() as here:
        await here.post(BODY, **KEY)
        answer = await here.post(body, **KEY, **changes)
        assert (answer.status_code, answer.json()["header"]) == (422, "Idempotency-Key")
        assert collected(here) == 1
        here.now_ms += 3_600_000
        assert (await here.post(body, **KEY, **changes)).status_code == 202


async def test_while_the_first_is_under_way_the_second_is_told_to_wait() -> None:
    keys, jobs = Keys(), Jobs()
    here, other = (
        Running(keys=keys, jobs=jobs),
        Running(keys=keys, jobs=jobs, instance="other", start=100_000),
    )
    first = asyncio.create_task(here.post(BODY, **KEY))
    await keys.reserved.wait()
    for process in (here, other):
        answer = await process.post(BODY, **KEY)
        assert (answer.status_code, answer.headers["retry-after"]) == (409, "2")
    assert (await other.post(OTHER, **KEY)).status_code == 422
    committing = asyncio.create_task(here.commits.run(LOG))
    location = (await first).headers["location"]
    assert (await other.post(BODY, **KEY)).headers["location"] == location
    assert collected(here, other) == 1
    here.commits.close()
    await committing


async def test_what_was_refused_or_failed_frees_its_key() -> None:
    async with running() as here:
        assert (await here.post(b"{", **KEY)).status_code == 400
        here.kafka.failures = [UnavailableError("away")]
        assert (await here.post(BODY, **KEY)).status_code == 503
        assert (await here.post(BODY, **KEY)).status_code == 202
    assert collected(here) == 1


async def test_without_the_store_nothing_is_captured_under_a_key_and_all_without() -> None:
    async with running() as here:
        here.keys.away = here.jobs.away = True
        answer = await here.post(BODY, **KEY)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert collected(here) == 0
        assert (await here.post(BODY)).status_code == 202


async def dead_in_between(keys: Keys, jobs: Jobs, *, committed: bool) -> Running:
    """A process that died after it had reserved a key: before or after its events were in Kafka, its job never written."""
    here = Running(keys=keys, jobs=jobs)
    jobs.away = True
    if committed:
        committing = asyncio.create_task(here.commits.run(LOG))
        assert (await here.post(BODY, **KEY)).status_code == 202
        here.commits.close()
        await committing
    else:
        posting = asyncio.create_task(here.post(BODY, **KEY))
        await keys.reserved.wait()
        posting.cancel()
        await asyncio.wait([posting])
    jobs.away = False
    return here


async def ask(here: Running) -> httpx.Response:
    return await here.post(BODY, **KEY)


@pytest.mark.parametrize("committed", [False, True])
async def test_the_key_of_a_dead_process_is_free_when_its_time_is_over_or_it_is_back(
    *, committed: bool
) -> None:
    for instance, waits in (("other", True), ("0", False)):
        keys, jobs = Keys(), Jobs()
        dead = await dead_in_between(keys, jobs, committed=committed)
        async with running(keys=keys, jobs=jobs, instance=instance, start=100_000) as here:
            if waits:
                assert (await ask(here)).status_code == 409
                here.now_ms += LEASE_MS
            answer = await ask(here)
            assert answer.status_code == 202
            assert (await ask(here)).headers["location"] == answer.headers["location"]
            # Sent to Kafka twice at the most, and then as two captures: the second one's event is a duplicate.
            assert collected(dead, here) == 1 + committed


async def test_a_job_or_a_verdict_says_that_the_capture_was_made() -> None:
    keys, jobs = Keys(), Jobs()
    dead = await dead_in_between(keys, jobs, committed=True)
    (made,) = (held.capture for held in keys.held.values())
    jobs.jobs[made] = next(iter(dead.intake._recent.values()))
    async with running(keys=keys, jobs=jobs, instance="other", start=100_000) as here:
        assert (await ask(here)).headers["location"].endswith(made)
        assert collected(here) == 0


async def test_a_key_that_could_not_be_given_back_is_taken_over_by_the_same_process() -> None:
    async with running() as here:
        here.kafka.failures = [UnavailableError("away")]
        release = here.keys.release

        async def away(_held: object) -> None:
            raise UnavailableError("away")

        here.keys.release = away  # type: ignore[method-assign]
        assert (await ask(here)).status_code == 503
        here.keys.release = release  # type: ignore[method-assign]
        assert here.keys.held
        assert (await ask(here)).status_code == 202


async def test_many_at_a_time_are_captured_once() -> None:
    keys, jobs = Keys(), Jobs()
    async with (
        running(keys=keys, jobs=jobs) as here,
        running(keys=keys, jobs=jobs, instance="x", start=100_000) as other,
    ):
        answers = await asyncio.gather(*(ask(process) for process in (here, other) for _ in range(10)))
        assert {answer.status_code for answer in answers} <= {202, 409}
        assert len({answer.headers["location"] for answer in answers if answer.status_code == 202}) == 1
        assert collected(here, other) == 1
