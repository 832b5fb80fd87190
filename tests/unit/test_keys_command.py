"""`goodstrace keys` where there is no store to ask: making and encrypting files, and what it says of wrong use."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from services.ledger.commands.keys import keys

NOWHERE = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GOODSTRACE_KEY_DIR", str(tmp_path / "keys"))
    monkeypatch.setenv("MONGODB_URI", NOWHERE)
    monkeypatch.setenv("GOODSTRACE_MONGO_TIMEOUT_MS", "200")
    for name in ("GOODSTRACE_KEY_PASSPHRASE", "GOODSTRACE_KEY_PASSPHRASE_FILE", "GOODSTRACE_KEY_COMMAND"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "keys"


def run(*arguments: str, status: int = 0) -> Result:
    done = CliRunner().invoke(keys, arguments)
    assert done.exit_code == status, (done.output, done.exception)
    return done


def test_keys_are_made_before_the_ledger_starts_and_encrypted_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = json.loads(run("generate", "goods/0", "root", "--json").output)["keys"]
    assert [(row["log"], row["made"]) for row in made] == [("goods/0", True), ("root", True)]
    seed = (folder / "goods-0.key").read_text().strip()
    assert len(seed) == 64
    assert stat.S_IMODE((folder / "root.key").stat().st_mode) == 0o600
    assert "(was there)" in run("generate", "goods/0").output
    assert "GOODSTRACE_KEY_PASSPHRASE_FILE" in run("encrypt", status=2).output
    monkeypatch.setenv("GOODSTRACE_KEY_PASSPHRASE", "a passphrase of some length")
    assert [line.split() for line in run("encrypt").output.splitlines()] == [
        ["goods/0", "encrypted"],
        ["root", "encrypted"],
    ]
    assert "was encrypted" in run("encrypt", "root").output
    assert seed not in (folder / "goods-0.key").read_text()
    assert "no such key" in run("encrypt", "goods/7", status=1).output


@pytest.mark.parametrize("name", ["goods", "goods/x", "", "../goods/0"])
def test_what_is_no_log_gets_no_key(folder: Path, name: str) -> None:
    assert "is not the name of a log" in run("generate", name, status=2).output
    assert not folder.exists()


@pytest.mark.parametrize(
    "command", [["list"], ["show", "goods/0"], ["rotate", "goods/0"], ["prepare", "goods/0"]]
)
def test_without_the_store_a_command_says_so(folder: Path, command: list[str]) -> None:
    assert run(*command, status=1).output.startswith("Error: ")


def test_keys_kept_elsewhere_are_changed_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOODSTRACE_LOG_KEY_GOODS_0", "5e" * 32)
    assert "GOODSTRACE_LOG_KEY_GOODS_0_NEXT" in run("rotate", "goods/0", status=1).output
    monkeypatch.setenv("GOODSTRACE_KEY_COMMAND", "true")
    assert "the key command keeps the keys" in run("rotate", "goods/0", status=1).output


@pytest.mark.parametrize("command", ["generate", "list", "show", "prepare", "rotate", "encrypt"])
def test_help_teaches(command: str) -> None:
    assert len(run(command, "--help").output.splitlines()) > 8
