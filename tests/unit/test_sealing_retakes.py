"""The sealer while its store refuses or hangs: a log taken up again, packs already there, and readiness."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from services.runtime.errors import UnavailableError
from services.sealing import core, service
from services.sealing.core import Fetched, LogState
from services.sealing.errors import CorruptError
from services.sealing.values import Head, Pack, StoredBlock
from tests.memory_store import MemorySource, MemoryStore
from tests.records import make_value
from tests.unit.sealing_bench import LOG, Bench, no_waiting, until

__all__ = ["no_waiting"]  # the fixture


async def test_packs_of_another_writer_under_the_same_ids_stop_the_sealer() -> None:
    bench = Bench()
    bench.fill(3)
    block = core.next_block(
        LogState(LOG, 0), bench.topic.identity, [core.sealable(LOG, Fetched(7, make_value(7)))], 0, "epoch1"
    )
    await bench.store.put_packs(block.packs)
    with pytest.raises(CorruptError, match=r"pack goods/0#0\.0@epoch1"):
        await bench.run()
    assert not bench.store.blocks


class FullDisk(MemoryStore):
    """Reads, and takes no more of what `refused` names while `full`."""

    full = False

    def __init__(self, refused: str) -> None:
        super().__init__()
        self.refused = refused

    def _refuse(self, call: str) -> None:
        if self.full and call == self.refused:
            raise UnavailableError("the store's disk is full")

    async def put_packs(self, packs: Sequence[Pack]) -> None:
        self._refuse("put_packs")
        await super().put_packs(packs)

    async def put_head(self, head: Head) -> None:
        self._refuse("put_head")
        await super().put_head(head)


@pytest.mark.parametrize("refused", ["put_packs", "put_head"])
async def test_not_ready_while_a_commit_is_retried(refused: str) -> None:
    bench, store = Bench(), FullDisk(refused)
    bench.store = store
    bench.fill(2)
    stop = asyncio.Event()
    task = asyncio.create_task(bench.sealer().run(stop))
    await until(lambda: bench.done() and not bench.readiness.problems())
    store.full = True
    bench.fill(2)
    await until(lambda: bench.readiness.problems() == {"sealing": "the store's disk is full"})
    store.full = False
    await until(lambda: bench.done() and not bench.readiness.problems())
    stop.set()
    await task


async def test_not_ready_while_a_log_is_taken_up() -> None:
    bench, store = Bench(), FullDisk("put_head")
    bench.store = store
    bench.fill(2)
    await bench.run()
    store.full = True
    stop = asyncio.Event()
    sealer = bench.sealer()
    bench.readiness.set("sealing")  # as after another log was taken up
    task = asyncio.create_task(sealer.run(stop))
    await until(lambda: "goods/0 is being taken up" in bench.readiness.problems().get("sealing", ""))
    store.full = False
    await until(lambda: not bench.readiness.problems())
    stop.set()
    await task


class HangsOnce(MemoryStore):
    """Does not answer the first block, which never gets there."""

    hung = False

    async def insert_block(self, block: StoredBlock) -> None:
        if not self.hung:
            self.hung = True
            await asyncio.Event().wait()
        await super().insert_block(block)


async def test_a_log_taken_up_again_by_the_same_process_names_no_packs_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench, store = Bench(), HangsOnce()
    bench.store = store
    bench.fill(3)

    class GivenUpAndTaken(MemorySource):
        moved = False

        async def start(
            self, taken: Callable[[int], Awaitable[int]], given_up: Callable[[Sequence[int]], Awaitable[None]]
        ) -> None:
            self._taken, self._given_up = taken, given_up
            await super().start(taken, given_up)

        async def poll(self, max_records: int, timeout_s: float) -> list[tuple[int, list[Fetched]]]:
            if store.hung and not self.moved:
                self.moved = True
                await self._given_up([0])
                bench.fill(5)  # more has come meanwhile: the block is cut otherwise
                self._batch = 100
                self._next[0] = await self._taken(0)
            return await super().poll(max_records, timeout_s)

    monkeypatch.setattr(service, "FINISH_S", 0.01)
    stop = asyncio.Event()
    sealer = bench.sealer(entries=8, source=GivenUpAndTaken(bench.topic, batch=100))
    task = asyncio.create_task(sealer.run(stop))
    await until(lambda: task.done() or bench.done())
    stop.set()
    await task
    assert await bench.entries() == bench.expected()
