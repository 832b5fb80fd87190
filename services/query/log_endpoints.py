"""The public logs over HTTP, read-only: checkpoints, hash tiles, entry bundles, keys. Source: c2sp.org/tlog-tiles.

Anybody may read them and no look is recorded, since they show nothing of what is sealed: an entry is an envelope of
commitments (design.md, "The sealed format"). What is served never exceeds the published checkpoint. Each request costs a
fixed number of calls to the store; no partial tile or bundle is ever stored, it is the beginning of a whole one.
"""

import asyncio
import gzip
import hashlib
import html
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import structlog
from fastapi import Request, Response

from goodstrace.bundles import encode_bundle
from goodstrace.merkle import HASH_SIZE
from goodstrace.tiles import TILE_WIDTH, Tile, tile_path, width_at
from services.query.http_headers import accepts_gzip, matches
from services.query.log_paths import Asked, Kind, parse
from services.query.metrics import QueryMetrics
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.mongo import within
from services.runtime.tracing import spans
from services.sealing.bundles import EntryReader
from services.sealing.errors import CorruptError
from services.sealing.listing import key_history, listed
from services.sealing.reader import LogReader
from services.sealing.values import LogInfo, StoredCheckpoint

BUNDLES_AT_ONCE: Final = 8  # each may hold a few megabytes
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"
BYTES: Final = "application/octet-stream"
FOREVER: Final = "public, max-age=31536000, immutable"
ASK_AGAIN: Final = "no-cache"
NEVER: Final = "no-store"
EVERYWHERE: Final = {  # what is public may be read from any page; browsers verify too
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag",
    "X-Content-Type-Options": "nosniff",
}
_RETRY_AFTER_S: Final = 2
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}", re.ASCII)
_WHAT_THERE_IS: Final = "see /logs, and below the url of each log: checkpoint, keys, tile/<L>/<N>[.p/<W>], tile/entries/<N>[.p/<W>]"


class _NotThereError(Exception):
    """There is nothing under this path now; the text says why."""


class LogEndpoints:
    """Answers the requests; `answer` is the one handler of all their routes."""

    def __init__(
        self,
        reader: LogReader,
        entries: EntryReader,
        *,
        public_url: str,
        timeout_s: float,
        metrics: QueryMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Serve `reader`'s logs.

        Args:
            reader: gives the published checkpoints, the tiles and the registered logs.
            entries: gives the entries.
            public_url: of this server as clients see it, without a slash at the end; where empty, as they asked for it.
            timeout_s: for all calls to the store of one request.
            metrics: counts.
            log: told of what could not be served.
        """
        self._reader, self._entries = reader, entries
        self._public_url, self._timeout_s = public_url, timeout_s
        self._metrics, self._log = metrics, log
        self._turns = asyncio.Semaphore(BUNDLES_AT_ONCE)
        self._answers: Mapping[Kind, Callable[[Request, Asked], Awaitable[Response]]] = {
            Kind.INDEX: self._index,
            Kind.LIST: self._list,
            Kind.CHECKPOINT: self._checkpoint,
            Kind.KEYS: self._keys,
            Kind.TILE: self._tile,
            Kind.ENTRIES: self._bundle,
        }

    async def answer(self, request: Request) -> Response:
        """Answer a GET or HEAD, turning errors into one clear text each (the only table of them), and count."""
        started = time.perf_counter()
        asked = parse(request.scope.get("raw_path", b"").decode("ascii", "replace"))
        try:
            with within(self._timeout_s):
                response = await self._answers.get(asked.kind, _nothing)(request, asked)
        except _NotThereError as error:
            response = refusal(404, str(error))
        except UnavailableError as error:
            self._noticed(asked, error)
            response = refusal(503, "the store is away: try again", {"Retry-After": str(_RETRY_AFTER_S)})
        except CorruptError as error:
            self._noticed(asked, error)
            response = refusal(500, "what is stored is not what was sealed: tell the operator")
        seconds = self._metrics.log_seconds.labels(asked.kind.value)
        seconds.observe(time.perf_counter() - started, spans.exemplar())
        return self.counted(request, asked.kind, response)

    def counted(self, request: Request, kind: Kind, response: Response) -> Response:
        """Count an answer by kind, status and bytes of its body."""
        self._metrics.log_requests.labels(kind.value, str(response.status_code)).inc()
        if request.method != "HEAD":
            self._metrics.log_bytes.labels(kind.value).inc(len(response.body))
        return response

    def _noticed(self, asked: Asked, error: ServiceError) -> None:
        self._log.warning(
            "log request failed", kind=asked.kind, of=asked.log, category=error.category, error=str(error)
        )

    async def _index(self, _request: Request, _asked: Asked) -> Response:
        rows = "".join(_row(info, stored) for info, stored in await self._published())
        return _response(_PAGE.format(rows=rows).encode(), HTML, ASK_AGAIN)

    async def _list(self, request: Request, _asked: Asked) -> Response:
        base = self._public_url or base_url(request)
        # Those that wait for witnesses too: who cosigns them finds their keys here.
        logs = [listed(info, f"{base}/logs/{info.name}") for info in await self._reader.signed_logs()]
        return await _compressed(request, _json(logs), JSON, ASK_AGAIN)

    async def _keys(self, request: Request, asked: Asked) -> Response:
        info = next((each for each in await self._reader.logs() if each.name == asked.log), None)
        if info is None:
            raise _NotThereError(f"there is no log {asked.log}")
        return await _compressed(request, _json(key_history(info)), JSON, ASK_AGAIN)

    async def _checkpoint(self, request: Request, asked: Asked) -> Response:
        note = (await self._newest(asked.log)).note.encode()
        etag = f'"{hashlib.sha256(note).hexdigest()[:32]}"'
        if matches(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers={**EVERYWHERE, "Cache-Control": ASK_AGAIN, "ETag": etag})
        return _response(note, TEXT, ASK_AGAIN, {"ETag": etag})

    async def _tile(self, _request: Request, asked: Asked) -> Response:
        tile = await self._within_tree(asked)
        size_bytes = tile.width * HASH_SIZE
        data = (await self._reader.tiles(asked.log, [tile])).get((tile.level, tile.n), b"")[:size_bytes]
        if len(data) < size_bytes:
            raise CorruptError(f"{asked.log}: {tile_path(*tile)} is missing or too narrow")
        return _response(data, BYTES, FOREVER)

    async def _bundle(self, request: Request, asked: Asked) -> Response:
        tile = await self._within_tree(asked)
        first = tile.n * TILE_WIDTH
        async with self._turns:
            entries = await self._entries.entries(asked.log, first, first + tile.width)
            return await _compressed(request, encode_bundle(entries), BYTES, FOREVER)

    async def _within_tree(self, asked: Asked) -> Tile:
        """Give the tile that is asked for, if the published tree has as much of it."""
        assert asked.tile is not None
        level, n, width = asked.tile
        size = (await self._newest(asked.log)).size
        there = width_at(size, level, n)
        if width > there:
            raise _NotThereError(
                f"beyond the tree: at its published size of {size} that has {there} of {width} hashes or entries"
            )
        return asked.tile

    async def _newest(self, log: str) -> StoredCheckpoint:
        stored = await self._reader.checkpoint(log)
        if stored is None:
            raise _NotThereError(f"there is no log {log}, or nothing of it is published yet")
        return stored

    async def _published(self) -> list[tuple[LogInfo, StoredCheckpoint]]:
        """List the logs that have a published checkpoint: before the first one there is nothing to read."""
        infos, newest = await asyncio.gather(self._reader.logs(), self._reader.newest())
        return [(info, newest[info.name]) for info in infos if info.name in newest]


def refusal(status: int, problem: str, headers: Mapping[str, str] | None = None) -> Response:
    """Say in one line of text what is wrong; kept by no cache, since it may be there in a moment."""
    return _response(f"{problem}\n".encode(), TEXT, NEVER, headers, status)


def nothing_there() -> Response:
    """Say which paths there are."""
    return refusal(404, _WHAT_THERE_IS)


async def _nothing(_request: Request, _asked: Asked) -> Response:
    raise _NotThereError(_WHAT_THERE_IS)


def _response(
    body: bytes, kind: str, caching: str, headers: Mapping[str, str] | None = None, status: int = 200
) -> Response:
    named = {"Content-Type": kind, "Cache-Control": caching, **EVERYWHERE, **(headers or {})}
    return Response(body, status, named)


async def _compressed(request: Request, body: bytes, kind: str, caching: str) -> Response:
    """Send it by gzip to whom takes that; compressed beside the event loop."""
    headers = {"Vary": "Accept-Encoding"}
    if accepts_gzip(request.headers.get("accept-encoding", "")):
        body = await asyncio.to_thread(gzip.compress, body, 6, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return _response(body, kind, caching, headers)


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def base_url(request: Request) -> str:
    """The server's address as the client has it; the bound one where its Host header is no host."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        name, port = request.scope["server"]
        host = f"{name}:{port}"
    return f"{request.scope['scheme']}://{host}"


_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Goodstrace: the logs</title>
<h1>The logs</h1>
<p>Each is an RFC 6962 Merkle tree, served as
<a href="https://c2sp.org/tlog-tiles">c2sp.org/tlog-tiles</a>. For programs: <a href="logs">logs</a>.</p>
<table><tr><th>log<th>entries<th>public key<th></tr>
{rows}</table></html>
"""


def _row(info: LogInfo, stored: StoredCheckpoint) -> str:
    name, vkey = html.escape(info.name), html.escape(info.vkey)
    links = " ".join(f'<a href="logs/{name}/{each}">{each}</a>' for each in ("checkpoint", "keys"))
    return f"<tr><td>{name}<td>{stored.size}<td><code>{vkey}</code><td>{links}</tr>\n"
