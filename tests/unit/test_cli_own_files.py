"""A file of one's own that is missing or wrong is wrong usage, not an answer that does not verify."""

from pathlib import Path

import pytest

from goodstrace import key_changes
from goodstrace.cli.main import main
from tests.unit.test_key_changes import CHAIN
from tests.unit.test_log_keys import vkey

STATEMENT = key_changes.statement(CHAIN[0]).decode()


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("--log-keys", None, "there are no log keys in "),
        ("--log-keys", "# Read me\n\nnothing", "line 3, is no vkey of a log"),
        ("--policy", "nonsense", "own: line 1"),
        ("--merchant-keys", "nonsense", "is no file of merchants' keys"),
    ],
)
def test_it_ends_as_wrong_usage_does_and_names_the_file(
    option: str,
    content: str | None,
    said: str,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys = tmp_path / "own"
    if content is not None:
        keys.write_text(content)
    trusted = [] if option == "--log-keys" else ["--log-keys", str(_good_keys(tmp_path))]
    monkeypatch.setattr("sys.argv", ["goodstrace", "trace", "urn:x:1", option, str(keys), *trusted])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in told
    assert str(keys) in told
    assert "does not verify" not in told
    if content is None:
        assert "name --log-keys (GOODSTRACE_LOG_KEYS)" in told


@pytest.mark.parametrize(
    ("changes", "said", "status"),
    [
        ("garbage", "line 1: not a key change", 2),
        (STATEMENT, "is of a log whose vkey is not there", 2),
        (STATEMENT + "\n{}", "line 2: not a key change", 2),
        (STATEMENT.replace('"time":', '"time":1'), "key did not sign it", 1),
    ],
)
def test_a_malformed_file_of_key_changes_is_ones_own_and_a_forged_one_does_not_verify(
    changes: str,
    said: str,
    status: int,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _good_keys(tmp_path).write_text(vkey("goodstrace.local/ab12/browse/0") + "\n")
    file = tmp_path / "goods-0.changes"
    file.write_text(changes)
    proof = tmp_path / "a.tlog-proof"
    proof.write_text("")
    for command in (
        ["trace", "urn:x:1", "--log-keys", str(tmp_path)],
        ["verify", str(proof), "--vkeys", str(tmp_path)],
    ):
        monkeypatch.setattr("sys.argv", ["goodstrace", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr().err
        assert ended.value.code == status
        assert said in told
        assert str(file) in told
        assert ("does not verify" in told) is (status == 1)


@pytest.mark.parametrize("option", ["--vkeys", "--policy"])
@pytest.mark.parametrize("command", [["backup", "verify"], ["fsck"]])
def test_of_the_server_side_too(
    command: list[str],
    option: str,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = tmp_path / "bad"
    bad.write_text("nonsense")
    monkeypatch.setattr("services.backup.command.read_manifest", lambda *_: None)
    folder = [str(tmp_path)] if command != ["fsck"] else []
    monkeypatch.setattr("sys.argv", ["goodstrace", *command, *folder, option, str(bad)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert str(bad) in told
    assert "line 1" in told
    assert "does not verify" not in told


def _good_keys(folder: Path) -> Path:
    path = folder / "good.vkey"
    path.write_text(vkey("goodstrace.local/ab12/goods/0") + "\n")
    return path
