"""A reader with no code of ours (Go: x/mod/sumdb, transparency-dev, torchwood) reads and verifies our logs."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from goodstrace.note import Signer
from tests.deadlines import DEADLINE_S
from tests.go_programs import READER
from tests.interop import static_logs
from tests.litewitness import Litewitness

SIGNERS = {name: Signer(f"example.com/a1b2/{name}", name.encode().ljust(32)) for name in ("goods/0", "root")}
ENTRIES = [b"entry %d" % number for number in range(700)]


def read(base: str, *arguments: object) -> dict[str, Any]:
    """Run the reader over all logs; its report, whatever it says."""
    command = [str(READER.build()), "logs", "-url", base, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    failed = "failure" in report or any("failure" in log for log in report["logs"])
    assert failed == (done.returncode == 1)
    return report


@dataclass(frozen=True)
class Site:
    """Two small logs as files on the web."""

    folder: Path
    url: str


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    for name, signer in SIGNERS.items():
        static_logs.write_log(folder / name, signer, ENTRIES[:300])
    static_logs.write_list(folder, SIGNERS)
    with static_logs.serve(folder) as base:
        yield Site(folder, f"{base}/logs")


def test_it_verifies_a_log_of_files_and_its_growth(site: Site, tmp_path: Path) -> None:
    keys, before = tmp_path / "keys", tmp_path / "before.json"
    keys.write_text("".join(signer.verifier.vkey() + "\n" for signer in SIGNERS.values()))
    report = read(site.url, "-keys", keys, "-save", before)
    assert [(log["entries"], log["tiles"], log["proofs"]) for log in report["logs"]] == [(300, 3, 200)] * 2
    static_logs.write_log(site.folder / "root", SIGNERS["root"], ENTRIES)
    report = read(site.url, "-keys", keys, "-before", before)
    assert [(log["name"], log["size"], log["consistent"]) for log in report["logs"]] == [
        ("goods/0", 300, [300]),
        ("root", 700, [300]),
    ]


@pytest.mark.parametrize(
    "path", ["checkpoint", "tile/entries/000", "tile/entries/001.p/44", "tile/0/000", "tile/1/000.p/1"]
)
def test_it_sees_one_changed_byte(site: Site, path: str) -> None:
    file = site.folder / "goods/0" / path
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    good, bad = (log.get("failure") for log in reversed(read(site.url)["logs"]))
    assert good is None
    assert bad


def test_it_sees_another_history_and_a_key_that_nobody_trusts(site: Site, tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    read(site.url, "-save", before)
    static_logs.write_log(site.folder / "root", SIGNERS["root"], [b"another", *ENTRIES])
    log = read(site.url, "-before", before)["logs"][1]
    assert "consistency" in log["failure"]
    keys = tmp_path / "keys"
    keys.write_text(SIGNERS["goods/0"].verifier.vkey())
    assert "not trusted" in read(site.url, "-keys", keys)["logs"][1]["failure"]


def test_it_holds_checkpoints_to_a_policy_of_witnesses(site: Site, tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    log = SIGNERS["root"]
    with Litewitness("witness.example/w1", tmp_path / "w1") as witness:
        policy.write_text(f"log {log.verifier.vkey()}\n{witness.policy_line('w1')}quorum w1\n")
        assert "policy" in read(site.url, "-policy", policy)["logs"][1]["failure"]
        witness.add_log(log.verifier.vkey())
        file = site.folder / "root" / "checkpoint"
        cosigned = file.read_text() + witness.cosign(0, file.read_text())
        file.write_text(cosigned)
    assert read(site.url, "-policy", policy)["logs"][1]["signers"] == [log.name, witness.name]
