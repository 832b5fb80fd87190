"""The keeper of states lets the stages of its process go first, and counts how far it is behind."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace.goods.corrections import Given
from goodstrace.goods.sightings import Kept
from services.collector import state_keeper
from services.collector.flow import StageName
from services.collector.metrics import Metrics
from services.collector.renewals import Renewal
from services.collector.state_keeper import StateKeeper
from services.runtime.errors import UnavailableError
from services.runtime.merchants.flagged import FlaggedEvent
from services.runtime.settings import KafkaSettings
from tests.unit.collector_builders import collected, document, object_event, run_all, wires
from tests.unit.test_projector import Message

KEY = "https://id.gs1.org/01/10614141073464/21/2017"


class Source:
    """Gives one record, then nothing more."""

    def __init__(self, message: Message, told: list[str], stop: asyncio.Event) -> None:
        self.left = [message]
        self.told, self.stop = told, stop
        self.loop = asyncio.get_running_loop()

    def poll(self, *_: Any) -> Sequence[Message]:
        self.told.append("read")
        batch, self.left = self.left, []
        return batch

    def lag(self) -> int:
        return 41

    def assigned(self) -> frozenset[tuple[str, int]]:
        return frozenset({("goods.stored", 0)})

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        self.told.append(f"committed {offsets}")
        self.loop.call_soon_threadsafe(self.stop.set)

    def close(self) -> None:
        pass


class Flagged:
    """Remembers the events that were flagged."""

    def __init__(self) -> None:
        self.events: list[FlaggedEvent] = []

    async def prepare(self) -> None:
        pass

    async def add(self, events: Sequence[FlaggedEvent]) -> None:
        self.events += events


class Store:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[Mapping[str, Kept]] = []

    async def prepare(self) -> None:
        pass

    async def apply(self, said: Mapping[str, Kept], given: Sequence[Given]) -> int:
        assert not given
        self.said.append(said)
        return len(said)

    async def days(self, merchant: int, first_ms: int) -> list[int]:
        raise AssertionError(f"nothing was registered: {merchant}, {first_ms}")


class Renewals:
    """Has none."""

    async def find(self, logs: Collection[str] | None) -> list[Renewal]:
        assert logs == {"goods/0"}
        return []


def keeper_of(
    source: Source, store: Store, flagged: Flagged, registry: CollectorRegistry, is_busy: Callable[[], bool]
) -> StateKeeper:
    keeper = StateKeeper(
        KafkaSettings(bootstrap_servers="127.0.0.1:1"),  # type: ignore[call-arg]  # the mypy of pydantic sees aliases only
        store,  # type: ignore[arg-type]
        Renewals(),  # type: ignore[arg-type]
        flagged,  # type: ignore[arg-type]
        metrics=Metrics(registry),
        log=structlog.get_logger(),
        is_busy=is_busy,
    )
    keeper._source.close()
    keeper._source = source  # type: ignore[assignment]
    return keeper


async def test_it_reads_once_the_stages_have_no_work_and_commits_what_it_kept() -> None:
    (value,) = run_all(wires(collected(document(object_event())))).passed[StageName.STORE]
    told: list[str] = []
    stop, store, flagged, registry = asyncio.Event(), Store(), Flagged(), CollectorRegistry()
    busy = iter([True, True, False])

    def is_busy() -> bool:
        told.append("asked")
        return next(busy, False)

    keeper = keeper_of(Source(Message(value), told, stop), store, flagged, registry, is_busy)
    await asyncio.wait_for(keeper.run(stop), 20)
    assert told == ["asked", "asked", "asked", "read", "committed {('goods.stored', 0): 8}"]
    (said,) = store.said
    assert [each.place[1:3] for each in said[KEY].sightings] == [("goods/0", 7)]
    assert flagged.events == []
    assert registry.get_sample_value("goodstrace_collector_states_written_total") == 1
    behind = registry.get_sample_value("goodstrace_collector_projector_behind_records", {"loop": "states"})
    assert behind == 42


class Renewing:
    """Fails twice, then derives portions without end, until it is asked to stop."""

    def __init__(self, told: list[str], stop: asyncio.Event, portions: int) -> None:
        self.told, self.stop, self.portions = told, stop, portions

    async def portion(self, logs: Collection[str] | None) -> int:
        assert logs == {"goods/0"}
        if self.told.count("failed") < 2:
            self.told.append("failed")
            raise UnavailableError("the store is away")
        self.told.append("portion")
        self.portions -= 1
        if not self.portions:
            self.stop.set()
        return 3

    def states_left(self) -> int:
        return 12


async def test_a_portion_that_fails_comes_after_another_poll_and_none_is_begun_once_it_shall_stop() -> None:
    told: list[str] = []
    stop, registry = asyncio.Event(), CollectorRegistry()
    source = Source(Message(b""), told, stop)
    source.left = []
    keeper = keeper_of(source, Store(), Flagged(), registry, lambda: False)
    keeper._renewing = Renewing(told, stop, 4)  # type: ignore[assignment]
    await asyncio.wait_for(keeper.run(stop), 20)
    assert told == ["read", "failed", "read", "failed", "read", *["portion"] * 4]
    assert registry.get_sample_value("goodstrace_collector_states_written_total") == 12
    assert registry.get_sample_value("goodstrace_collector_states_to_renew") == 12


async def test_batches_are_read_between_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an end of portions there are batches all the same: one a portion, where a portion takes longer than its time."""
    monkeypatch.setattr(state_keeper, "_RENEWING_S", 0.0)
    told: list[str] = ["failed", "failed"]
    stop, registry = asyncio.Event(), CollectorRegistry()
    source = Source(Message(b""), told, stop)
    source.left = []
    keeper = keeper_of(source, Store(), Flagged(), registry, lambda: False)
    keeper._renewing = Renewing(told, stop, 3)  # type: ignore[assignment]
    await asyncio.wait_for(keeper.run(stop), 20)
    assert told[2:] == ["read", "portion"] * 3
