"""`RingFile`: the key-encryption keys of a file, read again when it changes, so that another key takes over while services run.

One key a line, 64 hexadecimal digits, the newest first. Looking whether the file changed is one `stat` for each key that is wrapped or opened.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

from goodstrace.durable import replace_file
from services.runtime.vault.errors import VaultError
from services.runtime.vault.wrapping import KeyRing


class RingFile:
    """A `Ring` that is always what its file says."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises: OSError; ValueError where it holds no proper keys."""
        self._path = path
        self._seen = _state(path)  # before it is read: what changes in between is read again
        self._ring = read_ring(path)

    @property
    def newest(self) -> str:
        """The name of the newest key."""
        return self._ring.newest

    def wrap(self, secret: bytes, about: bytes, nonce: bytes) -> dict[str, Any]:
        """Wrap a secret under the newest key of the file.

        Raises: VaultError where the file cannot be read now: a key that is not in it any more must not wrap.
        """
        try:
            self._follow()
        except (OSError, ValueError) as error:
            raise VaultError(f"cannot read the vault's keys in {self._path}: {error}") from error
        return self._ring.wrap(secret, about, nonce)

    def unwrap(self, document: dict[str, Any], about: bytes) -> bytes:
        """Open a document's secret. Raises: VaultError."""
        with contextlib.suppress(OSError, ValueError):  # what was read before may still open it, or says so
            self._follow()
        return self._ring.unwrap(document, about)

    def _follow(self) -> None:
        state = _state(self._path)
        if state != self._seen:
            self._ring, self._seen = read_ring(self._path), state


def read_ring(path: Path) -> KeyRing:
    """Read the keys that are in a file now. Raises: OSError; ValueError where it holds no proper keys."""
    return KeyRing(tuple(bytes.fromhex(line) for line in path.read_text(encoding="utf-8").split()))


def write_ring(path: Path, keys: tuple[bytes, ...]) -> KeyRing:
    """Put keys, the newest first, in the place of those in a file, mode 600; durable when this returns. Raises: OSError, ValueError."""
    ring = KeyRing(keys)
    replace_file(path, "".join(f"{key.hex()}\n" for key in keys))
    return ring


def _state(path: Path) -> tuple[int, ...]:
    found = os.stat(path)  # noqa: PTH116 - for each key: the shortest way
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
