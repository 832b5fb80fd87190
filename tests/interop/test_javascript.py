"""The verifier for browsers and Node, held to the vectors that the Python client is held to."""

import json
import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from goodstrace import entry as entries
from goodstrace.bundles import bundle_path
from goodstrace.entry import Entry, Kind, TagsCommitment
from goodstrace.merkle import leaf_hashes, root_of
from goodstrace.note import Signer
from goodstrace.tiles import tile_path
from tests.deadlines import DEADLINE_S
from tests.interop.static_logs import write_log

ROOT = Path(__file__).resolve().parents[2]
NODE = shutil.which("node")
VECTORS = ROOT / "tests" / "vectors" / "proof_files.json"

pytestmark = pytest.mark.skipif(
    NODE is None, reason="Node is not there: the verifier for browsers is not run"
)


def node(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert NODE is not None
    return subprocess.run([NODE, *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def test_it_takes_and_refuses_what_the_vectors_say(tell: Callable[[str], None]) -> None:
    done = node(ROOT / "tests" / "interop" / "javascript" / "vectors.mjs")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["inclusion proofs"] >= 75
    assert counts["changed proof files"] > 1000
    assert min(counts.values()) > 0
    tell("verify.js: " + ", ".join(f"{number} {what}" for what, number in counts.items()))


def _entry(index: int) -> bytes:
    tags = TagsCommitment(1, sha256(b"tag").hexdigest())
    return entries.encode(
        Entry(id=f"{index:032x}", kind=Kind.EVENT, merchant=1, parts=(), tags=tags, time=index)
    )


def test_it_verifies_whole_logs_by_their_tiles(tmp_path: Path, tell: Callable[[str], None]) -> None:
    told = []
    for size in (1, 2, 255, 256, 257, 700, 1024, 66_000):
        signer, folder = Signer(f"log.example/{size}", bytes(31) + b"k"), tmp_path / str(size)
        sealed = [_entry(index) for index in range(size)]
        write_log(folder, signer, sealed)
        hashes = leaf_hashes(sealed)
        sizes = sorted({0, 1, size // 3, size // 2, min(size, 256), size - 1, size})
        ranges = [[0, size], [0, 1], [size - 1, size], [size // 2, size // 2 + 1]]
        told.append(
            {
                "folder": str(folder),
                "vkey": signer.verifier.vkey(),
                "older": [{"size": each, "root": root_of(hashes[:each]).hex()} for each in sizes],
                "ranges": ranges if size < 2000 else ranges[1:],
                "spoilt": [bundle_path(0, min(size, 256)), tile_path(0, 0, min(size, 256))]
                if size < 2000
                else [],
            }
        )
    listed = tmp_path / "logs.json"
    listed.write_text(json.dumps(told))
    done = node(ROOT / "tests" / "interop" / "javascript" / "tiles.mjs", listed)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["spoilt files refused"] == 2 * (len(told) - 1)
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
