"""What happens to a running ledger: stopped and woken up, its clock goes back, its store is full, hangs or is gone.

Two ledgers on one partition are in test_ledger.py; the services around it when a server is away in tests/system.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from deploy.document_store import DocumentStore
from deploy.processes import free_port
from goodstrace import block as blocks
from tests.conftest import Names
from tests.crash_campaign import RECORDS, World, world
from tests.crash_processes import Process
from tests.deadlines import DEADLINE_S
from tests.full_disk import StoreOnDisk
from tests.log_checks import all_blocks

__all__ = ["world"]  # the fixture

AWAY_S = float(os.environ.get("GOODSTRACE_SOAK_AWAY_S", "2"))


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[DocumentStore]:
    """A store that a test may stop, kill and start."""
    store = DocumentStore(tmp_path / "own", free_port())
    store.start()
    store.wait_ready()
    yield store
    store.kill()


@pytest.fixture
async def on_own_store(
    kafka_bootstrap: str, own_store: DocumentStore, names: Names, tmp_path: Path
) -> AsyncIterator[World]:
    made = World(kafka_bootstrap, own_store.uri, names, tmp_path)
    await made.fill()
    yield made
    made.mongo.close()


async def test_a_process_that_slept_while_another_took_over_seals_nothing_and_stops(
    world: World, mongo_uri: str
) -> None:
    """It sleeps right before it commits a block; the group gives its partition to another; then it wakes up.

    The packs that it wrote for its next block meanwhile stay: they are named by none, and fsck tells of them.
    """
    prefix, group = world.new_prefix(), f"{world.name}.shared"
    sleeper = Process(
        world, prefix, mongo_uri, group=group, call="store.insert_block", nth=3, signal=signal.SIGSTOP
    )
    assert await sleeper.sealed(9)
    other = Process(world, prefix, mongo_uri, group=group)
    try:
        assert await other.sealed(RECORDS)
        sleeper.process.send_signal(signal.SIGCONT)
        assert sleeper.process.wait(DEADLINE_S) == 1, "it lost the race for its block, and stopped"
        assert "LostRaceError" in sleeper.output()
        world.append(4)
        assert await other.sealed(RECORDS + 4)
        assert await world.assert_intact(prefix) == RECORDS + 4
    finally:
        sleeper.end(signal.SIGKILL)
        other.end()


async def test_a_clock_that_goes_back_under_a_running_ledger_gives_no_block_an_earlier_time(
    world: World, mongo_uri: str
) -> None:
    prefix = world.new_prefix()
    process = Process(world, prefix, mongo_uri, clock_back_ms=3_600_000)
    assert await process.sealed(RECORDS)
    process.end()
    again = Process(world, prefix, mongo_uri, clock_back_ms=3_600_000)
    world.append(4)
    assert await again.sealed(RECORDS + 4)
    again.end()
    times = [blocks.decode(each.header).time for each in await all_blocks(world.store, f"{prefix}/0")]
    assert len(times) > 5
    assert times == sorted(times)
    await world.assert_whole(prefix, RECORDS + 4)


async def test_a_store_on_a_full_disk_is_waited_for(
    kafka_bootstrap: str, names: Names, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """The store refuses to write; what it did is unknown. It has room again and is started anew: all is sealed, once."""
    disk = StoreOnDisk(tmp_path / "disk")
    tell(f"full disk: the store has {disk.kind}")
    process, world = None, None
    try:
        disk.start()
        world = World(kafka_bootstrap, disk.store.uri, names, tmp_path)
        await world.fill()
        prefix = world.new_prefix()
        process = Process(world, prefix, disk.store.uri, timeout_ms=1000)
        assert await process.sealed(RECORDS)
        records = RECORDS
        while not process.has_told("retrying", 3):
            disk.fill()  # again and again: a store that removes old journal files has room once more
            world.append(20)
            records += 20
            assert records < 10_000, process.output()
            await asyncio.sleep(0.1)
        assert process.process.poll() is None, "it waits"
        disk.free()
        disk.store.kill()
        disk.start()
        assert await process.sealed(records)
        await world.assert_whole(prefix, records)
    finally:
        if process is not None:
            process.end()
        if world is not None:
            world.mongo.close()
        disk.close()


def hang(store: DocumentStore) -> Callable[[], None]:
    """Let the store take connections and answer nothing; gives what wakes it up."""
    process = store.daemon.process
    assert process is not None
    process.signal_group(signal.SIGSTOP)
    return lambda: process.signal_group(signal.SIGCONT)


def crash(store: DocumentStore) -> Callable[[], None]:
    """End the store as a crash would; gives what starts it again."""
    store.kill()

    def start() -> None:
        store.start()
        store.wait_ready()

    return start


@pytest.mark.parametrize("leave", [hang, crash])
async def test_a_store_that_is_gone_for_a_while(
    on_own_store: World, own_store: DocumentStore, leave: Callable[[DocumentStore], Callable[[], None]]
) -> None:
    """Seconds here, a minute in `make soak`: the process waits, and goes on by itself."""
    prefix = on_own_store.new_prefix()
    process = Process(on_own_store, prefix, own_store.uri, timeout_ms=500)
    try:
        assert await process.sealed(RECORDS)
        on_own_store.append(300)
        come_back = leave(own_store)
        await process.told("retrying", 2)
        subprocess.run(["sleep", str(AWAY_S)], check=True)  # noqa: ASYNC221 - how long it is away is what is tested
        assert process.process.poll() is None, "it waits"
        come_back()
        assert await process.sealed(RECORDS + 300)
        await on_own_store.assert_whole(prefix, RECORDS + 300)
    finally:
        process.end()
