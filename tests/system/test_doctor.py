"""`goodstrace doctor` on the whole system: well, and with one thing after another taken away."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.stack import Stack
from goodstrace.simulate import Simulation, SimulationOptions
from tests.system.harness import System, eventually

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def system(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(stack, tmp_path_factory.mktemp("doctor"))
    try:
        running.start()
        documents = Simulation(SimulationOptions(seed=3, events=40)).documents()
        running.capture_sealed(each.to_bytes() for each in documents)
        yield running
    finally:
        running.stop()


def doctor(system: System, *arguments: str, **changed: str) -> tuple[int, Answer]:
    done = system.cli_with(changed, "doctor", "--json", *arguments)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def findings(answer: Answer, level: str) -> list[str]:
    return [
        f"{each['check']}: {finding['seen']}"
        for each in answer["checks"]
        for finding in each["findings"]
        if finding["level"] == level
    ]


def test_a_system_that_is_well(system: System) -> None:
    checked = system.cli("fsck", "--kafka", "--jobs", "1")
    assert checked.returncode == 0, checked.stdout + checked.stderr

    # What the last captures left is caught up with within seconds.
    def looked() -> tuple[int, Answer] | None:
        code, answer = doctor(system)
        print(json.dumps(answer, indent=1))
        return (code, answer) if code == 0 else None

    code, answer = eventually(looked, deadline_s=40, what="the doctor finds nothing") or (1, {})
    assert (code, answer["well"]) == (0, True)
    assert findings(answer, "warning") == [
        "witnesses: no witnesses: checkpoints are published as soon as they are signed",
        "backup: no backup was ever made of this store",
    ]
    text = system.cli("doctor")
    assert text.returncode == 0
    assert "nothing needs you now" in text.stdout
    for secret in system.key_dir.rglob("*"):
        if secret.is_file() and secret.suffix not in (".vkey", ".json"):
            assert secret.read_text().strip() not in text.stdout + json.dumps(answer)
