"""Programs of other people around the running system: three witnesses cosign its logs, a reader verifies all it publishes.

The witnesses are litewitness, the reader is tests/interop/reader (Go): none of our code is in either.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.stack import Stack
from tests.deadlines import DEADLINE_S
from tests.go_programs import READER
from tests.interop.test_reader import read
from tests.litewitness import Litewitness
from tests.system.harness import System, eventually
from tests.system.simulated import seal_simulation

EVENTS = 600
LOGS = {"browse/0", "goods/0", "goods/1", "index", "root"}


@dataclass(frozen=True)
class Witnessed:
    """A running system whose checkpoints two of three witnesses must cosign; `policy` names its logs too."""

    system: System
    witnesses: list[Litewitness]
    keys: Path
    policy: Path

    def capture(self, seed: int) -> None:
        """Capture events and wait until all are under published checkpoints."""
        seal_simulation(self.system, seed=seed, events=EVENTS, events_per_document=100)

    def read(self, *arguments: object) -> dict[str, dict[str, Any]]:
        """Read and verify everything; what was found, by log. Nothing may have failed."""
        url = f"{self.system.log_url}/logs"
        report = read(url, "-keys", self.keys, "-policy", self.policy, *arguments)
        assert "failure" not in report
        assert [log for log in report["logs"] if "failure" in log] == []
        return {log["name"]: log for log in report["logs"]}


@pytest.fixture(scope="module")
def witnessed(
    stack: Stack, systems: Callable[..., System], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Witnessed]:
    folder = tmp_path_factory.mktemp("witnessed")
    keys, policy = folder / "keys", folder / "policy"
    with ExitStack() as running:
        witnesses = [
            running.enter_context(Litewitness(f"witness.example/{name}", folder / name)) for name in "abc"
        ]
        lines = [witness.policy_line(witness.name[-1]) for witness in witnesses]
        policy.write_text("".join(lines) + "group quorum-of-two 2 a b c\nquorum quorum-of-two\n")
        settings = {"GOODSTRACE_WITNESS_POLICY": str(policy), "GOODSTRACE_WITNESS_INTERVAL_MS": "200"}
        system = systems(stack, **settings).start()
        vkeys = [file.read_text().strip() for file in sorted(system.key_dir.glob("*.vkey"))]
        for witness in witnesses:
            for vkey in vkeys:
                witness.add_log(vkey)
        keys.write_text("\n".join(vkeys))
        with policy.open("a") as file:
            file.writelines(f"log {vkey}\n" for vkey in vkeys)
        yield Witnessed(system, witnesses, keys, policy)


def test_every_log_verifies_elsewhere_before_and_after_load_and_with_a_witness_down(
    witnessed: Witnessed, tmp_path: Path
) -> None:
    before, system = tmp_path / "before.json", witnessed.system
    witnessed.capture(seed=1)
    with system.client() as client:
        client.trace("urn:looked:up:once")
    eventually(lambda: system.sealed_count("browse/") > 0, what="the look-up's record is sealed")
    eventually(lambda: system.sealed_count("root") > 0, what="the first round is sealed and cosigned")
    eventually(
        lambda: system.sealed_count("index") > 0, what="the first leaf of the index is sealed and cosigned"
    )
    first = witnessed.read("-save", before)
    assert set(first) == LOGS
    assert sum(first[f"goods/{n}"]["entries"] for n in (0, 1)) == system.sealed_count()
    assert {log["proofs"] for log in first.values()} == {200}
    witnessed.witnesses[2].kill()
    witnessed.capture(seed=2)
    second = witnessed.read("-before", before)
    assert {name: log["consistent"] for name, log in second.items()} == {
        name: [log["size"]] for name, log in first.items()
    }
    for name in ("goods/0", "goods/1"):
        assert second[name]["size"] > first[name]["size"]
        two = {witness.name for witness in witnessed.witnesses[:2]}
        assert set(second[name]["signers"]) == {second[name]["origin"], *two}
    witnessed.witnesses[2].start()


def test_a_proof_file_holds_elsewhere(witnessed: Witnessed, tmp_path: Path) -> None:
    witnessed.capture(seed=3)
    proof, altered = tmp_path / "entry.tlog-proof", tmp_path / "altered.tlog-proof"
    made = witnessed.system.cli("prove", "goods/1", "5", "--out", str(proof))
    assert made.returncode == 0, made.stderr
    assert verdict(witnessed.policy, proof) == (0, "")
    altered.write_text(proof.read_text().replace("index 5\n", "index 6\n"))
    status, failure = verdict(witnessed.policy, altered)
    assert status == 1
    assert "index 6" in failure


def verdict(policy: Path, proof: Path) -> tuple[int, str]:
    command = [str(READER.build()), "proof", "-policy", str(policy), str(proof)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout).get("failure", "")
