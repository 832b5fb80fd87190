"""Logs as plain files behind a web server: what the reader made elsewhere is tried on, whole and altered."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.merkle import leaf_hashes, root_of
from goodstrace.note import Signer
from goodstrace.tiles import TileEdge, number_path, tile_path

TILE = 256


def write_log(folder: Path, signer: Signer, entries: Sequence[bytes]) -> None:
    """Write a log of 1..65,536 entries as C2SP tlog-tiles."""
    hashes = leaf_hashes(entries)
    _, tiles = TileEdge().append(hashes)
    for (level, n), data in tiles.items():
        _write(folder / tile_path(level, n, len(data) // 32), data)
    for n, start in enumerate(range(0, len(entries), TILE)):
        bundle = entries[start : start + TILE]
        data = b"".join(len(entry).to_bytes(2) + entry for entry in bundle)
        _write(folder / "tile" / "entries" / number_path(n, len(bundle)), data)
    checkpoint = Checkpoint(signer.name, len(entries), root_of(hashes))
    _write(folder / "checkpoint", sign_checkpoint(checkpoint, signer).encode())


def write_list(folder: Path, logs: dict[str, Signer]) -> None:
    """Write the list of logs; each lies in the folder of its name."""
    rows = [
        {"name": name, "origin": signer.name, "vkey": signer.verifier.vkey(), "url": f"/{name}"}
        for name, signer in logs.items()
    ]
    _write(folder / "logs", json.dumps(rows).encode())


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder's files; gives the base URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
