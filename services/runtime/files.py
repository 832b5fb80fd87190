"""Files that must be on disk, whole, before anything goes on: keys, evidence."""

import os
import secrets
from pathlib import Path


def create_whole(path: Path, data: bytes, *, mode: int = 0o600) -> bool:
    """Write a new file whole or not at all; it and its name are on disk, synced, when this returns.

    Returns: whether it was written; where there is one of that name already, that one stays as it is.
    Raises: OSError.
    """
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(scratch, path)
    except FileExistsError:
        return False
    finally:
        scratch.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
