"""The projector after it was thrown out of its group, as happens to who does not poll for minutes while the store is away."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from services.collector.flow import StageName
from services.collector.metrics import Metrics
from services.collector.projector import Projector
from services.runtime.errors import UnavailableError
from services.runtime.settings import KafkaSettings
from tests.unit.collector_builders import collected, document, object_event, run_all, wires


class Message:
    """One record of `goods.stored`."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def topic(self) -> str:
        return "goods.stored"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return 1, 5

    def value(self) -> bytes:
        return self._value


class Source:
    """Refuses commits of who is no member; a poll joins again."""

    def __init__(self, message: Message, stop: asyncio.Event) -> None:
        self.message, self.stop = message, stop
        self.loop = asyncio.get_running_loop()
        self.member, self.rewound, self.polled = False, 0, 0
        self.commits: list[Mapping[tuple[str, int], int]] = []

    def poll(self, *_: Any) -> list[Message]:
        self.polled += 1
        self.member = self.polled > 1
        return [self.message]

    def lag(self) -> int:
        return 0

    def rewind(self) -> None:
        self.rewound += 1

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        if not self.member:
            raise UnavailableError("unknown member")
        self.commits.append(offsets)
        self.loop.call_soon_threadsafe(self.stop.set)

    def close(self) -> None:
        pass


class Store:
    """Takes everything."""

    async def prepare(self) -> None:
        pass

    async def add(self, _verdicts: Any) -> None:
        pass

    async def apply(self, *_: Any) -> None:
        pass


async def test_a_batch_that_cannot_be_committed_is_read_again() -> None:
    (value,) = run_all(wires(collected(document(object_event())))).passed[StageName.STORE]
    stop, store = asyncio.Event(), Store()
    projector = Projector(
        KafkaSettings(bootstrap_servers="127.0.0.1:1"),  # type: ignore[call-arg]  # the mypy of pydantic sees aliases only
        jobs=store,  # type: ignore[arg-type]
        goods=store,  # type: ignore[arg-type]
        rejections=store,  # type: ignore[arg-type]
        registry=store,  # type: ignore[arg-type]
        metrics=Metrics(CollectorRegistry()),
        log=structlog.get_logger(),
    )
    projector._source.close()
    source = Source(Message(value), stop)
    projector._source = source  # type: ignore[assignment]
    await asyncio.wait_for(projector.run(stop), 20)
    assert source.commits[0] == {("goods.stored", 0): 8}
    assert source.rewound == 1
