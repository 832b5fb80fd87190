"""The verifier for browsers and Node, held to the vectors that the Python client is held to."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODE = shutil.which("node")
VECTORS = ROOT / "tests" / "vectors" / "proof_files.json"

pytestmark = pytest.mark.skipif(
    NODE is None, reason="Node is not there: the verifier for browsers is not run"
)


def node(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert NODE is not None
    return subprocess.run([NODE, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_it_takes_and_refuses_what_the_vectors_say(tell: Callable[[str], None]) -> None:
    done = node(ROOT / "tests" / "interop" / "javascript" / "vectors.mjs")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["inclusion proofs"] >= 75
    assert counts["changed proof files"] > 1000
    assert min(counts.values()) > 0
    tell("verify.js: " + ", ".join(f"{number} {what}" for what, number in counts.items()))


def test_the_example_verifies_files(tmp_path: Path) -> None:
    told = json.loads(VECTORS.read_text())
    vkeys = [
        line.split()[-1] for line in told["policy"].splitlines() if line.split()[:1] in (["log"], ["witness"])
    ]
    keys, good, bad = tmp_path / "vkeys", tmp_path / "good.tlog-proof", tmp_path / "bad.tlog-proof"
    keys.write_text("\n".join(vkeys) + "\n")
    good.write_text(told["proofs"][0]["proof"])
    bad.write_text(told["refused"][0]["proof"])
    example = ROOT / "examples" / "javascript" / "verify.mjs"
    done = node(example, "--quorum", "2", keys, good)
    assert (done.returncode, done.stderr) == (0, "")
    assert "is at example.com/7f3a/goods/0[0], of 1 entries" in done.stdout
    done = node(example, keys, good, bad)
    assert done.returncode == 1
    assert done.stderr.startswith("refused: ")
    assert node(example, "--quorum", "3", keys, good).returncode == 1
    assert node(example, keys, tmp_path / "none").returncode == 1
    assert node(example).returncode == 2


def test_the_example_verifies_bundles(tmp_path: Path) -> None:
    told = json.loads((VECTORS.parent / "proof_bundles.json").read_text())
    keys, good, bad = (
        tmp_path / "vkeys",
        tmp_path / "good.goodstrace-proof",
        tmp_path / "bad.goodstrace-proof",
    )
    keys.write_text("\n".join(told["vkeys"]) + "\n")
    good.write_text(told["bundle"])
    bad.write_text(told["bundle"].replace("eyJ0", "eyJ1", 1))
    example = ROOT / "examples" / "javascript" / "verify.mjs"
    done = node(example, keys, good)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(" is at ") == len(told["places"])
    assert node(example, keys, bad).returncode == 1
