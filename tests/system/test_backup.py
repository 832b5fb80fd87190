"""A store copied, lost, and put back: the logs go on, traces verify, and who was erased stays erased."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from deploy.stack import Stack
from goodstrace.memory import FileMemory
from goodstrace.simulate import Simulation, SimulationOptions
from tests.system.harness import SERVICES, System, eventually


@pytest.fixture
def system(stack: Stack, tmp_path: Path) -> Iterator[System]:
    running = System(stack, tmp_path / "run")
    try:
        yield running.start()
    finally:
        running.stop()


def done(system: System, *arguments: str) -> str:
    result = system.cli(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def refused(system: System, *arguments: str) -> str:
    result = system.cli(*arguments)
    assert result.returncode == 1, result.stdout + result.stderr
    return result.stderr


def stopped(system: System) -> None:
    system.stop()
    system._mongo = None


def started(system: System) -> None:
    for daemon in system.daemons.values():
        daemon.start()
    for name in SERVICES:
        system.wait_ready(name)


def flipped(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def test_a_store_that_is_lost_comes_back(system: System, tmp_path: Path) -> None:
    simulation = Simulation(SimulationOptions(seed=5, events=60))
    system.capture_sealed([each.to_bytes() for each in simulation.documents()])
    item = simulation.interesting().item
    assert item is not None
    memory = FileMemory(tmp_path / "memory.json")
    for user in ("ann", "bob"):
        with system.client(user=user, memory=memory) as client:
            client.trace(item)
    system.wait_looks_sealed(2)
    keys = set(system.user_keys())

    store, vault = tmp_path / "copies" / "store", tmp_path / "copies" / "vault"
    copied = done(system, "backup", "create", "--out", str(store))
    done(system, "backup", "vault", "--out", str(vault))
    assert "logs," in copied
    for path in (tmp_path / "copies").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert "sound" in done(system, "backup", "verify", str(store), "--vkeys", str(system.key_dir))
    done(system, "backup", "verify", "--of-vault", str(vault))

    # What comes after the copy: more events, and a user is erased.
    later = Simulation(SimulationOptions(seed=6, events=40)).documents()
    system.capture_sealed([each.to_bytes() for each in later])
    total = system.sealed_count()
    done(system, "audit", "erase", "user", "ann", "--no-settle")
    gone = keys - set(system.user_keys())
    assert len(gone) == 1
    with system.client(memory=memory) as client:
        client.checkpoints()

    # A flipped byte is named with its place; flipped back, the copy is whole again.
    file = store / "logs" / "goods-0.bson"
    flipped(file, 70_000 if file.stat().st_size > 70_000 else 100)
    assert "goods-0.bson: a byte from" in refused(system, "backup", "verify", str(store))
    flipped(file, 70_000 if file.stat().st_size > 70_000 else 100)

    assert "has members" in refused(system, "restore", str(store), "--into", system.database_name)
    stopped(system)
    with MongoClient(system.stack.mongodb_uri) as mongo:
        vault_name = f"{system.database_name}_vault"
        for name in (system.database_name, vault_name):
            mongo.drop_database(name)
    arguments = ("--into", system.database_name, "--vkeys", str(system.key_dir), "--jobs", "1")
    said = done(system, "restore", str(store), *arguments, "--vault", str(vault))
    assert "lacking: what came after the copy" in said
    assert "erased again: 1 keys" in said
    assert not gone & set(system.user_keys())
    assert keys - gone <= set(system.user_keys())
    assert "holds other data" in refused(system, "restore", str(store), *arguments)

    made = system.run_module("services.runtime.provision")
    assert made.returncode == 0, made.stdout + made.stderr
    started(system)
    eventually(lambda: system.sealed_count() >= total, what="the logs go on from Kafka")
    assert system.sealed_count() == total
    with system.client(memory=memory) as client:  # what was remembered of the logs before still holds
        assert client.trace(item).events
    assert not gone & set(system.user_keys())
    done(system, "fsck", "--kafka", "--jobs", "1")
    done(system, "replay", "verify")
