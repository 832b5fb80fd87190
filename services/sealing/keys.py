"""The logs' keys: one Ed25519 key per log in a folder that only its owner can enter. Secrets are never logged.

Of the log goods/0 the folder has `goods-0.key`, the private key (mode 600; services.sealing.key_text says in what form);
`goods-0.prepared.key`, one that was only announced yet; `goods-0.next.key`, the one that shall follow with the next
block; and, for everybody, `goods-0.vkey`, the public
key in force (C2SP vkey), `goods-0.1.vkey` and so on, those before it, and `goods-0.changes`, the statements that lead from
one to the next, one a line. A folder that cannot be written, such as a mounted secret, only gives keys.
"""

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import structlog

from goodstrace import key_changes
from goodstrace.log_keys import CHANGES_SUFFIX, VKEY_SUFFIX
from goodstrace.note import Signer, SigningKey
from services.runtime.files import create_whole, is_too_open, replace_whole, sync_folder
from services.sealing import key_text
from services.sealing.errors import LogKeyError
from services.sealing.key_text import SEED_BYTES
from services.sealing.values import LogInfo

KEY_SUFFIX: Final = ".key"
NEXT_SUFFIX: Final = ".next.key"
PREPARED_SUFFIX: Final = ".prepared.key"
_READ_ONLY: Final = (errno.EROFS, errno.EACCES, errno.EPERM)
_LOG: Final = structlog.get_logger()


class KeyFolder:
    """Keys in files of one folder, which is made (mode 700) where it is not there."""

    def __init__(self, folder: Path, passphrase: bytes | None = None) -> None:
        """Take the folder; new keys are encrypted where there is a passphrase, which opens those that are."""
        self._folder = folder
        self._passphrase = passphrase

    def find(self, log: str, origin: str, *, create: bool) -> Sequence[SigningKey]:
        """See Keys. A new key is on disk, synced, when this returns.

        Raises: LogKeyError, where it is missing and not to be made, malformed, or file or folder are open to others.
        """
        if create and not self.path(log).exists():
            self.generate(log)
        paths = [path for path in (self.path(log), self.next_path(log)) if path.exists()]
        if not paths:
            raise LogKeyError(f"{self.path(log)}: the log {log} is registered, but its key is not here")
        return [Signer(origin, self._seed(path)) for path in paths]

    def may_have_next(self, log: str) -> bool:
        """See Keys."""
        return self.next_path(log).exists()

    def settle(self, info: LogInfo) -> None:
        """See Keys. The key that was followed is destroyed by the next one taking its name; its public key is kept.

        Raises: LogKeyError, also where `*.vkey` has a key that the log never had: somebody put other keys here.
        """
        known = {info.vkey, *(change.old for change in info.changes)}
        vkey = self._public(info.name, VKEY_SUFFIX)
        try:
            published = vkey.read_text() if vkey.exists() else ""
            if published and published.strip() not in known:
                raise LogKeyError(f"{vkey} holds another public key than that of the log {info.name}")
            for number, change in enumerate(info.changes, 1):
                _put(self._public(info.name, f".{number}{VKEY_SUFFIX}"), change.old + "\n")
            if info.changes:
                lines = b"".join(key_changes.statement(change) + b"\n" for change in info.changes)
                _put(self._public(info.name, CHANGES_SUFFIX), lines.decode())
            else:
                self._forget_changes(info)
            _put(vkey, info.vkey + "\n")
            self._take_next(info)
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise LogKeyError(f"{self._folder}: {error}") from error
            _LOG.warning("public key not written: the key folder is read-only", log=info.name, vkey=info.vkey)

    def path(self, log: str) -> Path:
        """Name the file of a log's private key."""
        return self._public(log, KEY_SUFFIX)

    def next_path(self, log: str) -> Path:
        """Name the file of the key that shall follow."""
        return self._public(log, NEXT_SUFFIX)

    def prepared_path(self, log: str) -> Path:
        """Name the file of a key that was only announced yet."""
        return self._public(log, PREPARED_SUFFIX)

    def generate(self, log: str) -> bool:
        """Make a log's first key; False where it has one already, which is left. Raises: LogKeyError."""
        return self._made(self.path(log))

    def prepare(self, log: str) -> bool:
        """Make a key to announce; False where there is one already, which is left. Raises: LogKeyError."""
        return self._made(self.prepared_path(log))

    def prepared(self, log: str, origin: str) -> SigningKey | None:
        """Give the key that was only announced yet. Raises: LogKeyError."""
        path = self.prepared_path(log)
        return Signer(origin, self._seed(path)) if path.exists() else None

    def rotate(self, log: str) -> bool:
        """Let the prepared key, or one made now, be the one that shall follow; False where there is one. Raises: LogKeyError."""
        following, prepared = self.next_path(log), self.prepared_path(log)
        if following.exists() or not prepared.exists():
            return self._made(following)
        try:
            prepared.replace(following)
            sync_folder(self._folder)
        except OSError as error:
            raise LogKeyError(f"{following}: {error}") from error
        return True

    def encrypt(self, log: str) -> bool:
        """Encrypt a log's key files in their place; False where all were. Raises: LogKeyError."""
        if self._passphrase is None:
            raise LogKeyError("there is no passphrase to encrypt with")
        paths = (self.path(log), self.next_path(log), self.prepared_path(log))
        if not any(path.exists() for path in paths):
            return False
        with _alone(self._folder):
            done = [self._encrypted(path, self._passphrase) for path in paths if path.exists()]
        return any(done)

    def is_encrypted(self, path: Path) -> bool:
        """Tell whether a key file is encrypted. Raises: LogKeyError where it cannot be read."""
        return key_text.is_encrypted(_read(path))

    def logs(self) -> list[str]:
        """Name the logs that have a key here, as far as their files' names tell."""
        names = {path.name for path in self._folder.glob(f"*{KEY_SUFFIX}")}
        first = (name for name in names if not name.endswith((NEXT_SUFFIX, PREPARED_SUFFIX)))
        return sorted(_log_of(name.removesuffix(KEY_SUFFIX)) for name in first)

    def _public(self, log: str, suffix: str) -> Path:
        return self._folder / f"{log.replace('/', '-')}{suffix}"

    def _made(self, path: Path) -> bool:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_open(self._folder)
            return create_whole(
                path, key_text.encode(secrets.token_bytes(SEED_BYTES), self._passphrase).encode()
            )
        except OSError as error:
            raise LogKeyError(f"{path}: {error}") from error

    def _seed(self, path: Path) -> bytes:
        return key_text.decode(_read(path), self._passphrase, str(path))

    def _encrypted(self, path: Path, passphrase: bytes) -> bool:
        """Encrypt a key file in its place; False where it was."""
        if self.is_encrypted(path):
            return False
        try:
            replace_whole(path, key_text.encode(self._seed(path), passphrase).encode(), mode=0o600)
        except OSError as error:
            raise LogKeyError(f"{path}: {error}") from error
        return True

    def _forget_changes(self, info: LogInfo) -> None:
        """Remove statements of a store whose place one took that was made anew: there one key signed from the first block on."""
        path = self._public(info.name, CHANGES_SUFFIX)
        if path.exists():
            _LOG.warning(
                "statements removed: the log's key never changed in this store", log=info.name, path=str(path)
            )
            path.unlink()
            sync_folder(self._folder)

    def _take_next(self, info: LogInfo) -> None:
        """Give the next key the name of the one it followed, which ends the old one, in one step."""
        following = self.next_path(info.name)
        if not following.exists():
            return
        with _alone(self._folder):
            if Signer(info.origin, self._seed(following)).verifier.vkey() == info.vkey:
                following.replace(self.path(info.name))
                sync_folder(self._folder)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from replacing files of the folder meanwhile, on file systems that know locks of folders."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    """Read a private key's file, unless others may as well. Raises: LogKeyError."""
    try:
        _refuse_open(path.parent)
        _refuse_open(path)
        with path.open("rb") as file:
            return file.read(key_text.MAX_TEXT_BYTES)
    except OSError as error:
        raise LogKeyError(f"{path}: {error}") from error


def _refuse_open(path: Path) -> None:
    if is_too_open(path):
        raise LogKeyError(f"{path} is open to other users: give the folder mode 700 and keys mode 600")


def _put(path: Path, text: str) -> None:
    """Make a public file say this, unless it does; no reader meets half of it."""
    if not path.exists() or path.read_text() != text:
        replace_whole(path, text.encode(), mode=0o644)


def _log_of(stem: str) -> str:
    name, _, number = stem.rpartition("-")
    return f"{name}/{number}" if name and number.isdigit() else stem
