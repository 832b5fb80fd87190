"""Files that must be on disk, whole, before anything goes on: keys, evidence."""

import os
import secrets
import stat
from pathlib import Path


def create_whole(path: Path, data: bytes, *, mode: int = 0o600) -> bool:
    """Write a new file whole or not at all; it and its name are on disk, synced, when this returns.

    Returns: whether it was written; where there is one of that name already, that one stays as it is.
    Raises: OSError.
    """
    scratch = _scratch(path, data, mode)
    try:
        os.link(scratch, path)
    except FileExistsError:
        return False
    finally:
        scratch.unlink()
    sync_folder(path.parent)
    return True


def replace_whole(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file whole or not at all, in the place of one that may be there; synced when this returns.

    Raises: OSError.
    """
    scratch = _scratch(path, data, mode)
    try:
        scratch.replace(path)
    except OSError:
        scratch.unlink()
        raise
    sync_folder(path.parent)


def is_too_open(path: Path) -> bool:
    """Say whether others may use a secret, or enter the folder of secrets, that only its owner should.

    In a folder that we cannot write, such as a Secret that Kubernetes mounts, modes are the mount's: the folder is open, and the group reads files.
    Raises: OSError.
    """
    status = path.stat()
    is_folder = stat.S_ISDIR(status.st_mode)
    if os.access(path if is_folder else path.parent, os.W_OK):
        return bool(status.st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    return not is_folder and bool(status.st_mode & stat.S_IRWXO)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk. Raises: OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _scratch(path: Path, data: bytes, mode: int) -> Path:
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        scratch.unlink()
        raise
    return scratch
