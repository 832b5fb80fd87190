"""What a client remembers between answers: of each log the newest checkpoint that it has verified, and its keys."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Protocol

from goodstrace.errors import RememberedError


class CheckpointMemory(Protocol):
    """Remembers one signed note per origin, and the changes of a log's key under the name that `keys_name` gives."""

    def get(self, origin: str) -> str | None:
        """Give the note remembered for an origin."""

    def put(self, origin: str, note: str) -> None:
        """Remember a note in the place of the one before."""


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

    def put(self, origin: str, note: str) -> None:
        """Remember a note in the place of the one before."""
        self._notes[origin] = note


class FileMemory:
    """Remembers in a JSON file, replaced as a whole at each change so that no reader meets half of it."""

    def __init__(self, path: Path) -> None:
        """Use the file at `path`, made with its folder at the first change."""
        self._path = path

    def get(self, origin: str) -> str | None:
        """Give the note remembered for an origin. Raises: RememberedError where the file cannot be read."""
        return self._read().get(origin)

    def put(self, origin: str, note: str) -> None:
        """Remember a note in the place of the one before; durable when this returns. Raises: RememberedError."""
        notes = {**self._read(), origin: note}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._replace(json.dumps(notes, indent=1, sort_keys=True))
        except OSError as error:
            raise RememberedError(f"cannot remember checkpoints in {self._path}: {error}") from error

    def _replace(self, text: str) -> None:
        """Write beside the file, then rename over it: a crash leaves the old file or the new one, and no third."""
        descriptor, name = tempfile.mkstemp(prefix=self._path.name, dir=self._path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

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
