"""The logs' keys: one Ed25519 key per log in a folder that only its owner can enter. Secrets are never logged.

`goods-0.key` holds the 32-byte seed as hex (mode 600), `goods-0.vkey` the public key as a C2SP vkey.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from goodstrace.errors import NoteError
from goodstrace.note import Signer
from services.sealing.errors import LogKeyError

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
SEED_BYTES: Final = 32


class KeyFolder:
    """Keys in files of one folder, which is made (mode 700) where it is not there."""

    def __init__(self, folder: Path) -> None:
        """Take the folder."""
        self._folder = folder

    def signer(self, log: str, origin: str, *, create: bool) -> Signer:
        """See Keys. A new key is on disk, synced, when this returns.

        Raises: LogKeyError, where it is missing and not to be made, malformed, or file or folder are open to others.
        """
        path = self._folder / f"{log.replace('/', '-')}.key"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_open(self._folder)
            if create and not path.exists():
                _create(path, secrets.token_hex(SEED_BYTES) + "\n")
            _refuse_open(path)
            signer = Signer(origin, _seed(path))
            _publish(path.with_suffix(".vkey"), signer.verifier.vkey() + "\n")
        except FileNotFoundError as error:
            raise LogKeyError(f"{path}: the log {log} is registered, but its key is not here") from error
        except (OSError, NoteError) as error:
            raise LogKeyError(f"{path}: {error}") from error
        return signer


def _seed(path: Path) -> bytes:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        # Not chained: the text is a secret, and an error's message may be logged.
        raise LogKeyError(f"{path} is not {SEED_BYTES} bytes as hex")
    return seed


def _refuse_open(path: Path) -> None:
    if path.stat().st_mode & _OTHERS:
        raise LogKeyError(f"{path} is open to other users: give the folder mode 700 and keys mode 600")


def _create(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a new file whole or not at all; where another process was first, its file counts."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _publish(path: Path, text: str) -> None:
    if not path.exists():
        _create(path, text, mode=0o644)
    if path.read_text() != text:
        raise LogKeyError(f"{path} holds another public key than that of the private key beside it")
