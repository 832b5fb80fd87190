"""The public keys of the logs that a client trusts, by the log's name, and how they changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from goodstrace import key_changes
from goodstrace.checkpoint import Checkpoint, open_checkpoint
from goodstrace.errors import KeyChangeError, NoteError, TrustFileError, UnknownLogError
from goodstrace.key_changes import KeyChange
from goodstrace.note import Verifier, parse_note

ROOT_LOG: Final = "root"
"""The name of the log above all others: its entries are their checkpoints."""
INDEX_LOG: Final = "index"
"""The name of the log whose entries prove that answers are complete."""
SINGLE_LOGS: Final = (ROOT_LOG, INDEX_LOG)
"""The logs that are the only ones of their kind, and have no number in their name."""
VKEY_SUFFIX: Final = ".vkey"
CHANGES_SUFFIX: Final = ".changes"
_LOG: Final = re.compile(r"[a-z][a-z0-9.]*/[0-9]+", re.ASCII)
_RETIRED: Final = re.compile(r"\.[0-9]+\.vkey\Z")


class LogKeys:
    """Verifier keys by log name: a key's own name is the log's origin, which ends with the log's name.

    They come from the operator by another way than the answers they verify: a file, a page, a partner. From a key that is
    trusted, `follow` goes on to those that it and each after it named as the next.
    """

    def __init__(self, verifiers: Iterable[Verifier]) -> None:
        """Index the keys. Raises: NoteError where two keys claim one log, or a name has no log in it."""
        self._by_log: dict[str, Verifier] = {}
        self._changes: dict[str, tuple[KeyChange, ...]] = {}
        for verifier in verifiers:
            log = log_of(verifier.name)
            if log in self._by_log and self._by_log[log] != verifier:
                raise _two_claim(log, self._by_log[log], verifier)
            self._by_log[log] = verifier

    @classmethod
    def parse(cls, vkeys: Iterable[str]) -> LogKeys:
        """Read keys from their text form, one each; empty lines and lines with '#' are passed over. Raises: NoteError."""
        return cls(Verifier.parse(line) for _, line in _numbered(vkeys))

    @classmethod
    def load(cls, path: Path) -> LogKeys:
        """Read keys from a file of vkey lines, or from a folder.

        Of a folder all `*.vkey` files are read but those of retired keys (`goods-0.1.vkey`), and the logs' changes of key
        (`*.changes`, one statement a line), where they are there, are followed.

        Raises: TrustFileError where there is no key, or a key or a change is malformed or has no key to go on from, with file and line;
            KeyChangeError, with the file, where a change is well-formed and does not hold: such a one somebody made.
        """
        files, changes = [path], list[Path]()
        if path.is_dir():
            files = [each for each in sorted(path.glob(f"*{VKEY_SUFFIX}")) if not is_retired(each)]
            changes = sorted(path.glob(f"*{CHANGES_SUFFIX}"))
        try:
            texts = {file: file.read_text(encoding="utf-8") for file in files}
            statements = {file: file.read_text(encoding="utf-8") for file in changes}
        except (OSError, UnicodeDecodeError) as error:
            raise TrustFileError(f"cannot read log keys from {path}: {error}") from error
        verifiers = [verifier for file, text in texts.items() for verifier in _keys_in(text, file)]
        if not verifiers:
            raise TrustFileError(
                f"no log keys in {path}: get the *.vkey files of the logs from their operator"
            )
        try:
            keys = cls(verifiers)
        except NoteError as error:
            raise TrustFileError(f"{path}: {error}") from error
        for file, text in statements.items():
            keys._follow_file(file, text)
        return keys

    @classmethod
    def joined(cls, *all_keys: LogKeys) -> LogKeys:
        """Trust what each of these trusts, and keep the changes of keys that each has followed.

        Where two know keys of one log, changes that were followed must lead from one to the other.

        Raises: NoteError where they do not, and two keys claim one log; KeyChangeError where the changes contradict.
        """
        joined = cls(())
        for keys in all_keys:
            for log in keys.logs():
                joined._join(log, keys.verifier(log), keys.changes(log))
        return joined

    def _join(self, log: str, verifier: Verifier, changes: Sequence[KeyChange]) -> None:
        """Add a log's key in force by other keys, and how it came to be."""
        known = self._by_log.get(log, verifier)
        together: tuple[KeyChange, ...] = ()
        for each in sorted(filter(None, (self.changes(log), changes)), key=lambda some: some[0].size):
            longer = key_changes.joined(together, each)
            if longer is None:
                raise KeyChangeError(f"the log {log} shows two different successions of its keys")
            together = longer
        key_changes.verify_succession(together)
        succession = _vkeys_of(together) if together else (known.vkey(),)
        if not {known.vkey(), verifier.vkey()} <= set(succession):
            raise _two_claim(log, known, verifier)
        self._by_log[log] = Verifier.parse(succession[-1])
        if together:
            self._changes[log] = together

    def _follow_file(self, file: Path, text: str) -> None:
        changes = list(_changes_in(text, file))
        try:
            self.follow(changes)
        except UnknownLogError as error:
            raise TrustFileError(f"{file} is of a log whose vkey is not there: {error}") from error
        except KeyChangeError as error:
            raise KeyChangeError(f"{file}: {error}") from error

    def follow(self, changes: Sequence[KeyChange]) -> bool:
        """Go on from a log's trusted key along the changes of its key; True where that taught something new.

        Args:
            changes: of one log, oldest first: all, or those since its store was made anew from Kafka. Those before the
                trusted key tell which key held earlier.
        Raises: KeyChangeError where they do not hold, have not the trusted key among them, or contradict what was
            followed before; UnknownLogError.
        """
        if not changes:
            return False
        key_changes.verify_succession(changes)
        log = changes[0].log
        trusted, known = self.verifier(log).vkey(), self._changes.get(log, ())
        joined = key_changes.joined(known, changes)
        if joined is None:
            raise KeyChangeError(
                f"the log {log} shows other changes of its key than before: keep both, they are evidence"
            )
        if joined == known:
            return False
        if trusted not in _vkeys_of(joined):
            raise KeyChangeError(
                f"the changes of the key of {log} do not go by the key that is trusted: get its vkey anew from its operator"
            )
        key_changes.verify_succession(joined)
        self._changes[log] = joined
        self._by_log[log] = Verifier.parse(joined[-1].new)
        return True

    def changes(self, log: str) -> tuple[KeyChange, ...]:
        """Give the changes of a log's key that were followed, oldest first."""
        return self._changes.get(log, ())

    def logs(self) -> list[str]:
        """List the names of the logs whose keys are known."""
        return sorted(self._by_log)

    def verifier(self, log: str, size: int | None = None) -> Verifier:
        """Find the key of a log: the one in force now, or the one that signed checkpoints of `size`. Raises: UnknownLogError."""
        try:
            current = self._by_log[log]
        except KeyError:
            raise UnknownLogError(
                f"no trusted key for the log {log!r}: add its vkey to the log keys"
            ) from None
        changes = self._changes.get(log)
        if size is None or not changes:
            return current
        return Verifier.parse(key_changes.key_of_size(changes, current.vkey(), size))

    def is_retired(self, log: str, size: int) -> bool:
        """Tell whether the key that signed checkpoints of `size` is retired. Raises: UnknownLogError.

        Whoever has it can still sign such checkpoints, of whatever he likes: only growth to one of the key in force shows that it is the log's.
        """
        return self.verifier(log, size) != self.verifier(log)

    def is_signed(self, log: str, note: str | bytes) -> bool:
        """Tell whether a checkpoint bears the name of the key of its time; whether the signature holds, `open` tells.

        Raises: NoteError, CheckpointError where it is no checkpoint; UnknownLogError.
        """
        parsed = parse_note(note)
        verifier = self.verifier(log, Checkpoint.parse(parsed.text).size)
        return any((each.name, each.key_id) == (verifier.name, verifier.key_id) for each in parsed.signatures)

    def open(self, log: str, note: str | bytes) -> Checkpoint:
        """Verify a log's checkpoint with the key that was in force at its size.

        Raises: NoteError, also where a key signed it that was retired before; CheckpointError; UnknownLogError.
        """
        size = Checkpoint.parse(parse_note(note).text).size
        try:
            return open_checkpoint(note, [self.verifier(log, size)])
        except NoteError as error:
            if not self._changes.get(log):
                raise
            raise NoteError(
                f"the checkpoint of {log} of size {size} is not signed by the key of that time: {error}"
            ) from error

    def __iter__(self) -> Iterator[Verifier]:
        return iter(self._by_log.values())


def _two_claim(log: str, one: Verifier, other: Verifier) -> NoteError:
    return NoteError(f"two keys claim the log {log}: {one.name} and {other.name}")


def _vkeys_of(changes: Sequence[KeyChange]) -> tuple[str, ...]:
    """Name the keys that a log had along its changes, oldest first; there is one change at least."""
    return (changes[0].old, *(change.new for change in changes))


def _keys_in(text: str, file: Path) -> Iterator[Verifier]:
    """Read the keys of a file. Raises: TrustFileError, which names file and line."""
    for number, line in _numbered(text.splitlines()):
        try:
            verifier = Verifier.parse(line)
            log_of(verifier.name)
        except NoteError as error:
            raise TrustFileError(f"{file}, line {number}, is no vkey of a log: {error}") from error
        yield verifier


def _changes_in(text: str, file: Path) -> Iterator[KeyChange]:
    """Read the changes of a file; nothing of them is verified. Raises: TrustFileError, which names file and line."""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            yield key_changes.decode(line)
        except KeyChangeError as error:
            raise TrustFileError(f"{file}, line {number}: {error}") from error


def _numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Give the lines that hold keys, with their numbers from 1."""
    stripped = ((number, line.strip()) for number, line in enumerate(lines, 1))
    return ((number, line) for number, line in stripped if line and not line.startswith("#"))


def is_retired(path: Path) -> bool:
    """Tell whether a file is by its name that of a key that was in force earlier, such as `goods-0.1.vkey`."""
    return _RETIRED.search(path.name) is not None


def is_log(text: str) -> bool:
    """Tell whether a text is by its form the name of a log, such as "goods/3" or "root": no event ID looks like that."""
    return text in SINGLE_LOGS or _LOG.fullmatch(text) is not None


def log_of(origin: str) -> str:
    """Give the log's name within its origin: the last two components, such as "goods/3"; "root" or "index". Raises: NoteError."""
    components = origin.split("/")
    if len(components) >= 3 and components[-1] in SINGLE_LOGS:  # after the name and the instance
        return components[-1]
    if len(components) < 3 or not components[-1].isdigit():  # name, instance, then the log's two
        raise NoteError(f"{origin!r} is not the origin of a log")
    return "/".join(components[-2:])
