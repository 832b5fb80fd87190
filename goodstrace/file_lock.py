"""Turns among processes and threads: an exclusive lock on a file beside what is shared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]


def lock_beside(path: Path) -> Path:
    """Name the lock file of a file: `.<name>.lock` in the same folder, which stays."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait until nobody else holds `lock`, and hold it (`flock`); a process that ends gives it up.

    Raises: OSError, also on a system without that lock (not POSIX).
    """
    if fcntl is None:
        raise OSError("this system has no flock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which gives the lock up
