"""Proof files made here are verified by torchwood, which has no code of ours, and those that we refuse it refuses."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deadlines import DEADLINE_S
from tests.go_programs import READER
from tests.vector_files import vectors

VECTORS: dict[str, Any] = vectors("proof_files")


def report(folder: Path, vector: dict[str, Any], *, entry: bool) -> tuple[int, dict[str, Any]]:
    """Let the Go program verify a proof: its exit status and what it says."""
    (folder / "policy").write_text(VECTORS["policy"])
    (folder / "proof").write_text(vector["proof"])
    beside = []
    if entry:
        (folder / "entry").write_bytes(bytes.fromhex(vector["entry"]))
        beside = ["-entry", str(folder / "entry")]
    command = [
        str(READER.build()),
        "proof",
        "-policy",
        str(folder / "policy"),
        *beside,
        str(folder / "proof"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode in (0, 1), done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, said


@pytest.mark.parametrize("vector", VECTORS["proofs"], ids=lambda vector: vector["name"])
def test_it_verifies_what_we_write(tmp_path: Path, vector: dict[str, Any]) -> None:
    status, said = report(tmp_path, vector, entry=vector["name"] == "without the entry")
    assert (status, said) == (0, {"origin": vector["origin"]})


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["why"])
def test_it_refuses_what_we_refuse(tmp_path: Path, vector: dict[str, Any]) -> None:
    status, said = report(tmp_path, vector, entry=False)
    assert status == 1
    assert said["failure"]
