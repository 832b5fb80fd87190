"""How far interrupted work was, log by log: one small file, written whole or not at all."""

from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from goodstrace.errors import VerificationError
from services.runtime.errors import SettingsError

T = TypeVar("T")


class _State(msgspec.Struct, Generic[T]):
    of: str
    logs: dict[str, T] = {}


class StateFile(Generic[T]):
    """Values by log, on disk; bound by a text to the work that they are of."""

    def __init__(self, path: Path, of: str, kind: type[T]) -> None:
        """Read the file where it is there; what it says of other work than `of` does not count.

        Raises: SettingsError where it is no such file.
        """
        self._path = path
        self._state: _State[T] = _State(of)
        self.of_other_work = False
        """Whether there is a file, of other work: it is replaced by the next `write`."""
        try:
            found = msgspec.json.decode(path.read_bytes(), type=_State[kind])  # type: ignore[valid-type]
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError, VerificationError) as error:
            raise SettingsError(f"{path}: not a state file: {error}; remove it to begin anew") from error
        if found.of == of:
            self._state = found
        else:
            self.of_other_work = True

    def get(self, log: str) -> T | None:
        """Give what was kept of a log."""
        return self._state.logs.get(log)

    def logs(self) -> list[str]:
        """List the logs of which something was kept."""
        return sorted(self._state.logs)

    def keep(self, log: str, value: T) -> None:
        """Remember a log's value until `write`."""
        self._state.logs[log] = value

    def forget(self, log: str) -> None:
        """Forget a log's value: its work is done."""
        self._state.logs.pop(log, None)

    def write(self) -> None:
        """Put what is remembered on disk. Raises: SettingsError."""
        scratch = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(msgspec.json.encode(self._state))
            scratch.replace(self._path)
        except OSError as error:
            raise SettingsError(f"cannot write the state: {error}") from error

    def remove(self) -> None:
        """Forget all: the work is done."""
        self._path.unlink(missing_ok=True)
