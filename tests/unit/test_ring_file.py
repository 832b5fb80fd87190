"""The key-encryption keys of a file, followed as it changes."""

import os
from pathlib import Path

import pytest

from services.runtime.vault.errors import VaultError
from services.runtime.vault.ring_file import RingFile, read_ring, write_ring
from services.runtime.vault.wrapping import KeyRing

OLD, NEW = b"o" * 32, b"n" * 32
ABOUT, NONCE = b"about", bytes(12)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "vault-keys"
    write_ring(made, (OLD,))
    return made


def test_another_key_takes_over_and_the_old_one_is_forgotten(path: Path) -> None:
    ring = RingFile(path)
    under_old = ring.wrap(b"secret", ABOUT, NONCE)
    write_ring(path, (NEW, OLD))
    under_new = ring.wrap(b"secret", ABOUT, NONCE)
    assert under_new["kek"] == KeyRing((NEW,)).newest == ring.newest
    assert ring.unwrap(under_old, ABOUT) == ring.unwrap(under_new, ABOUT) == b"secret"
    write_ring(path, (NEW,))
    with pytest.raises(VaultError, match="put it back"):
        ring.unwrap(under_old, ABOUT)


def test_what_was_wrapped_by_another_process_under_a_newer_key_opens(path: Path) -> None:
    ring = RingFile(path)
    write_ring(path, (NEW, OLD))
    assert ring.unwrap(KeyRing((NEW,)).wrap(b"secret", ABOUT, NONCE), ABOUT) == b"secret"


@pytest.mark.parametrize("text", [None, "", "zz", "00" * 31])
def test_while_the_file_cannot_be_read_nothing_is_wrapped_and_what_is_opens(
    path: Path, text: str | None
) -> None:
    ring = RingFile(path)
    wrapped = ring.wrap(b"secret", ABOUT, NONCE)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(VaultError, match="cannot read"):
        ring.wrap(b"secret", ABOUT, NONCE)
    assert ring.unwrap(wrapped, ABOUT) == b"secret"
    write_ring(path, (NEW, OLD))
    assert ring.wrap(b"secret", ABOUT, NONCE)["kek"] == KeyRing((NEW,)).newest


def test_a_ring_is_written_whole_for_its_owner_alone(path: Path) -> None:
    path.chmod(0o644)
    write_ring(path, (NEW, OLD))
    assert read_ring(path).keys == (NEW, OLD)
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208 - hidden ones too
    with pytest.raises(ValueError, match="1 to 16"):
        write_ring(path, ())
    assert read_ring(path).keys == (NEW, OLD)
