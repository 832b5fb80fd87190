"""Reading the entries of public logs (C2SP tlog-tiles): over HTTP, or from a folder that `goodstrace export` wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx

from goodstrace.bundles import MAX_ENTRY_BYTES, bundle_path, decode_bundle
from goodstrace.errors import AnswerError, CallError
from goodstrace.tiles import TILE_WIDTH

MAX_BUNDLE_BYTES: Final = TILE_WIDTH * (MAX_ENTRY_BYTES + 2)
_NOT_FOUND: Final = 404

Fetch = Callable[[str], bytes | None]
"""Gives what is at a path below the logs, such as "browse/0/checkpoint"; None where nothing is."""


class PublicLog:
    """Reads entries by their bundles; nothing is verified here."""

    def __init__(self, fetch: Fetch) -> None:
        """Read by `fetch`."""
        self._fetch = fetch

    def entries(self, log: str, first: int, end: int) -> list[bytes]:
        """Give the entries first..end-1; fewer where the log is not that long. Raises: AnswerError, CallError."""
        size = self.size(log)
        end = min(end, size)
        found: list[bytes] = []
        for n in range(first // TILE_WIDTH, -(-end // TILE_WIDTH)):
            width, there = (min(TILE_WIDTH, each - n * TILE_WIDTH) for each in (end, size))
            found += self._bundle(log, n, width, there)[max(0, first - n * TILE_WIDTH) :]
        return found

    def _bundle(self, log: str, n: int, width: int, there: int) -> list[bytes]:
        """Read a bundle: of the width wanted, or of that which the log has by now, as in a folder exported later, or the whole one."""
        widths = dict.fromkeys((width, there, TILE_WIDTH))
        read = (self._fetch(f"{log}/{bundle_path(n, each)}") for each in widths)
        data = next((each for each in read if each is not None), None)
        if data is None:
            raise AnswerError(f"{log}: there is no entry bundle {n}")
        entries = decode_bundle(data)
        if len(entries) < width:
            raise AnswerError(f"{log}: the entry bundle {n} has {len(entries)} entries, not {width}")
        return entries[:width]

    def size(self, log: str) -> int:
        """Say how long a log is by its newest checkpoint, which is a hint here: what must be there is asked for by who verifies. Raises: AnswerError, CallError."""
        note = self._fetch(f"{log}/checkpoint")
        lines = (note or b"").decode(errors="replace").split("\n")
        if len(lines) < 2 or not (lines[1].isascii() and lines[1].isdigit()):
            raise AnswerError(f"{log}: there is no checkpoint")
        return int(lines[1])


def from_folder(folder: Path) -> Fetch:
    """Read what `goodstrace export` wrote to a folder."""

    def fetch(path: str) -> bytes | None:
        try:
            return (folder / "logs" / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AnswerError(f"cannot read {folder / 'logs' / path}: {error.strerror}") from error

    return fetch


def from_url(client: httpx.Client) -> Fetch:
    """Read below `/logs/` of a query service, by a client that has its URL as base."""

    def fetch(path: str) -> bytes | None:
        try:
            response = client.get(f"/logs/{path}")
        except httpx.HTTPError as error:
            raise CallError("UNAVAILABLE", f"/logs/{path}: {error}") from error
        if response.status_code == _NOT_FOUND:
            return None
        if response.status_code != httpx.codes.OK or len(response.content) > MAX_BUNDLE_BYTES:
            raise CallError(str(response.status_code), f"/logs/{path}")
        return response.content

    return fetch
