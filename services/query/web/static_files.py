"""The files that pages need: read once at start, by name from a closed set, so that no path leads anywhere else."""

import gzip
import hashlib
from importlib import resources
from typing import Final

import msgspec

_TYPES: Final = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}


class StaticFile(msgspec.Struct, frozen=True):
    """A file: its bytes, compressed too, its media type, and an entity tag of its content."""

    content: bytes
    compressed: bytes
    media_type: str
    etag: str


def static_files() -> dict[str, StaticFile]:
    """Read the files of the folder `static`, by name."""
    folder = resources.files(__package__) / "static"
    return {
        each.name: _file(each.name, each.read_bytes())
        for each in folder.iterdir()
        if each.name.rpartition(".")[2] in _TYPES
    }


def _file(name: str, content: bytes) -> StaticFile:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return StaticFile(content, gzip.compress(content, 9, mtime=0), _TYPES[name.rpartition(".")[2]], etag)
