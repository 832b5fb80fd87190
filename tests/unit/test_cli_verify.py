"""`goodstrace verify FILE`: what it trusts, what it says, and its exit status."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from goodstrace.cli.verify import verify
from goodstrace.errors import TrustFileError
from tests.vector_files import vectors

VECTORS: dict[str, Any] = vectors("proof_files")
GOOD: dict[str, Any] = VECTORS["proofs"][1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A proof, a forged one, a policy, and the key of the log."""
    (tmp_path / "good.tlog-proof").write_text(GOOD["proof"])
    (tmp_path / "bad.tlog-proof").write_text(VECTORS["refused"][0]["proof"])
    (tmp_path / "policy").write_text(VECTORS["policy"])
    (tmp_path / "goods-0.vkey").write_text(VECTORS["policy"].split()[1] + "\n")
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(
        verify, [str(each) for each in arguments], env={"GOODSTRACE_LOG_KEYS": "", "GOODSTRACE_POLICY": ""}
    )


def test_it_says_what_was_verified(folder: Path) -> None:
    done = run(folder / "good.tlog-proof", "--policy", folder / "policy")
    assert done.exit_code == 0
    assert f"is entry {GOOD['index']} of the log {GOOD['origin']}" in done.output
    assert f"signed checkpoint of {GOOD['size']} entries" in done.output
    assert done.output.count("cosigned by") == 3
    assert "the quorum two is reached" in done.output


@pytest.mark.parametrize("trusted", ["folder", "file", "text"])
def test_keys_come_from_a_folder_a_file_or_the_command_line(folder: Path, trusted: str) -> None:
    key = (folder / "goods-0.vkey").read_text().strip()
    options = {
        "folder": ("--vkeys", folder),
        "file": ("--vkeys", folder / "goods-0.vkey"),
        "text": ("--vkey", key),
    }[trusted]
    done = run(folder / "good.tlog-proof", *options, "--json")
    assert done.exit_code == 0
    said = json.loads(done.output)
    assert said["verified"]
    assert said["files"][0]["unknown_signatures"] == 3
    assert said["files"][0]["quorum"] is None


def test_one_that_fails_fails_all_and_each_is_told(folder: Path) -> None:
    files = (folder / "good.tlog-proof", folder / "bad.tlog-proof", folder / "policy")
    done = run(*files, "--policy", folder / "policy", "--json")
    assert done.exit_code == 1
    said = json.loads(done.output)
    assert not said["verified"]
    assert [each["verified"] for each in said["files"]] == [True, False, False]
    done = run(*files, "--policy", folder / "policy")
    assert done.exit_code == 1
    assert done.output.count("does not verify") == 2


def test_an_entry_beside_the_proof_is_taken_where_the_file_has_none(folder: Path) -> None:
    vector = next(each for each in VECTORS["proofs"] if each["name"] == "without the entry")
    proof, entry = folder / "bare.tlog-proof", folder / "entry"
    proof.write_text(vector["proof"])
    entry.write_bytes(bytes.fromhex(vector["entry"]))
    assert run(proof, "--policy", folder / "policy").exit_code == 1
    assert run(proof, "--policy", folder / "policy", "--entry", entry).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("good.tlog-proof",), "give the keys you trust"),
        (("good.tlog-proof", "--log", "goods/0"), "--log goes without FILE"),
        (("good.tlog-proof", "bad.tlog-proof", "--entry", "policy"), "with one FILE only"),
        (("--entry", "policy"), "want a FILE"),
        ((), "needs goodstrace[server]"),
        (("absent.tlog-proof",), "does not exist"),
    ],
)
def test_wrong_usage_is_told(folder: Path, arguments: tuple[str, ...], problem: str) -> None:
    done = run(*(folder / each if (folder / each).is_file() else each for each in arguments))
    assert done.exit_code == 2
    assert problem in done.output


def test_wrong_keys_and_policies_are_errors_of_their_own(folder: Path) -> None:
    done = run(folder / "good.tlog-proof", "--policy", folder / "good.tlog-proof")
    assert isinstance(done.exception, TrustFileError)
    assert str(folder / "good.tlog-proof") in str(done.exception)
    done = run(folder / "good.tlog-proof", "--vkey", "nonsense")
    assert done.exit_code == 2
    assert "--vkey is no vkey of a log" in done.output
    key = (folder / "goods-0.vkey").read_text().strip()
    done = run(folder / "good.tlog-proof", "--vkeys", folder, "--vkey", key)
    assert done.exit_code == 2
    assert "--vkeys has a key of goods/0 already" in done.output


def test_without_a_file_the_store_is_checked() -> None:
    """By the server side's command, with the options that both have."""
    seen: list[list[str]] = []

    @click.command("fsck", context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1)
    def fsck(arguments: tuple[str, ...]) -> None:
        seen.append(list(arguments))

    group = click.Group(commands={"verify": verify, "fsck": fsck})
    done = CliRunner().invoke(
        group,
        ["verify", "--log", "goods/0", "--log", "root", "--json"],
        env={"GOODSTRACE_LOG_KEYS": "", "GOODSTRACE_POLICY": ""},
    )
    assert done.exit_code == 0
    assert seen == [["--log", "goods/0", "--log", "root", "--json"]]
