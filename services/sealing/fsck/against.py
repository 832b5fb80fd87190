"""Reading what somebody saved of logs: checkpoint notes, proof files, or folders of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from goodstrace import proof_file
from goodstrace.checkpoint import Checkpoint, open_checkpoint
from goodstrace.errors import NoteError, VerificationError
from goodstrace.log_keys import log_of
from goodstrace.note import MAX_NOTE_BYTES, Verifier, parse_note
from goodstrace.proof_file import MAX_PROOF_BYTES
from services.runtime.errors import SettingsError
from services.sealing.fsck.keyring import Keyring
from services.sealing.fsck.saved import Saved
from services.sealing.values import LogInfo


class SavedNote(msgspec.Struct, frozen=True):
    """A saved checkpoint, not verified yet: the log and size that it names, its full note, and its file's name."""

    log: str
    size: int
    note: str
    source: str


def read_saved(paths: Sequence[Path]) -> list[SavedNote]:
    """Read files of one checkpoint or proof each, and all files of folders.

    Raises: SettingsError where a file cannot be read or is neither, or there is none.
    """
    found = [_saved(file) for path in paths for file in _files(path)]
    if not found:
        raise SettingsError(f"there is no saved checkpoint in {', '.join(map(str, paths))}")
    return found


def verified(
    notes: Sequence[SavedNote], info: LogInfo, trusted: Verifier | None
) -> tuple[list[Saved], list[str]]:
    """Verify the saved checkpoints of one log with its keys; gives those that are signed, and what is wrong with others."""
    keys = Keyring(info, trusted).all()
    saved, problems = [], []
    for each in notes:
        try:
            checkpoint = open_checkpoint(each.note, keys)
        except VerificationError as error:
            problems.append(f"{each.source}: {error}")
            continue
        saved.append(Saved(checkpoint.size, checkpoint.root, each.source))
    return saved, problems


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    yield from sorted(each for each in path.rglob("*") if each.is_file())


def _saved(path: Path) -> SavedNote:
    try:
        with path.open("rb") as file:
            data = file.read(max(MAX_NOTE_BYTES, MAX_PROOF_BYTES) + 1)
        proof = data.startswith(proof_file.HEADER.encode())
        note = proof_file.parse(data).checkpoint if proof else data.decode()
        checkpoint = Checkpoint.parse(parse_note(note).text)
        return SavedNote(log_of(checkpoint.origin), checkpoint.size, note, path.name)
    except (OSError, UnicodeDecodeError, NoteError, VerificationError) as error:
        raise SettingsError(f"{path} is no saved checkpoint: {error}") from error
