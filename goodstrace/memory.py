"""What a client remembers between answers: of each log the newest checkpoint that it has verified, and its keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

from goodstrace.durable import replace_file
from goodstrace.errors import RememberedError
from goodstrace.file_lock import alone, lock_beside


class CheckpointMemory(Protocol):
    """Remembers one signed note per origin, and the changes of a log's key under the name that `keys_name` gives.

    Several clients may share one: who remembers a note says which one it has compared it with.
    """

    def get(self, origin: str) -> str | None:
        """Give the note remembered for an origin."""

    def replace(self, origin: str, before: str | None, note: str) -> bool:
        """Remember a note in the place of `before`, None where nothing was remembered.

        Returns: False where something else is remembered meanwhile, which then stays: compare with that.
        """


def keys_name(origin: str) -> str:
    """Name what is remembered of the changes of a log's key: no origin has a space."""
    return f"{origin} keys"


class VolatileMemory:
    """Remembers as long as the process runs."""

    def __init__(self) -> None:
        """Start empty."""
        self._notes: dict[str, str] = {}

    def get(self, origin: str) -> str | None:
        """Give the note remembered for an origin."""
        return self._notes.get(origin)

    def replace(self, origin: str, before: str | None, note: str) -> bool:
        """Remember a note in the place of `before`; see CheckpointMemory."""
        if self._notes.get(origin) != before:
            return False
        self._notes[origin] = note
        return True


class FileMemory:
    """Remembers in a JSON file, replaced as a whole at each change so that no reader meets half of it.

    Any number of processes and threads may share the file: changes take turns by a lock (`flock`) on a file beside it,
    `.<name>.lock`, which stays. Systems without that lock (not POSIX) can read and not remember.
    """

    def __init__(self, path: Path) -> None:
        """Use the file at `path`, made with its folder at the first change."""
        self._path = path

    def get(self, origin: str) -> str | None:
        """Give the note remembered for an origin. Raises: RememberedError where the file cannot be read."""
        return self._read().get(origin)

    def replace(self, origin: str, before: str | None, note: str) -> bool:
        """Remember a note in the place of `before`, durable when this returns; see CheckpointMemory.

        Raises: RememberedError.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with alone(
                lock_beside(self._path)
            ):  # what another remembers between our reading and writing would be lost
                notes = self._read()
                if notes.get(origin) != before:
                    return False
                replace_file(self._path, json.dumps({**notes, origin: note}, indent=1, sort_keys=True))
        except OSError as error:
            raise RememberedError(f"cannot remember checkpoints in {self._path}: {error}") from error
        return True

    def _read(self) -> dict[str, str]:
        try:
            notes = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise RememberedError(
                f"cannot read the remembered checkpoints in {self._path}: {error}"
            ) from error
        if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
            raise RememberedError(f"{self._path} does not hold remembered checkpoints")
        return notes
