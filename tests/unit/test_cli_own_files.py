"""A file of one's own that is missing or wrong is wrong usage, not an answer that does not verify."""

from pathlib import Path

import pytest

from goodstrace.cli.main import main
from tests.unit.test_log_keys import vkey


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


def _good_keys(folder: Path) -> Path:
    path = folder / "good.vkey"
    path.write_text(vkey("goodstrace.local/ab12/goods/0") + "\n")
    return path
