"""A copy that is read and derived again without any store: every byte, every entry, every root."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from goodstrace.errors import GoodstraceError
from goodstrace.log_keys import LogKeys
from goodstrace.policy import Policy
from services.backup import decoded
from services.backup.errors import BackupError
from services.backup.folder import read_documents
from services.backup.log_check import LogCheck
from services.backup.values import FileEntry, LogCopy, Manifest
from services.sealing import documents
from services.sealing.indexes import BLOCKS, CHECKPOINTS, LOGS, OF_LOGS, PACKS
from services.sealing.values import LogInfo

Document = dict[str, Any]
Put = Callable[[str, Document], None]
MOST_PACKS = 4096


class Trust:
    """What is believed from elsewhere: public keys of the logs, and a policy of witnesses; None for what the copy says itself."""

    def __init__(self, keys: LogKeys | None = None, policy: Policy | None = None) -> None:
        """Believe these."""
        self._keys, self._policy = keys, policy

    def check(self, info: LogInfo, copy: LogCopy) -> None:
        """Check a log's checkpoint. Raises: BackupError."""
        try:
            if self._keys is not None:
                self._keys.follow(info.changes)
                self._keys.open(info.name, copy.note)
            missing = self._policy is not None and not self._policy.is_satisfied(
                self._policy.cosigners(copy.note)
            )
        except GoodstraceError as error:
            raise BackupError(f"{info.name}: the checkpoint of size {copy.size}: {error}") from error
        if missing:
            raise BackupError(
                f"{info.name}: the checkpoint of size {copy.size} lacks the quorum of witnesses"
            )


def log_infos(folder: Path, manifest: Manifest) -> dict[str, LogInfo]:
    """Read the registrations of the logs. Raises: BackupError, DamagedError, CorruptError; OSError."""
    entry = next((each for each in manifest.collections if each.path == f"{LOGS}.bson"), None)
    if entry is None:
        raise BackupError("the backup does not say which logs there are")
    found = {info.name: info for info in map(documents.log_info, _only(folder, entry, LOGS))}
    if found.keys() != {each.log for each in manifest.logs}:
        raise BackupError("the logs of the manifest are not those that are registered in the backup")
    return found


def read_log(folder: Path, info: LogInfo, copy: LogCopy, trust: Trust, put: Put) -> None:
    """Read a log of a copy and derive it again; `put` gets each document once what it is of was checked.

    Raises: BackupError, DamagedError with file and place, CorruptError; OSError.
    """
    trust.check(info, copy)
    check, packs = LogCheck(info), list[Document]()
    for collection, document in read_documents(folder, copy.file):
        if collection == PACKS:
            packs.append(document)
            if len(packs) > MOST_PACKS:
                raise BackupError(f"{copy.file.path}: over {MOST_PACKS} packs before their block")
        elif collection == BLOCKS:
            check.block(decoded.block(document), list(map(decoded.pack, packs)))
            for each in packs:
                put(PACKS, each)
            put(BLOCKS, document)
            packs.clear()
        elif collection == CHECKPOINTS and not packs:
            check.checkpoint(decoded.checkpoint(document))
            put(CHECKPOINTS, document)
        else:
            raise BackupError(f"{copy.file.path}: a document of {collection} where none belongs")
    check.ended(copy.size, copy.root, copy.note)
    check.is_of(copy.height, copy.kafka)


def read_others(folder: Path, manifest: Manifest, put: Put) -> None:
    """Read all other collections, each from its own file: none of these has what is of logs, but for their registrations. Raises: BackupError, DamagedError; OSError."""
    for entry in manifest.collections:
        of_logs = manifest.kind == "store" and entry.path == f"{LOGS}.bson"
        wanted = LOGS if of_logs else entry.path.removeprefix("collections/").removesuffix(".bson")
        if not of_logs and wanted in OF_LOGS:
            raise BackupError(f"{entry.path}: what is of logs belongs into their own files")
        for document in _only(folder, entry, wanted):
            put(wanted, document)


def verify(folder: Path, manifest: Manifest, trust: Trust) -> None:
    """Read all of a copy and throw it away. Raises: BackupError, DamagedError, CorruptError; OSError."""
    infos = log_infos(folder, manifest) if manifest.kind == "store" else {}
    for copy in manifest.logs:
        read_log(folder, infos[copy.log], copy, trust, _nowhere)
    read_others(folder, manifest, _nowhere)


def _nowhere(collection: str, document: Document) -> None:
    del collection, document


def _only(folder: Path, entry: FileEntry, wanted: str) -> Iterator[Document]:
    for collection, document in read_documents(folder, entry):
        if collection != wanted:
            raise BackupError(f"{entry.path}: a document of {collection} where none belongs")
        yield document
