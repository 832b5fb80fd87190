"""A store copied, lost, and put back: the logs go on, traces verify, and who was erased stays erased."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from deploy.stack import Stack
from goodstrace.memory import FileMemory
from goodstrace.simulate import Simulation, SimulationOptions
from tests.litewitness import Litewitness
from tests.system.harness import SERVICES, System, eventually
from tests.system.simulated import seal_simulation


@pytest.fixture
def system(stack: Stack, tmp_path: Path) -> Iterator[System]:
    """A system whose logs a witness cosigns, without whom nothing is published."""
    (tmp_path / "witness").mkdir()
    witness = Litewitness("witness.example/one", tmp_path / "witness").start()
    policy = tmp_path / "policy"
    policy.write_text(witness.policy_line("one") + "quorum one\n")
    told = {"GOODSTRACE_WITNESS_POLICY": str(policy), "GOODSTRACE_WITNESS_INTERVAL_MS": "50"}
    running = System(stack, tmp_path / "run", told)
    try:
        running.start()
        for info in running.store["logs"].find():
            witness.add_log(info["vkey"])
        yield running
    finally:
        running.stop()
        witness.close()


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


def started(system: System, database: str) -> None:
    """Start the services on another database."""
    system.database_name = system.environment["GOODSTRACE_DATABASE"] = database
    made = system.run_module("services.runtime.provision")
    assert made.returncode == 0, made.stdout + made.stderr
    system.daemons = {name: system._daemon(name) for name in SERVICES}
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
    item = seal_simulation(system, seed=5, events=60)
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
    assert "the last backup is" in done(system, "doctor", "--only", "backup")
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

    into = f"{system.database_name}-2"
    assert "has members" in refused(system, "restore", str(store), "--into", into)
    stopped(system)
    with MongoClient(system.stack.mongodb_uri) as mongo:
        for name in (system.database_name, f"{system.database_name}_vault"):
            mongo.drop_database(name)
    arguments = ("--into", into, "--vkeys", str(system.key_dir), "--jobs", "1")
    said = done(system, "restore", str(store), *arguments, "--vault", str(vault))
    assert "lacking: what came after the copy" in said
    assert "erased again: 1 keys" in said
    assert f"GOODSTRACE_VAULT_DATABASE={into}_vault" in said
    assert "holds other data" in refused(system, "restore", str(store), *arguments)

    # What came after the copy is in Kafka, and was published: it is lost until it is sealed again, and not merely waiting.
    verifying = ("replay", "verify", "--state", str(tmp_path / "state.json"))
    behind = system.cli_with({"GOODSTRACE_DATABASE": into}, *verifying)
    assert behind.returncode == 1, behind.stdout + behind.stderr
    assert "rolled-back: the checkpoint at offset" in behind.stdout
    assert "DIFFERS" not in behind.stdout

    # The witness has seen more than the copy has: the logs are sealed on before it is asked again.
    done(system, "replay", "rebuild", "--into", into)
    started(system, into)
    left = set(system.user_keys())
    assert not gone & left
    assert keys - gone <= left
    eventually(lambda: system.sealed_count() >= total, what="the logs go on from Kafka")
    assert system.sealed_count() == total
    with system.client(memory=memory) as client:  # what was remembered of the logs before still holds
        assert client.trace(item).events
    assert not gone & set(system.user_keys())
    done(system, "fsck", "--kafka", "--jobs", "1")
    done(system, "replay", "verify")
