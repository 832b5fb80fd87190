"""The public keys of the logs that a client trusts, by the log's name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from goodstrace.errors import NoteError, UnknownLogError
from goodstrace.note import Verifier

ROOT_LOG: Final = "root"
"""The name of the log above all others: its entries are their checkpoints."""


class LogKeys:
    """Verifier keys by log name: a key's own name is the log's origin, which ends with the log's name.

    They come from the operator by another way than the answers they verify: a file, a page, a partner.
    """

    def __init__(self, verifiers: Iterable[Verifier]) -> None:
        """Index the keys. Raises: NoteError where two keys claim one log, or a name has no log in it."""
        self._by_log: dict[str, Verifier] = {}
        for verifier in verifiers:
            log = log_of(verifier.name)
            if log in self._by_log and self._by_log[log] != verifier:
                raise NoteError(f"two keys claim the log {log}: {self._by_log[log].name} and {verifier.name}")
            self._by_log[log] = verifier

    @classmethod
    def parse(cls, vkeys: Iterable[str]) -> LogKeys:
        """Read keys from their text form, one each; empty lines and lines with '#' are passed over. Raises: NoteError."""
        lines = (line.strip() for line in vkeys)
        return cls(Verifier.parse(line) for line in lines if line and not line.startswith("#"))

    @classmethod
    def load(cls, path: Path) -> LogKeys:
        """Read keys from a file of vkey lines, or from all `*.vkey` files of a folder.

        Raises: NoteError where there is none or one is malformed.
        """
        files = sorted(path.glob("*.vkey")) if path.is_dir() else [path]
        try:
            lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise NoteError(f"cannot read log keys from {path}: {error}") from error
        keys = cls.parse(lines)
        if not keys.logs():
            raise NoteError(f"no log keys in {path}: get the *.vkey files of the logs from their operator")
        return keys

    def logs(self) -> list[str]:
        """List the names of the logs whose keys are known."""
        return sorted(self._by_log)

    def verifier(self, log: str) -> Verifier:
        """Find the key of a log. Raises: UnknownLogError."""
        try:
            return self._by_log[log]
        except KeyError:
            raise UnknownLogError(
                f"no trusted key for the log {log!r}: add its vkey to the log keys"
            ) from None

    def __iter__(self) -> Iterator[Verifier]:
        return iter(self._by_log.values())


def log_of(origin: str) -> str:
    """Give the log's name within its origin: the last two components, such as "goods/3", or "root". Raises: NoteError."""
    components = origin.split("/")
    if len(components) >= 3 and components[-1] == ROOT_LOG:  # after the name and the instance
        return ROOT_LOG
    if len(components) < 3 or not components[-1].isdigit():  # name, instance, then the log's two
        raise NoteError(f"{origin!r} is not the origin of a log")
    return "/".join(components[-2:])
