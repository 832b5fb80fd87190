"""Where `fsck` was when it was interrupted: one file, written whole or not at all.

For each log it holds the edge of the tree, the last header, and what was found: kilobytes, however long the log is. It is
bound to the store, the keys and the options of the run, and to each log by its last block, so that a stale one is noticed.
"""

from pathlib import Path

import msgspec

from goodstrace import block as blocks
from goodstrace.errors import VerificationError
from services.runtime.errors import SettingsError
from services.sealing.fsck.feeding import Progress
from services.sealing.fsck.scan import LogDocuments
from services.sealing.fsck.verifier import Edge


class _State(msgspec.Struct):
    of: str
    logs: dict[str, Progress] = {}


class StateFile:
    """Progress by log, on disk."""

    def __init__(self, path: Path, of: str) -> None:
        """Read the file where it is there and of the same run. Raises: SettingsError where it is no state file."""
        self._path = path
        self._state = _State(of)
        try:
            found = msgspec.json.decode(path.read_bytes(), type=_State)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError, VerificationError) as error:
            raise SettingsError(f"{path}: not a state of fsck: {error}; remove it to begin anew") from error
        if found.of == of:
            self._state = found

    def progress(self, log: str) -> Progress | None:
        """Give where a log's check was."""
        return self._state.logs.get(log)

    def keep(self, log: str, progress: Progress) -> None:
        """Put on disk where a log's check is. Raises: SettingsError."""
        self._state.logs[log] = progress
        scratch = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(msgspec.json.encode(self._state))
            scratch.replace(self._path)
        except OSError as error:
            raise SettingsError(f"cannot write the state: {error}") from error

    def remove(self) -> None:
        """Forget all: the run is over."""
        self._path.unlink(missing_ok=True)


async def is_of(store: LogDocuments, log: str, edge: Edge) -> bool:
    """Tell whether a log still has the block that an edge ends with, and the edge the root that the block says."""
    if edge.height == 0 or edge.previous is None:
        return edge.height == 0
    document = await store.block(log, edge.height - 1)
    try:
        header = blocks.decode(edge.previous)
    except VerificationError:
        return False
    same = (header.root, header.size) == (edge.tree.frontier.root().hex(), edge.size)
    return document is not None and document.get("header") == edge.previous and same
