"""Keys on disk: made once, closed to others, never shown; encrypted where there is a passphrase."""

import errno
import os
import stat
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from goodstrace import key_changes
from goodstrace.log_keys import LogKeys
from goodstrace.note import SigningKey
from services.runtime import files
from services.sealing import key_text
from services.sealing.errors import LogKeyError
from services.sealing.keys import KeyFolder
from services.sealing.values import LogInfo

LOG = "goods/0"
ORIGIN = "test.local/0011/goods/0"
PASSPHRASE = b"a passphrase of some length"


def only(folder: KeyFolder, *, create: bool = False) -> SigningKey:
    [key] = folder.find(LOG, ORIGIN, create=create)
    return key


def info_of(key: SigningKey) -> LogInfo:
    return LogInfo(LOG, ORIGIN, key.verifier.vkey())


def changed(info: LogInfo, old: SigningKey, new: SigningKey, height: int) -> LogInfo:
    change = key_changes.sign(
        log=LOG, height=height, size=height, previous="ab" * 32, time=height, old=old, new=new
    )
    return LogInfo(LOG, ORIGIN, new.verifier.vkey(), (*info.changes, change))


def test_a_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = only(KeyFolder(folder), create=True)
    again = only(KeyFolder(folder))
    assert first.verifier == again.verifier
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "goods-0.key").stat().st_mode) == 0o600
    KeyFolder(folder).settle(info_of(first))
    assert LogKeys.load(folder).verifier(LOG) == first.verifier
    assert sorted(path.name for path in folder.iterdir()) == ["goods-0.key", "goods-0.vkey"]
    [other] = KeyFolder(folder).find("goods/1", "test.local/0011/goods/1", create=True)
    assert other.verifier.public_key != first.verifier.public_key


def test_a_missing_key_of_a_registered_log_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(LogKeyError, match="is registered, but its key is not here"):
        only(KeyFolder(tmp_path / "keys"))
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
@pytest.mark.parametrize("name", ["goods-0.key", "goods-0.next.key"])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int, name: str) -> None:
    folder = tmp_path / "keys"
    only(KeyFolder(folder), create=True)
    KeyFolder(folder).rotate(LOG)
    (folder / name).chmod(mode)
    with pytest.raises(LogKeyError, match="open to other users"):
        only(KeyFolder(folder))


def test_a_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(LogKeyError, match="open to other users"):
        only(KeyFolder(tmp_path), create=True)


@pytest.mark.parametrize(
    "text", ["", "zz" * 32, "ab" * 31, "-----BEGIN PRIVATE KEY-----\nsecret\n", "é" * 32]
)
def test_a_malformed_key_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "keys"
    only(KeyFolder(folder), create=True)
    (folder / "goods-0.key").write_text(text)
    with pytest.raises(LogKeyError, match=r"goods-0\.key (is not|cannot)") as caught:
        only(KeyFolder(folder))
    assert not text or text not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_replaced_key_does_not_replace_the_public_one(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = only(KeyFolder(folder), create=True)
    KeyFolder(folder).settle(info_of(first))
    published = (folder / "goods-0.vkey").read_text()
    (folder / "goods-0.key").write_text("ab" * 32)
    with pytest.raises(LogKeyError, match="another public key"):
        KeyFolder(folder).settle(info_of(only(KeyFolder(folder))))
    assert (folder / "goods-0.vkey").read_text() == published


def test_many_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    for number in range(40):
        folder = KeyFolder(tmp_path / str(number) / "keys")
        with ThreadPoolExecutor(8) as threads:
            made = [threads.submit(only, folder, create=True) for _ in range(8)]
        assert len({each.result().verifier.vkey() for each in made}) == 1


def test_with_a_passphrase_new_keys_are_encrypted_and_open_with_it_only(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = only(KeyFolder(folder, PASSPHRASE), create=True)
    text = (folder / "goods-0.key").read_text()
    assert text.startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert only(KeyFolder(folder, PASSPHRASE)).verifier == made.verifier
    with pytest.raises(LogKeyError, match="another passphrase") as caught:
        only(KeyFolder(folder, b"another passphrase, wrong"))
    assert "wrong" not in str(caught.value)
    with pytest.raises(LogKeyError, match="GOODSTRACE_KEY_PASSPHRASE_FILE"):
        only(KeyFolder(folder))


def test_keys_that_are_there_are_encrypted_in_their_place_and_stay_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = only(KeyFolder(folder), create=True)
    KeyFolder(folder).rotate(LOG)
    seed = (folder / "goods-0.key").read_text().strip()
    sealed = KeyFolder(folder, PASSPHRASE)
    assert sealed.encrypt(LOG)
    assert not sealed.encrypt(LOG)
    assert sealed.find(LOG, ORIGIN, create=False)[0].verifier == first.verifier
    assert all(seed not in path.read_text() for path in folder.iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    with pytest.raises(LogKeyError, match="no passphrase"):
        KeyFolder(folder).encrypt(LOG)


def test_a_key_that_changes_while_it_is_encrypted_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`keys rotate` and `keys encrypt` one after the other: the ledger puts the next key in the place of the old one
    meanwhile. If the old one were written there again, encrypted, the key in force would be lost for ever."""
    held = KeyFolder(tmp_path / "keys")
    first = only(held, create=True)
    held.rotate(LOG)
    _, following = held.find(LOG, ORIGIN, create=False)
    info = changed(info_of(first), first, following, 1)
    encode = key_text.encode
    with ThreadPoolExecutor(1) as ledger:

        def encode_slowly(seed: bytes, passphrase: bytes | None) -> str:
            settled.append(ledger.submit(held.settle, info))
            wait(settled, timeout=0.2)
            return encode(seed, passphrase)

        settled: list[Future[None]] = []
        monkeypatch.setattr(key_text, "encode", encode_slowly)
        KeyFolder(tmp_path / "keys", PASSPHRASE).encrypt(LOG)
        for each in settled:
            each.exception()
    assert following.verifier in [
        each.verifier for each in KeyFolder(tmp_path / "keys", PASSPHRASE).find(LOG, ORIGIN, create=False)
    ]


@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
def test_a_key_that_could_not_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Half a key, or one that is to be encrypted, would lie there in clear text under a name that nobody looks for."""
    held = KeyFolder(tmp_path / "keys", PASSPHRASE)
    if call == "replace":
        KeyFolder(tmp_path / "keys").generate(LOG)
    before = sorted(tmp_path.glob("keys/*"))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path if call == "replace" else os, call, full)
    with pytest.raises(LogKeyError, match="No space left"):
        held.encrypt(LOG) if call == "replace" else held.generate(LOG)
    assert sorted(tmp_path.glob("keys/*")) == before


def test_the_next_key_takes_the_place_of_the_one_it_followed(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    held = KeyFolder(folder)
    first = only(held, create=True)
    info = info_of(first)
    held.settle(info)
    old_text = (folder / "goods-0.key").read_text()
    for number in (1, 2):
        assert not held.may_have_next(LOG)
        assert held.rotate(LOG)
        assert held.may_have_next(LOG)
        assert not held.rotate(LOG), "one that is prepared is not made anew"
        current, following = held.find(LOG, ORIGIN, create=False)
        held.settle(info)
        assert len(held.find(LOG, ORIGIN, create=False)) == 2, "not registered yet: nothing is changed"
        info = changed(info, current, following, number)
        held.settle(info)
        held.settle(info)
        assert only(held).verifier == following.verifier
        assert (folder / "goods-0.vkey").read_text().strip() == info.vkey
        assert (folder / f"goods-0.{number}.vkey").read_text().strip() == current.verifier.vkey()
    assert all(path.read_text() != old_text for path in folder.iterdir()), "the old key is destroyed"
    assert LogKeys.load(folder).verifier(LOG).vkey() == info.vkey


def test_statements_of_a_store_whose_place_another_took_are_removed(tmp_path: Path) -> None:
    """In a store made anew from Kafka the key in force signed all there is: it never changed there."""
    folder = tmp_path / "keys"
    held = KeyFolder(folder)
    before = info_of(only(held, create=True))
    assert held.rotate(LOG)
    current, following = held.find(LOG, ORIGIN, create=False)
    held.settle(changed(before, current, following, 1))
    assert (folder / "goods-0.changes").exists()
    held.settle(info_of(following))
    assert not (folder / "goods-0.changes").exists()
    assert LogKeys.load(folder).verifier(LOG) == following.verifier


def test_a_key_that_was_announced_is_the_one_that_follows(tmp_path: Path) -> None:
    held = KeyFolder(tmp_path / "keys")
    only(held, create=True)
    assert held.prepared(LOG, ORIGIN) is None
    assert held.prepare(LOG)
    assert not held.prepare(LOG)
    announced = held.prepared(LOG, ORIGIN)
    assert announced is not None
    assert len(held.find(LOG, ORIGIN, create=False)) == 1, "announcing changes nothing"
    assert held.logs() == [LOG]
    assert held.rotate(LOG)
    assert held.prepared(LOG, ORIGIN) is None
    assert held.find(LOG, ORIGIN, create=False)[1].verifier == announced.verifier


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_folder_that_cannot_be_written_gives_its_keys_and_says_what_it_cannot(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "keys"
    first = only(KeyFolder(folder), create=True)
    folder.chmod(0o755)  # as mounts have it
    (folder / "goods-0.key").chmod(0o440)

    def refused(*_: Any) -> None:
        raise OSError(code, "no writing here")

    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr(files, "_scratch", refused)
    assert only(KeyFolder(folder)).verifier == first.verifier
    with capture_logs() as logged:
        KeyFolder(folder).settle(info_of(first))
    assert [line["vkey"] for line in logged] == [first.verifier.vkey()]
    assert not (folder / "goods-0.vkey").exists()
    (folder / "goods-0.key").chmod(0o444)
    with pytest.raises(LogKeyError, match="open to other users"):
        only(KeyFolder(folder))


def test_a_full_disk_is_not_taken_for_a_read_only_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = only(KeyFolder(tmp_path / "keys"), create=True)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_scratch", full)
    with pytest.raises(LogKeyError, match="No space left"):
        KeyFolder(tmp_path / "keys").settle(info_of(first))


def test_a_secret_is_in_no_repr(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys", PASSPHRASE)
    key = only(folder, create=True)
    plain = KeyFolder(tmp_path / "plain")
    other = only(plain, create=True)
    seed = (tmp_path / "plain" / "goods-0.key").read_text().strip()
    shown = f"{key!r} {other!r} {folder!r} {plain!r} {key} {folder}"
    assert seed not in shown
    assert PASSPHRASE.decode() not in shown
