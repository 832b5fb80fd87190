"""Programs of other people read the running system: every log over HTTP, and proofs as files. None of our code in them."""

import json
import subprocess
from pathlib import Path
from typing import Any

from goodstrace.simulate import Simulation, SimulationOptions
from tests.go_programs import READER
from tests.interop.test_reader import read
from tests.system.harness import System, eventually

EVENTS = 600


def capture(system: System, seed: int) -> None:
    options = SimulationOptions(seed=seed, events=EVENTS, events_per_document=100)
    system.capture_sealed(document.to_bytes() for document in Simulation(options).documents())


def keys_of(system: System, folder: Path) -> Path:
    keys = folder / "keys"
    keys.write_text("".join(file.read_text() for file in sorted(system.key_dir.glob("*.vkey"))))
    return keys


def by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {log["name"]: log for log in report["logs"]}


def test_a_reader_made_elsewhere_verifies_every_log_before_and_after_load(
    system: System, tmp_path: Path
) -> None:
    capture(system, seed=1)
    with system.client() as client:
        client.trace("urn:looked:up:once")
    eventually(lambda: system.sealed_count("browse/") > 0, what="the look-up's record is sealed")
    keys, before = keys_of(system, tmp_path), tmp_path / "before.json"
    first = by_name(read(f"{system.log_url}/logs", "-keys", keys, "-save", before))
    assert set(first) == {"browse/0", "goods/0", "goods/1", "root"}
    assert [log for log in first.values() if "failure" in log] == []
    assert sum(first[f"goods/{n}"]["entries"] for n in (0, 1)) == system.sealed_count()
    assert {log["proofs"] for log in first.values()} == {200}
    capture(system, seed=2)
    second = by_name(read(f"{system.log_url}/logs", "-keys", keys, "-before", before))
    assert [log for log in second.values() if "failure" in log] == []
    assert {name: log["consistent"] for name, log in second.items()} == {
        name: [log["size"]] for name, log in first.items()
    }
    assert all(second[f"goods/{n}"]["size"] > first[f"goods/{n}"]["size"] for n in (0, 1))


def test_a_proof_file_holds_elsewhere(system: System, tmp_path: Path) -> None:
    capture(system, seed=3)
    policy, proof = tmp_path / "policy", tmp_path / "entry.tlog-proof"
    logs = "".join(f"log {vkey}\n" for vkey in keys_of(system, tmp_path).read_text().split())
    policy.write_text(f"{logs}quorum none\n")
    made = system.cli("prove", "goods/1", "5", "--out", str(proof))
    assert made.returncode == 0, made.stderr
    assert verdict(policy, proof) == (0, "")
    altered = tmp_path / "altered.tlog-proof"
    altered.write_text(proof.read_text().replace("index 5\n", "index 6\n"))
    status, failure = verdict(policy, altered)
    assert status == 1
    assert "index 6" in failure


def verdict(policy: Path, proof: Path) -> tuple[int, str]:
    command = [str(READER.build()), "proof", "-policy", str(policy), str(proof)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout).get("failure", "")
