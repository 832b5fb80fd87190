"""A log that goes over to its next key: with a block, whole or not at all, whoever dies or wakes up in between."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from goodstrace import key_changes
from goodstrace.checkpoint import open_checkpoint
from goodstrace.errors import NoteError
from goodstrace.key_changes import KeyChange
from goodstrace.note import Signer, Verifier
from services.runtime.errors import UnavailableError
from services.sealing.documents import Document, log_document
from services.sealing.errors import CorruptError, LogKeyError, LostRaceError
from services.sealing.fsck.feeding import Check, check_log
from services.sealing.fsck.root_check import _differing, _Pinned
from services.sealing.values import LogInfo, StoredBlock
from tests.memory_documents import MemoryDocuments
from tests.memory_store import Failure, Killed, MemoryKeys, MemorySource, MemoryStore
from tests.unit.sealing_bench import LOG, Bench, until


def info(bench: Bench) -> LogInfo:
    return bench.store.infos[LOG]


async def assert_sound(bench: Bench, changes: int) -> None:
    """Every block and checkpoint is of the key in force, the chain of changes holds, every entry is there once."""
    assert await bench.entries() == bench.expected()
    found = info(bench)
    assert len(found.changes) == changes
    key_changes.verify_chain(found.changes)
    for block in bench.store.blocks.values():
        for change in found.changes:
            if change.height == block.height:
                assert change.size == block.first
    for (_, size), stored in bench.store.checkpoints.items():
        verifier = found.verifier_of(size)
        assert open_checkpoint(stored.note, [verifier]).size == size
        for change in found.changes:
            for other in (change.old, change.new):
                if other != verifier.vkey():
                    with pytest.raises(NoteError):
                        open_checkpoint(stored.note, [Verifier.parse(other)])
    assert bench.keys.held[LOG] == [changes], "the old keys are gone"


async def test_a_prepared_key_signs_from_the_next_block_on() -> None:
    bench = Bench()
    for number in range(4):
        bench.fill(6)
        await bench.run()
        await assert_sound(bench, number)
        bench.keys.prepare(LOG)
    await bench.run()
    assert len(info(bench).changes) == 3, "without a block nothing changes"
    assert [change.height for change in info(bench).changes] == [2, 4, 6]


async def test_a_key_prepared_while_the_log_is_sealed_is_noticed_with_the_next_block() -> None:
    bench = Bench()
    bench.fill(4)
    stop = asyncio.Event()
    sealing = asyncio.create_task(bench.sealer().run(stop))
    await until(bench.done)
    before = info(bench).vkey
    bench.keys.prepare(LOG)
    bench.fill(4)
    await until(bench.done)
    stop.set()
    await sealing
    await assert_sound(bench, 1)
    assert info(bench).changes[0].old == before


async def test_a_log_that_has_no_block_yet_changes_its_key_too() -> None:
    bench = Bench()
    await bench.run()
    bench.keys.prepare(LOG)
    bench.fill(5)
    await bench.run()
    await assert_sound(bench, 1)
    assert (info(bench).changes[0].height, info(bench).changes[0].size) == (0, 0)


def _ready() -> Bench:
    bench = Bench()
    bench.fill(6)
    asyncio.run(bench.run())
    bench.keys.prepare(LOG)
    bench.fill(6)
    return bench


def _calls() -> int:
    bench = _ready()
    before = bench.store.calls
    asyncio.run(bench.run())
    return bench.store.calls - before


@pytest.mark.parametrize("failure", list(Failure))
def test_whatever_fails_or_dies_on_the_way_the_key_changes_once(failure: Failure) -> None:
    for point in range(_calls()):
        bench = _ready()
        bench.store.failures = {bench.store.calls + point: failure}
        bench.crash()
        bench.store.failures = {}
        bench.fill(1)
        asyncio.run(bench.run())
        asyncio.run(assert_sound(bench, 1))


class DyingKeys(MemoryKeys):
    """Dies between the change in the store and that of the files, as often as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.deaths = 0

    def settle(self, info: LogInfo) -> None:
        if info.changes and self.deaths:
            self.deaths -= 1
            raise Killed
        super().settle(info)


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_process_that_dies_before_the_files_are_changed_has_them_changed_by_the_next(deaths: int) -> None:
    bench = Bench()
    bench.keys = DyingKeys()
    bench.fill(6)
    asyncio.run(bench.run())
    bench.keys.prepare(LOG)
    bench.keys.deaths = deaths
    bench.fill(6)
    for _ in range(deaths):
        with pytest.raises(Killed):
            asyncio.run(bench.run())
        assert bench.keys.held[LOG] == [0, 1]
    asyncio.run(bench.run())
    asyncio.run(assert_sound(bench, 1))


class PausingStore(MemoryStore):
    """Lets a writer sleep just before its next block is inserted."""

    def __init__(self, of: MemoryStore) -> None:
        super().__init__()
        self.__dict__.update(of.__dict__)
        self.wake = asyncio.Event()
        self.asleep = False

    async def insert_block(self, block: StoredBlock) -> None:
        self.asleep = True
        await self.wake.wait()
        await super().insert_block(block)


async def _paused(bench: Bench) -> tuple["asyncio.Task[None]", PausingStore]:
    """Start a process that has signed a block with the old key and falls asleep before it inserts it."""
    store = bench.store
    paused = PausingStore(store)
    bench.store = paused
    task = asyncio.create_task(bench.sealer().run(asyncio.Event()))
    await until(lambda: paused.asleep)
    bench.store = store
    return task, paused


async def test_a_writer_that_wakes_up_with_the_old_key_after_the_change_is_refused() -> None:
    bench = Bench()
    bench.fill(6)
    await bench.run()
    bench.fill(6)
    task, paused = await _paused(bench)
    bench.keys.prepare(LOG)
    await bench.run()
    paused.wake.set()
    with pytest.raises(LostRaceError):
        await task
    await assert_sound(bench, 1)


class RacingStore(MemoryStore):
    """Somebody else's block gets in just before the first change of key would be made with it."""

    wake: asyncio.Event
    lost: KeyChange | None = None

    async def insert_block(self, block: StoredBlock) -> None:
        pending = self.infos[LOG].pending
        if pending is not None and self.lost is None:
            self.lost = pending
            self.wake.set()
            await until(lambda: block.id in self.blocks)
        await super().insert_block(block)


async def test_a_writer_that_wakes_up_before_the_change_wins_and_the_change_comes_a_block_later() -> None:
    bench = Bench()
    bench.fill(6)
    await bench.run()
    bench.fill(6)
    task, paused = await _paused(bench)
    bench.keys.prepare(LOG)
    store, racing = bench.store, RacingStore()
    racing.__dict__.update(store.__dict__)
    racing.wake = paused.wake
    bench.store = racing
    with pytest.raises(LostRaceError):
        await bench.run()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert racing.lost is not None
    bench.store = store
    bench.fill(1)
    await bench.run()
    await assert_sound(bench, 1)
    assert info(bench).changes[0].height > racing.lost.height


async def test_a_log_cut_off_before_the_change_of_its_key_is_not_gone_on_with() -> None:
    bench = _ready_in_loop()
    await bench.run()
    bench.keys.prepare(LOG)
    bench.fill(4)
    await bench.run()
    last = max(bench.store.blocks.values(), key=lambda block: block.height)
    del bench.store.blocks[last.id]
    before = max(bench.store.blocks.values(), key=lambda block: block.height)
    checkpoint = bench.store.checkpoints[LOG, before.size]
    head = bench.store.heads[LOG]
    bench.store.heads[LOG] = type(head)(before.height, checkpoint, checkpoint)
    bench.fill(1)
    with pytest.raises(CorruptError, match="its key changed at height 2, beyond its last block"):
        await bench.run()


def _ready_in_loop() -> Bench:
    bench = Bench()
    bench.fill(6)
    return bench


class Growing(MemoryDocuments):
    """The documents of a log that somebody else goes on with: from the n-th call on they are as they are after that."""

    def __init__(self, before: MemoryDocuments, after: MemoryDocuments, calls: int) -> None:
        super().__init__(before.collections)
        self._after, self.calls = after, calls

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in ("calls", "collections"):
            self.calls -= 1
            if self.calls == 0:
                self.collections = self._after.collections
        return super().__getattribute__(name)


@pytest.mark.parametrize("published", [True, False])
def test_a_key_that_changes_while_the_log_is_checked_is_no_fault(published: bool) -> None:
    bench = _ready()
    before, known = MemoryDocuments.of(bench.store), info(bench)
    if not published:
        bench.store.failures = {bench.store.calls + _insert_call(): Failure.KILLED_AFTER}
    assert bench.crash() is not published
    after = MemoryDocuments.of(bench.store)
    assert len(bench.store.blocks) == 3 + published
    for calls in range(1, 200):
        documents = Growing(before, after, calls)
        verdict = asyncio.run(check_log(documents, Check(info=known)))
        assert verdict.faults == [], calls
        if documents.calls > 0:
            assert calls > 10
            return
    raise AssertionError("the check asks more than 200 times")


def _insert_call() -> int:
    """The number of calls until the block of a change of key is there and nothing else of it."""
    for point in range(_calls()):
        bench = _ready()
        bench.store.failures = {bench.store.calls + point: Failure.KILLED_AFTER}
        bench.crash()
        if len(bench.store.blocks) == 3:
            return point
    raise AssertionError("no block is inserted")


class BadNextKeys(MemoryKeys):
    """Its next key cannot be read."""

    asked = 0

    def find(self, log: str, origin: str, *, create: bool) -> list[Signer]:
        if len(self.held.get(log, [])) > 1:
            self.asked += 1
            raise LogKeyError("another passphrase")
        return super().find(log, origin, create=create)


async def test_a_next_key_that_cannot_be_used_stops_nothing_and_is_told_of_once() -> None:
    bench = Bench()
    bench.keys = keys = BadNextKeys()
    bench.fill(4)
    stop = asyncio.Event()
    sealing = asyncio.create_task(bench.sealer().run(stop))
    await until(bench.done)
    keys.prepare(LOG)
    bench.fill(12)
    await until(bench.done)
    stop.set()
    await sealing
    assert keys.asked == 1
    assert not info(bench).changes


class ElsewhereSigner:
    """A key that is kept elsewhere: signing goes through `call`, which may take its time and fail."""

    def __init__(self, signer: Signer, call: Callable[[], None]) -> None:
        self._signer, self._call = signer, call
        self.name, self.verifier = signer.name, signer.verifier

    def sign(self, message: bytes) -> bytes:
        self._call()
        return self._signer.sign(message)


class ElsewhereKeys(MemoryKeys):
    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__()
        self._call = call

    def find(self, log: str, origin: str, *, create: bool) -> list[ElsewhereSigner]:  # type: ignore[override]
        return [ElsewhereSigner(each, self._call) for each in super().find(log, origin, create=create)]


async def test_the_loop_goes_on_while_a_key_kept_elsewhere_signs() -> None:
    bench = Bench()
    asked, answer = threading.Event(), threading.Event()

    def call() -> None:
        asked.set()
        assert answer.wait(20)

    bench.keys = ElsewhereKeys(call)
    bench.fill(4)
    running = asyncio.create_task(bench.run())
    await until(asked.is_set)
    for _ in range(1000):
        await asyncio.sleep(0)
    answer.set()
    await running
    bench.keys.prepare(LOG)
    bench.fill(4)
    await bench.run()
    await assert_sound(bench, 1)


async def test_a_key_kept_elsewhere_that_cannot_be_reached_is_asked_again() -> None:
    bench = Bench()
    faults = iter(range(2))

    def call() -> None:
        if next(faults, None) is not None:
            raise UnavailableError("the key command did not answer")

    bench.keys = ElsewhereKeys(call)
    bench.fill(4)
    await bench.run()
    assert await bench.entries() == bench.expected()
    assert bench.metrics.faults.labels("unavailable")._value.get() == 2


async def test_two_processes_on_one_topic_change_the_key_once() -> None:
    bench = Bench()
    bench.fill(6)
    await bench.run()
    bench.keys.prepare(LOG)
    bench.fill(40)
    stop = asyncio.Event()
    both = [
        asyncio.create_task(bench.sealer(source=MemorySource(bench.topic, batch=batch)).run(stop))
        for batch in (3, 5)
    ]
    await until(lambda: bench.done() or any(task.done() for task in both))
    stop.set()
    ended = await asyncio.gather(*both, return_exceptions=True)
    assert {type(each) for each in ended} <= {LostRaceError, type(None)}
    bench.fill(1)
    await bench.run()
    await assert_sound(bench, 1)


def test_other_changes_than_the_root_log_has_sealed_are_a_fault() -> None:
    bench = _ready()
    asyncio.run(bench.run())
    bench.keys.prepare(LOG)
    bench.fill(4)
    asyncio.run(bench.run())
    info = log_document(bench.store.infos[LOG])
    statements = info["changes"]
    assert len(statements) == 2

    def told(sealed: list[str], document: Document | None) -> bool:
        found = _differing(_Pinned(0, LOG, 9, "", "", 99, b"", sealed), document, None, None)
        return any("changes of the log's key" in problem for problem in found)

    for length in range(3):
        assert not told(statements[:length], info), "the store may know of later ones"
    assert not told([], None)
    for document in (None, {}, {**info, "changes": statements[:1]}, {**info, "changes": statements[::-1]}):
        assert told(statements, document)
