"""What `collect` asks the registry for: within bounds whatever is captured, remembered for seconds, and held up by no store that is slow or away."""

import asyncio
from collections.abc import Sequence

import pytest

from services.collector import arrivals
from services.collector.arrivals import Arrival
from services.collector.flow import Item, from_wire
from services.collector.ranging import with_ranges
from services.collector.registry import known_ranges
from services.collector.registry.known_ranges import KnownRanges
from services.collector.registry.ranges import MOST_TOGETHER, Kept
from services.runtime.errors import UnavailableError
from services.runtime.merchants.directory import MAX_REMEMBERED, Staleness
from services.runtime.mongo import NAMES_A_CALL
from tests.unit.capture_api import Registered, running
from tests.unit.collector_builders import document
from tests.unit.test_registered_ranges import COLD, LOT, OTHER, PRODUCT, measured


class Source:
    """Counts what it is asked for, and the tasks that wait for it; can be away, and not answer beyond `answers` calls until it `goes` on."""

    def __init__(self, answers: int = 10**6) -> None:
        self.calls: list[list[str]] = []
        self.away = False
        self.answers, self.goes = answers, asyncio.Event()
        self.tasks = 0

    async def kept(self, keys: Sequence[str]) -> dict[str, Kept]:
        self.calls.append(sorted(keys))
        self.tasks = max(self.tasks, len(asyncio.all_tasks()))
        await (self.goes.wait() if len(self.calls) > self.answers else asyncio.sleep(0))
        if self.away:
            raise UnavailableError("away")
        return {key: each for key, each in COLD.items() if key in keys}


async def test_many_keys_are_one_question_and_are_remembered_for_seconds() -> None:
    source, now, failed = Source(), [0.0], list[int]()
    known = KnownRanges(source, Staleness(2, 300), lambda: now[0], lambda: failed.append(1))
    found = await asyncio.gather(known.of([PRODUCT, LOT]), known.of([OTHER, PRODUCT]))
    assert found == [{**COLD, LOT: None}, {OTHER: None, **COLD}]
    assert source.calls == [sorted([PRODUCT, LOT, OTHER])]
    now[0] = 1.9
    assert await known.of([PRODUCT]) == COLD
    assert len(source.calls) == 1
    now[0] = 2.1
    await known.of([PRODUCT])
    assert source.calls[1:] == [[PRODUCT]]


async def test_what_is_known_counts_on_while_the_store_is_away_and_the_rest_is_left_out_without_waiting() -> (
    None
):
    source, now, failed = Source(), [0.0], list[int]()
    known = KnownRanges(source, Staleness(2, 300), lambda: now[0], lambda: failed.append(1))
    await known.of([PRODUCT])
    source.away, now[0] = True, 3.0
    assert await known.of([PRODUCT, LOT]) == COLD
    assert (len(source.calls), len(failed)) == (2, 1)
    assert await known.of([LOT, OTHER]) == {}
    assert len(source.calls) == 2, "not asked again within a second"
    now[0] = 4.1
    assert await known.of([LOT]) == {}
    assert len(source.calls) == 3
    now[0] = 303.0
    assert await known.of([PRODUCT]) == {}
    source.away, now[0] = False, 305.0
    assert await known.of([PRODUCT]) == COLD


def known_by(source: Source, failed: list[int], now_s: float = 0.0) -> KnownRanges:
    return KnownRanges(source, Staleness(2, 300), lambda: now_s, lambda: failed.append(1))


def lots(count: int) -> list[str]:
    return [f"{PRODUCT}/10/{number}" for number in range(count)]


async def test_a_capture_of_very_many_keys_costs_calls_and_tasks_within_a_bound() -> None:
    source, failed = Source(), list[int]()
    known = known_by(source, failed)
    async with running(ranges=known) as here:
        events = [
            measured(
                9, eventID=f"urn:e:{event}", epcList=[f"{PRODUCT}/10/{event}-{lot}" for lot in range(47)]
            )
            for event in range(100)
        ]
        answer = await here.post(document(*events))
        assert answer.status_code == 202, answer.text
        items = [from_wire(value) for value in here.kafka.values("goods.collected")]
    assert sum(map(len, source.calls)) == len({key for call in source.calls for key in call}) == MOST_TOGETHER
    assert max(map(len, source.calls)) <= NAMES_A_CALL
    assert len(source.calls) <= MOST_TOGETHER // NAMES_A_CALL + 1
    assert source.tasks < 20, "not some for each key"
    ranges = [item.facts.registered_range for item in items if isinstance(item, Item)]
    assert len(ranges) == 100
    for each in ranges:
        assert each is not None
        assert each.high is not None, "the product is asked for before any lot"
        assert (each.high.key, each.unread) == (PRODUCT, True)
    assert failed == []


async def test_the_messages_of_a_batch_are_asked_for_together_within_the_same_bound() -> None:
    ranges = Registered(COLD)
    async with running() as here:
        caller = await here.intake.gate.on_behalf_of(1)
        made = []
        for message in range(60):
            event = measured(9, eventID=f"urn:e:{message}", epcList=[f"{PRODUCT}/10/{message}-{lot}" for lot in range(47)])  # fmt: skip
            arrival = Arrival("goods.ingress", 0, message, caller, document(event))
            made.append(arrivals.take(here.intake._preparer, arrival))
    ranged = await with_ranges(ranges, made)
    assert [len(keys) for keys in ranges.asked] == [MOST_TOGETHER]
    items = [each.sent[0].outcome for each in ranged]
    found = [item.facts.registered_range for item in items if isinstance(item, Item)]
    assert [each is not None and each.high is not None and each.unread for each in found] == [True] * 60


async def test_a_small_look_up_waits_for_no_large_one_and_what_was_answered_in_time_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known_ranges, "LOOK_UP_S", 0.5)
    source, failed = Source(answers=2), list[int]()
    known = known_by(source, failed)
    large = asyncio.create_task(known.of([PRODUCT, *lots(500)]))
    small = asyncio.create_task(known.of([OTHER]))
    assert await small == {OTHER: None}
    assert not large.done()
    found = await large
    assert found == {**COLD, **dict.fromkeys(lots(NAMES_A_CALL - 1))}
    assert failed == [1]
    assert len(source.calls) == 3, "nothing is asked for once the time is up"
    source.answers = 4
    assert await known.of(["urn:x:1"]) == {"urn:x:1": None}, "the others' keys are asked for at once"
    source.goes.set()
    assert len(await known.of(lots(2 * NAMES_A_CALL))) == 2 * NAMES_A_CALL
    assert failed == [1]


async def test_a_slow_store_is_asked_until_the_time_of_the_whole_look_up_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(Source):
        async def kept(self, keys: Sequence[str]) -> dict[str, Kept]:
            await asyncio.sleep(0.05)
            return await super().kept(keys)

    monkeypatch.setattr(known_ranges, "LOOK_UP_S", 0.2)
    source, failed = Slow(), list[int]()
    found = await known_by(source, failed).of(lots(MOST_TOGETHER))
    assert len(source.calls) <= 0.2 / 0.05 + 1, "each call is in time, all of them are not"
    assert len(found) <= NAMES_A_CALL * len(source.calls)
    assert failed == [1]


async def test_a_store_that_does_not_answer_at_all_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known_ranges, "LOOK_UP_S", 0.05)
    source, failed = Source(answers=0), list[int]()
    known = known_by(source, failed)
    assert await asyncio.gather(known.of([PRODUCT]), known.of(lots(100))) == [{}, {}]
    assert await known.of([OTHER]) == {}
    assert (len(source.calls), failed) == (2, [1])
    source.goes.set()


async def test_who_gives_up_takes_no_answer_from_who_waits_for_the_same() -> None:
    source, failed = Source(), list[int]()
    known = known_by(source, failed)
    one, other = (asyncio.create_task(known.of([PRODUCT])) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    assert await other == COLD
    assert len(source.calls) == 1


async def test_what_a_source_does_wrong_is_told_and_not_taken_for_a_store_that_is_away() -> None:
    class Wrong(Source):
        async def kept(self, keys: Sequence[str]) -> dict[str, Kept]:
            await super().kept(keys)
            raise ValueError("wrong")

    known = known_by(Wrong(), [])
    with pytest.raises(ValueError, match="wrong"):
        await known.of([PRODUCT])


async def test_what_is_remembered_of_ranges_is_bounded() -> None:
    known = known_by(Source(), [])
    for start in range(0, MAX_REMEMBERED + 4_000, MOST_TOGETHER):
        await known.of([f"urn:x:{number}" for number in range(start, start + MOST_TOGETHER)])
    assert len(known._answers) == MAX_REMEMBERED
    assert not known._under_way
