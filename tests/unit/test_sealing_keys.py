"""Keys on disk: made once, closed to others, never shown."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from goodstrace.note import Verifier
from services.sealing.errors import LogKeyError
from services.sealing.keys import KeyFolder

LOG = "goods/0"


def test_a_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = KeyFolder(folder).signer(LOG, "origin", create=True)
    again = KeyFolder(folder).signer(LOG, "origin", create=False)
    assert first.verifier == again.verifier
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "goods-0.key").stat().st_mode) == 0o600
    assert Verifier.parse((folder / "goods-0.vkey").read_text().strip()) == first.verifier
    assert sorted(path.name for path in folder.iterdir()) == ["goods-0.key", "goods-0.vkey"]
    assert KeyFolder(folder).signer("goods/1", "origin", create=True).verifier != first.verifier


def test_a_missing_key_of_a_registered_log_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(LogKeyError, match="is registered, but its key is not here"):
        KeyFolder(tmp_path / "keys").signer(LOG, "origin", create=False)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "keys"
    KeyFolder(folder).signer(LOG, "origin", create=True)
    (folder / "goods-0.key").chmod(mode)
    with pytest.raises(LogKeyError, match="open to other users"):
        KeyFolder(folder).signer(LOG, "origin", create=False)


def test_a_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(LogKeyError, match="open to other users"):
        KeyFolder(tmp_path).signer(LOG, "origin", create=True)


@pytest.mark.parametrize("text", ["", "zz" * 32, "ab" * 31])
def test_a_malformed_key_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "keys"
    KeyFolder(folder).signer(LOG, "origin", create=True)
    (folder / "goods-0.key").write_text(text)
    with pytest.raises(LogKeyError, match="is not 32 bytes as hex") as caught:
        KeyFolder(folder).signer(LOG, "origin", create=False)
    assert not text or text not in str(caught.value)


def test_a_replaced_key_does_not_replace_the_public_one(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    KeyFolder(folder).signer(LOG, "origin", create=True)
    published = (folder / "goods-0.vkey").read_text()
    (folder / "goods-0.key").write_text("ab" * 32)
    with pytest.raises(LogKeyError, match="another public key"):
        KeyFolder(folder).signer(LOG, "origin", create=False)
    assert (folder / "goods-0.vkey").read_text() == published


def test_many_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    for number in range(40):
        folder = KeyFolder(tmp_path / str(number) / "keys")
        with ThreadPoolExecutor(8) as threads:
            made = [threads.submit(folder.signer, LOG, "origin", create=True) for _ in range(8)]
        assert len({each.result().verifier.vkey() for each in made}) == 1
