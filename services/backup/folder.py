"""Files of a copy: written for their owner alone, and read only as far as their bytes are those that were written.

A folder is made beside its name, and gets that when all is in it and on disk: what has the name is whole.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import bson
import msgspec
from bson.errors import BSONError

from services.backup.errors import BackupError, DamagedError, OtherFolderError
from services.backup.values import FORMAT, MANIFEST, SUMS, FileEntry, Manifest
from services.runtime.files import create_whole, sync_folder

PIECE_BYTES: Final = 64 * 1024
MAX_DOCUMENT_BYTES: Final = 32 * 1024 * 1024
MAX_MANIFEST_BYTES: Final = 256 * 1024 * 1024
_LENGTH: Final = 4
_PARTIAL: Final = ".partial"
Document = dict[str, Any]


class FolderWriter:
    """A copy that is being made."""

    def __init__(self, folder: Path) -> None:
        """Begin; nothing is made before the first file. Raises: BackupError where there is something of that name, or it is none; OSError."""
        folder = folder.resolve()
        if not folder.name:
            raise BackupError(f"{folder} is no name of a folder to make")
        self._folder, self._at = folder, folder.with_name(folder.name + _PARTIAL)
        if folder.exists():
            raise BackupError(f"{folder} is there already: name a folder that is not")
        if self._at.exists():
            raise BackupError(f"{self._at} is of a backup that was broken off: remove it, then begin again")

    def file(self, path: str) -> "FileWriter":
        """Begin a file below the folder."""
        self._begin()
        return FileWriter(self._at, path)

    def finish(self, manifest: Manifest) -> str:
        """Write the manifest and give the folder its name; gives the manifest's SHA-256, hex. Raises: OSError."""
        data = msgspec.json.format(msgspec.json.encode(manifest))
        digest = hashlib.sha256(data).hexdigest()
        self._begin()
        for each in self._at.iterdir():
            if each.is_dir():
                sync_folder(each)
        create_whole(self._at / MANIFEST, data)
        create_whole(self._at / (MANIFEST + SUMS), f"{digest}  {MANIFEST}\n".encode())
        sync_folder(self._at)
        self._at.rename(self._folder)
        sync_folder(self._folder.parent)
        return digest

    def _begin(self) -> None:
        self._at.mkdir(mode=0o700, parents=True, exist_ok=True)


class FileWriter:
    """A file of documents, in bounded memory."""

    def __init__(self, folder: Path, path: str) -> None:
        """Make the file and that of its sums. Raises: OSError."""
        self._path, self._folder = path, folder
        self._data, self._sums = _created(folder / path), _created(folder / (path + SUMS))
        self._piece = bytearray()
        self._digest = hashlib.sha256()
        self._documents = self._size = 0

    def write(self, collection: str, document: Document) -> None:
        """Add a document. Raises: OSError."""
        data = bson.encode({"in": collection, "document": document})
        self._documents += 1
        self._size += len(data)
        self._piece += data
        while len(self._piece) >= PIECE_BYTES:
            self._put(bytes(self._piece[:PIECE_BYTES]))
            del self._piece[:PIECE_BYTES]

    def close(self) -> FileEntry:
        """Put all on disk, and say what it is. Raises: OSError."""
        if self._piece:
            self._put(bytes(self._piece))
        for file in (self._data, self._sums):
            file.flush()
            os.fsync(file.fileno())
            file.close()
        return FileEntry(self._path, self._documents, self._size, self._digest.hexdigest())

    def _put(self, piece: bytes) -> None:
        digest = hashlib.sha256(piece).digest()
        self._data.write(piece)
        self._sums.write(digest)
        self._digest.update(digest)


def read_manifest(folder: Path, kind: str) -> Manifest:
    """Read what a copy says of itself. Raises: OtherFolderError, DamagedError, BackupError; OSError."""
    path = folder / MANIFEST
    if not path.is_file():
        raise OtherFolderError(f"{folder} is no whole backup: it has no {MANIFEST}")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BackupError(f"{path} is over {MAX_MANIFEST_BYTES} bytes")
    data = path.read_bytes()
    sums = folder / (MANIFEST + SUMS)
    if not sums.is_file():
        raise DamagedError(f"{sums} is missing")
    said = sums.read_text(encoding="utf-8", errors="replace").partition(" ")[0]
    if hashlib.sha256(data).hexdigest() != said:
        raise DamagedError(f"{path} is not what {MANIFEST + SUMS} says it is")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BackupError(f"{path}: {error}") from error
    if manifest.format != FORMAT:
        raise OtherFolderError(f"{path}: the format is {manifest.format}, this reads {FORMAT}")
    if manifest.kind != kind:
        raise OtherFolderError(f"{folder} is the backup of a {manifest.kind}, and that of a {kind} is wanted")
    return manifest


def read_documents(folder: Path, entry: FileEntry) -> Iterator[tuple[str, Document]]:
    """Give a file's documents with their collections, each when its bytes were checked. Raises: DamagedError; OSError."""
    count, waiting = 0, bytearray()
    for piece in _pieces(folder, entry):
        waiting += piece
        while (length := _length(entry, waiting)) and len(waiting) >= length:
            found = _decoded(entry, bytes(waiting[:length]))
            del waiting[:length]
            count += 1
            yield found
    if waiting or count != entry.documents:
        raise DamagedError(f"{entry.path} has {count} documents, and {entry.documents} were written")


def _pieces(folder: Path, entry: FileEntry) -> Iterator[bytes]:
    """Give a file piece by piece. Its sums are checked first: they say where a byte is wrong."""
    path, sums_path = _below(folder, entry.path), _below(folder, entry.path + SUMS)
    for each in (path, sums_path):
        if not each.is_file():
            raise DamagedError(f"{each} is missing")
    with sums_path.open("rb") as sums:
        if hashlib.file_digest(sums, "sha256").hexdigest() != entry.digest:
            raise DamagedError(f"{entry.path + SUMS} is not what the manifest says it is")
        sums.seek(0)
        with path.open("rb") as file:
            place = 0
            while piece := file.read(PIECE_BYTES):
                if hashlib.sha256(piece).digest() != sums.read(32):
                    end = place + len(piece)
                    raise DamagedError(
                        f"{entry.path}: a byte from {place} to {end - 1} is not what was written"
                    )
                place += len(piece)
                yield piece
            if place != entry.size_bytes:
                raise DamagedError(f"{entry.path} has {place} bytes, and {entry.size_bytes} were written")


def _length(entry: FileEntry, waiting: bytearray) -> int:
    if len(waiting) < _LENGTH:
        return 0
    length = int.from_bytes(waiting[:_LENGTH], "little")
    if not _LENGTH < length <= MAX_DOCUMENT_BYTES:
        raise DamagedError(f"{entry.path}: a document of {length} bytes")
    return length


def _decoded(entry: FileEntry, data: bytes) -> tuple[str, Document]:
    try:
        found = bson.decode(data)
    except (BSONError, ValueError, OverflowError) as error:
        raise DamagedError(f"{entry.path}: what lies there is no document: {error}") from error
    collection, document = found.get("in"), found.get("document")
    if not isinstance(collection, str) or not isinstance(document, dict):
        raise DamagedError(f"{entry.path}: what lies there is no document of a copy")
    return collection, document


def _below(folder: Path, path: str) -> Path:
    """Name a file of the copy; one that leads out of it is none. Raises: BackupError."""
    found = (folder / path).resolve()
    if not found.is_relative_to(folder.resolve()):
        raise BackupError(f"{path} leads out of the backup")
    return found


def _created(path: Path) -> BinaryIO:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
