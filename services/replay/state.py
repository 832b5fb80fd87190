"""Where `replay verify` was when it was interrupted: one small file, written whole or not at all."""

from pathlib import Path

import msgspec

from services.replay.comparing import Mark
from services.runtime.errors import ServiceError


class Progressed(msgspec.Struct):
    """Marks by log, of one comparison: another store, topic or instance is another `of`."""

    of: str
    marks: dict[str, Mark] = {}


class StateFile:
    """Marks on disk."""

    def __init__(self, path: Path, of: str) -> None:
        """Read the file where it is there and is of the same comparison. Raises: ServiceError where it is none."""
        self._path = path
        self._state = Progressed(of)
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Progressed)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            raise ServiceError(f"{path}: {error}; remove it to begin anew") from error
        if found.of == of:
            self._state = found

    def mark(self, log: str) -> Mark:
        """Give where to go on with a log; the beginning where nothing is known."""
        return self._state.marks.get(log, Mark(log))

    def keep(self, mark: Mark) -> None:
        """Remember a mark."""
        self._state.marks[mark.log] = mark

    def write(self) -> None:
        """Put what is remembered on disk. Raises: ServiceError."""
        scratch = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(msgspec.json.encode(self._state))
            scratch.replace(self._path)
        except OSError as error:
            raise ServiceError(f"cannot write the state: {error}") from error

    def remove(self) -> None:
        """Forget all: the comparison is over."""
        self._path.unlink(missing_ok=True)
