"""How a client gets from the log key that it trusts to the one in force now, and does not forget it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from goodstrace.errors import KeyChangeError
from goodstrace.key_changes import MAX_CHANGES, KeyChange, parse, statement
from goodstrace.log_keys import LogKeys
from goodstrace.memory import CheckpointMemory, keys_name


class KeyFollower:
    """Follows the changes of logs' keys where a checkpoint is signed by another key than the one known."""

    def __init__(
        self, keys: LogKeys, memory: CheckpointMemory, fetch: Callable[[str], Iterable[bytes]]
    ) -> None:
        """Teach `keys` what `memory` remembers and `fetch` gives: the statements of a log's changes, oldest first."""
        self._keys = keys
        self._memory = memory
        self._fetch = fetch
        self._recalled: set[str] = set()

    def follow(self, log: str, note: str) -> None:
        """Learn what is needed to verify a log's checkpoint; where it cannot be learnt, verifying it says so.

        What was followed is remembered: from then on a checkpoint that the retired key signs for a later size is refused,
        and so are other changes than these.

        Raises: KeyChangeError, NoteError, CheckpointError; RememberedError; whatever `fetch` raises.
        """
        if log not in self._keys.logs():
            return
        if log not in self._recalled:
            self._recall(keys_name(self._keys.verifier(log).name))
            self._recalled.add(log)
        if not self._keys.is_signed(log, note):
            self.follow_all(log)

    def follow_all(self, log: str) -> None:
        """Learn all changes of a known log's key, also those to keys that have signed no checkpoint yet; it raises what `follow` does."""
        if self._keys.follow(_parsed(log, list(self._fetch(log)))):
            self._remember(log, keys_name(self._keys.verifier(log).name))

    def _recall(self, name: str) -> str | None:
        said = self._memory.get(name)
        try:
            self._keys.follow([parse(line) for line in (said or "").splitlines()])
        except KeyChangeError as error:
            raise KeyChangeError(f"remembered as {name!r}: {error}") from error
        return said

    def _remember(self, log: str, name: str) -> None:
        """Remember what was followed, unless another client of the same memory has remembered as much by now."""
        said = self._recall(name)  # refuses other changes than ours
        while self._text(log) != (said or "") and not self._memory.replace(name, said, self._text(log)):
            said = self._recall(name)

    def _text(self, log: str) -> str:
        return b"\n".join(map(statement, self._keys.changes(log))).decode()


def _parsed(log: str, statements: list[bytes]) -> list[KeyChange]:
    """Read what was fetched. Raises: KeyChangeError, also where it is too much, or of another log."""
    if len(statements) > MAX_CHANGES:
        raise KeyChangeError(f"the log {log} shows over {MAX_CHANGES} changes of its key")
    changes = [parse(each) for each in statements]
    for change in changes:
        if change.log != log:
            raise KeyChangeError(f"asked for the changes of {log} and got those of {change.log}")
    return changes
