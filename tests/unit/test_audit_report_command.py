"""`goodstrace audit report --verify`: a report that does not verify, a wrong folder and a service that is away are told apart."""

import json
from pathlib import Path

import pytest

from goodstrace.cli.main import main
from goodstrace.transparency import values
from tests.unit.test_log_keys import vkey
from tests.unit.test_transparency import World


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
def arguments(tmp_path: Path, world: World) -> list[str]:
    (tmp_path / "report.json").write_bytes(values.encode(world.report))
    (tmp_path / "own.vkey").write_text(vkey("goodstrace.local/ab12/browse/7") + "\n")
    (tmp_path / "exported" / "logs").mkdir(parents=True)
    own = ["--vkeys", str(tmp_path / "own.vkey"), "--verify", str(tmp_path / "report.json")]
    return ["goodstrace", "audit", "report", *own, "--logs"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr("sys.argv", list(arguments))
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_one_that_does_not_verify_is_told_as_that(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = str(tmp_path / "exported")
    assert run(monkeypatch, *arguments, folder) == 1
    assert "does not verify: the report is of " in capsys.readouterr().err
    assert run(monkeypatch, *arguments, folder, "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["verified"] is False
    assert said["problem"].startswith("the report is of ")


def test_a_folder_that_is_none_of_logs_is_wrong_usage(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *arguments, str(tmp_path)) == 2
    assert "neither a URL nor a folder" in capsys.readouterr().err


def test_a_service_that_is_away_is_no_verdict(
    world: World,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "own.vkey").write_text("\n".join(each.vkey() for each in world.keys))
    assert run(monkeypatch, *arguments, "http://127.0.0.1:1", "--json") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "does not verify" not in told.err
    assert "nothing listens at http://127.0.0.1:1" in told.err
