"""A store of 200,000 events rebuilt from Kafka alone, killed half way: the same root at every published checkpoint."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from deploy.stack import Stack
from goodstrace.capture import CaptureClient, Job
from goodstrace.simulate import Simulation, SimulationOptions
from tests.system.harness import System, eventually

EVENTS = int(os.environ.get("GOODSTRACE_SOAK_EVENTS", "200000"))


def test_a_large_store_is_rebuilt_from_kafka_although_it_was_killed(stack: Stack, tmp_path: Path) -> None:
    system = System(stack, tmp_path / "system").start()
    try:
        with CaptureClient(system.capture_url) as collector:
            options = SimulationOptions(seed=3, events=EVENTS, events_per_document=500)
            for document in Simulation(options).documents():
                assert isinstance(collector.send(document.to_bytes()), Job)
        system.wait_sealed(EVENTS, deadline_s=1800)
    finally:
        system.stop()
    into = f"{system.database_name}-r"
    goods = rebuilt_half(system, into)
    assert 0 < goods < EVENTS
    done = subprocess.run(
        [*command(into), "--json"], env=system.whole_environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["same_roots"]
    assert sum(each["entries"] for each in found["logs"] if each["log"].startswith("goods/")) == EVENTS
    with MongoClient[dict[str, Any]](system.stack.mongodb_uri) as mongo:
        published = {
            log["log"]: mongo[system.database_name]["checkpoints"].count_documents({"log": log["log"]})
            for log in found["logs"]
        }
    for log in found["logs"]:
        assert log["checkpoints"] == published[log["log"]]
        assert log["checkpoints"] > 0 or log["entries"] == 0
        print(f"{log['log']}: {log['entries']} entries, {log['checkpoints']} checkpoints with the same root")


def command(into: str) -> list[str]:
    return [str(Path(sys.executable).parent / "goodstrace"), "replay", "rebuild", "--into", into]


def rebuilt_half(system: System, into: str) -> int:
    """Rebuild until half of the goods are there, then kill; gives how many are."""
    with MongoClient[dict[str, Any]](system.stack.mongodb_uri) as mongo:
        heads = mongo[into]["heads"]
        running = subprocess.Popen(command(into), env=system.whole_environment)
        try:
            eventually(lambda: sealed(heads) >= EVENTS // 2, deadline_s=900, what="half of it rebuilt")
        finally:
            running.send_signal(signal.SIGKILL)
            running.wait()
        return sealed(heads)


def sealed(heads: Any) -> int:
    return sum(each["size"] for each in heads.find({"_id": {"$regex": "^goods/"}}))
