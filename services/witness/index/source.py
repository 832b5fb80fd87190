"""Reading a platform's logs over HTTP as an index witness does: entries with tags, tiles, checkpoints, the rows of a run."""

from collections.abc import AsyncIterator, Iterable
from typing import Final

import httpx

from goodstrace.completeness import bundles
from goodstrace.completeness.bundles import MAX_BUNDLE_BYTES, TaggedEntry
from goodstrace.errors import VerificationError
from goodstrace.tiles import TILE_WIDTH, Tile, number_path, tile_path
from services.runtime.outgoing import read_plain
from services.witness.index.errors import IndexWrongError, NotYetError

TIMEOUT_S: Final = 60.0
_MAX_SMALL_BYTES: Final = 1024 * 1024


class IndexSource:
    """One platform's query service."""

    def __init__(self, client: httpx.AsyncClient, url: str, token: str) -> None:
        """Read below `url`, which has no slash at the end, showing `token` where there is one."""
        self._client, self._url = client, url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def entries(self, log: str, first: int, end: int) -> AsyncIterator[tuple[int, TaggedEntry]]:
        """Give entries first..end-1 with their indexes, bundle by bundle.

        Raises: NotYetError where they cannot be read now; IndexWrongError where what comes is no bundle.
        """
        while first < end:
            n, start = divmod(first, TILE_WIDTH)
            width = min(TILE_WIDTH, end - n * TILE_WIDTH)
            path = f"/index/records/{log}/tile/{number_path(n, width)}"
            data = await self._get(path, MAX_BUNDLE_BYTES)
            try:
                bundle = bundles.decode(data, width)
            except VerificationError as error:
                raise IndexWrongError(f"{path}: {error}") from error
            for place, each in enumerate(bundle[start:], first):
                yield place, each
            first = n * TILE_WIDTH + width

    async def checkpoint(self, log: str) -> str:
        """Give the newest published checkpoint of a log, nothing of it verified. Raises: NotYetError."""
        return (await self._get(f"/logs/{log}/checkpoint", _MAX_SMALL_BYTES)).decode(errors="replace")

    async def tiles(self, log: str, tiles: Iterable[Tile]) -> dict[tuple[int, int], bytes]:
        """Give hash tiles of a log, unverified. Raises: NotYetError."""
        found = {}
        for level, n, width in sorted(tiles):
            path = f"/logs/{log}/{tile_path(level, n, width)}"
            found[level, n] = await self._get(path, _MAX_SMALL_BYTES)
        return found

    async def chunk(self, run: str, n: int) -> bytes:
        """Give a chunk of a run's rows, unverified; nothing where it is not there. Raises: NotYetError."""
        return await self._get(f"/index/runs/{run}/{n}", _MAX_SMALL_BYTES)

    async def _get(self, path: str, most_bytes: int) -> bytes:
        try:
            async with self._client.stream(
                "GET", self._url + path, headers=self._headers, timeout=TIMEOUT_S
            ) as response:
                body = await read_plain(response, most_bytes)
        except httpx.HTTPError as error:
            raise NotYetError(f"{self._url}{path}: {type(error).__name__}: {error}") from error
        if response.status_code != httpx.codes.OK or len(body) > most_bytes:
            said = body[:200].decode(errors="replace").strip()
            raise NotYetError(f"{self._url}{path}: {response.status_code}: {said}")
        return body
