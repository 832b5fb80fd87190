"""A document store on a disk of its own that can be full: the real store, and the file system's own error."""

import contextlib
import random
import resource
import subprocess
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from deploy.document_store import DocumentStore
from deploy.processes import free_port

SIZE = "64m"
MOST_JUNK = 1000
_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class StoreOnDisk:
    """A store whose data are on a small disk in memory: full is full (ENOSPC).

    Where this machine lets nobody mount (a container without the right), the store's process is forbidden to let a file
    grow instead (RLIMIT_FSIZE, EFBIG): another number of the same refusal.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._ballast = folder, folder / "ballast"
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        )
        self.kind = "a full disk (ENOSPC)" if mounted.returncode == 0 else "files that may not grow (EFBIG)"
        self._mounted = mounted.returncode == 0
        self.store = DocumentStore(folder, free_port())

    def start(self) -> None:
        """Start the store, or start it again."""
        self.store.start()
        self.store.wait_ready()

    def fill(self) -> None:
        """Leave no room on the disk, then none in the files that the store has already: it refuses to write."""
        if self._mounted:
            with self._ballast.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
                while ballast.write(bytes(4096)):
                    pass
        else:
            self._limit((1, resource.RLIM_INFINITY))
        with MongoClient[dict[str, object]](self.store.uri, timeoutMS=5000) as client:
            junk = client.get_database("junk").get_collection("junk")
            for _ in range(MOST_JUNK):
                with contextlib.suppress(PyMongoError):
                    junk.insert_one({"junk": random.randbytes(100_000)})
                try:
                    junk.insert_one({"junk": "little"})
                except PyMongoError:  # refused, or left without an answer
                    return
        raise AssertionError("the store still writes")

    def free(self) -> None:
        """Make room again."""
        if not self._mounted:
            self._limit(_UNLIMITED)
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """End the store and give the disk back."""
        self.store.kill()
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self._folder)], check=True)

    def _limit(self, limits: tuple[int, int]) -> None:
        process = self.store.daemon.process
        assert process is not None
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
