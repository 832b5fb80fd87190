"""What index witnesses read over HTTP, beside the public logs: entries with their tags, and the rows of runs.

Only for who is let through by the index gate. Of the log `index` it serves what is signed, published or not: its witnesses must
have seen a leaf before they cosign it. Each request costs a fixed number of calls to the store.
"""

import asyncio
import re
from typing import Final

import structlog
from fastapi import Request, Response

from goodstrace.completeness import bundles
from goodstrace.completeness.bundles import TaggedEntry
from goodstrace.completeness.leaf import INDEXED_PREFIX
from goodstrace.errors import TreeError
from goodstrace.log_keys import INDEX_LOG, SINGLE_LOGS
from goodstrace.proof_file import DisclosedPart
from goodstrace.tiles import TILE_WIDTH, parse_number_path
from services.query.index_gate import IndexGate, bearer
from services.query.log_endpoints import BYTES, JSON, NEVER, refusal
from services.runtime.call_errors import NotAllowedError
from services.runtime.errors import UnavailableError
from services.runtime.mongo import within
from services.sealing.completeness.layout import Place
from services.sealing.completeness.store import MongoRuns
from services.sealing.errors import CorruptError, RunGoneError
from services.sealing.reader import LogReader
from services.sealing.values import SealedRecord

BUNDLES_AT_ONCE: Final = 4
_RECORDS: Final = re.compile(
    r"/index/records/([a-z][a-z0-9.-]{0,63}(?:/(?:0|[1-9][0-9]{0,5}))?)/(tile/.+)", re.ASCII
)
_CHUNK: Final = re.compile(
    r"/index/runs/(0|[1-9][0-9]{0,15})-([1-9][0-9]{0,15})/(0|[1-9][0-9]{0,9})", re.ASCII
)
_PREFIX: Final = "tile/"


class IndexEndpoints:
    """Answers the requests below /index."""

    def __init__(
        self,
        reader: LogReader,
        runs: MongoRuns,
        gate: IndexGate,
        *,
        timeout_s: float,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Serve `reader`'s entries and `runs` to whom `gate` lets through."""
        self._reader, self._runs, self._gate = reader, runs, gate
        self._timeout_s, self._log = timeout_s, log
        self._turns = asyncio.Semaphore(BUNDLES_AT_ONCE)

    async def answer(self, request: Request) -> Response:
        """Answer a GET, turning errors into one clear text each."""
        path = request.scope.get("raw_path", b"").decode("ascii", "replace")
        host = request.client.host if request.client else "unknown"
        try:
            self._gate.check(host, bearer(request.headers.get("authorization", "")))
            with within(self._timeout_s):
                async with self._turns:
                    return await self._answer(path)
        except NotAllowedError as error:
            return refusal(403, str(error))
        except RunGoneError as error:
            return refusal(404, str(error))
        except UnavailableError as error:
            self._log.warning("index request failed", category=error.category, error=str(error))
            return refusal(503, "the store is away: try again", {"Retry-After": "2"})
        except CorruptError as error:
            self._log.warning("index request failed", category=error.category, error=str(error))
            return refusal(500, "what is stored is not what was sealed: tell the operator")

    async def _answer(self, path: str) -> Response:
        if chunk := _CHUNK.fullmatch(path):
            place = Place(0, int(chunk[3]))
            found = await self._runs.documents(f"{chunk[1]}-{chunk[2]}", [place])
            return _response(found[place], BYTES)
        asked = _RECORDS.fullmatch(path)
        if asked is None or not (asked[1] in SINGLE_LOGS or asked[1].startswith(INDEXED_PREFIX)):
            return refusal(
                404, "see /index/records/<log>/tile/<N>[.p/<W>] and /index/runs/<since>-<to>/<chunk>"
            )
        try:
            n, width = parse_number_path(asked[2].removeprefix(_PREFIX))
        except TreeError as error:
            return refusal(404, str(error))
        first = n * TILE_WIDTH
        size = await self._size(asked[1])
        if first + width > size:
            return refusal(404, f"beyond the log: {asked[1]} has {size} entries")
        records = await self._reader.records(asked[1], range(first, first + width))
        return _response(bundles.encode([_tagged(record) for record in records]), JSON)

    async def _size(self, log: str) -> int:
        if log == INDEX_LOG:
            return await self._reader.signed_size(log)
        stored = await self._reader.checkpoint(log)
        return stored.size if stored else 0


def _tagged(record: SealedRecord) -> TaggedEntry:
    public = record.parts if record.log in SINGLE_LOGS else ()
    parts = tuple(DisclosedPart(part.content, part.name, part.salt) for part in public)
    return TaggedEntry(record.entry, b"".join(record.tags), parts)


def _response(body: bytes, kind: str) -> Response:
    return Response(body, 200, {"Content-Type": kind, "Cache-Control": NEVER})
