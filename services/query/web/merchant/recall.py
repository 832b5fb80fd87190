"""Recalls: choose a lot, see what came of it while it is found, take it away as a sheet."""

import asyncio
import gzip
import secrets
import tempfile
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from fastapi import Request, Response

from goodstrace.asked_keys import key_asked
from services.query.own_goods import OwnGoods
from services.query.web.merchant.goods import ROWS, GoodsPages
from services.query.web.merchant.ports import Page
from services.query.web.merchant.recalling import Recalling, RecallRun, Sizes, sizes_of, sizes_text
from services.query.web.pages import WebPages
from services.query.web.security import local
from services.query.web.streaming import Streamed
from services.query.web.visiting import Visit
from services.runtime.call_errors import InvalidRequestError
from services.runtime.call_limits import MAX_KEY_CHARS
from services.sealing.reader import LogReader

FIRST_S: Final = 15.0
EVERY_S: Final = 1.0
_CHUNK_BYTES: Final = 64 * 1024
_MEDIA: Final = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_HTML: Final = "text/html; charset=utf-8"


class RecallPages:
    """Answers /merchant/recall, and its sheets."""

    def __init__(
        self,
        page: Page,
        pages: WebPages,
        service: Recalling,
        reader: LogReader,
        *,
        goods: OwnGoods,
        names: GoodsPages,
        timeout_s: float,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Recall by `service`, at most `timeout_s` each; `goods` finds lots by their number."""
        self._page, self._pages, self._service, self._reader = page, pages, service, reader
        self._goods, self._names, self._timeout_s, self._log = goods, names, timeout_s, log

    async def recall(self, request: Request, visit: Visit) -> Response:
        """Show the form; with a key recall it, with a lot number the lots that it may be."""
        asked = _asked(request)
        key = (key_asked(asked) or "") if asked else ""
        if ":" in key:
            return await self._shown(request, visit, key)
        found = await self._goods.page(asked, "", ROWS, "recall page") if asked else None
        things = await self._names.names([row.key for row in found.rows]) if found else {}
        return await self._page(
            request, visit, "merchant/recall.html", asked=asked, found=found, things=things, marker=""
        )

    async def csv(self, request: Request, visit: Visit) -> Response:
        """Give a recall as CSV."""
        return await self._sheet(request, visit, "csv")

    async def xlsx(self, request: Request, visit: Visit) -> Response:
        """Give a recall as a workbook."""
        return await self._sheet(request, visit, "xlsx")

    async def _shown(self, request: Request, visit: Visit, key: str) -> Response:
        marker = secrets.token_hex(16)
        whole = await self._page(
            request, visit, "merchant/recall.html", asked=key, found=None, things={}, marker=marker
        )
        body = bytes(whole.body)
        if whole.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        head, _, tail = body.partition(marker.encode())
        run = await self._run(key, "recall page", {})
        made = partial(self._pieces, visit, run, head, tail)
        answer = self._streamed(request, visit, made, _HTML)
        for name, value in whole.raw_headers:
            if name in (b"set-cookie", b"vary"):
                answer.raw_headers.append((name, value))
        return answer

    async def _pieces(
        self, visit: Visit, run: RecallRun, head: bytes, tail: bytes
    ) -> AsyncGenerator[bytes, None]:
        """Give the page bit by bit: what stands before it, a line for each level or second, the lists, what stands behind it."""
        fragment = partial(self._pages.fragment, visit)
        clock_s, told_s, level = asyncio.get_running_loop().time, 0.0, -1
        is_begun = False
        try:
            async with run:
                async for each in run.progress():
                    if not is_begun:
                        yield head
                        is_begun = True
                    if each.level != level or clock_s() - told_s >= EVERY_S:
                        told_s, level = clock_s(), each.level
                        yield fragment("merchant/recall_progress.html", progress=each)
                listed = await run.listed()
                keys = [row[0] for row in (*listed.holders, *listed.goods)]
                values = {
                    "key": run.key,
                    "summary": run.summary,
                    "listed": listed,
                    "browse_id": run.browse_id,
                    "things": await self._names.names(keys),
                    **{
                        kind: local(f"/merchant/recall.{kind}", key=run.key, as_of=sizes_text(run.sizes))
                        for kind in _MEDIA
                    },
                }
                yield fragment("merchant/recall_result.html", **values)
        except Exception as error:
            if not is_begun:
                raise
            self._log.warning("a recall broke off", cause=f"{type(error).__name__}: {error}")
            yield fragment("merchant/recall_broken.html")
        yield tail

    async def _sheet(self, request: Request, visit: Visit, kind: str) -> Response:
        key = key_asked(_asked(request))
        if key is None:
            raise InvalidRequestError("1 to 2048 characters", "key")
        run = await self._run(key, f"recall as {kind}", sizes_of(request.query_params.get("as_of", "")))
        made = partial(self._file, run, kind)
        answer = self._streamed(request, visit, made, _MEDIA[kind], first_s=self._timeout_s)
        answer.headers["Content-Disposition"] = f'attachment; filename="recall.{kind}"'
        return answer

    async def _file(self, run: RecallRun, kind: str) -> AsyncGenerator[bytes, None]:
        with tempfile.TemporaryDirectory(prefix="goodstrace-sheet-") as folder:
            path = Path(folder) / f"recall.{kind}"
            async with run:
                async for _ in run.progress():
                    pass
                await run.write(path, kind)
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk

    async def _run(self, key: str, purpose: str, as_of: Sizes) -> RecallRun:
        vkeys = [each.vkey for each in await self._reader.logs()]
        return RecallRun(
            self._service, key, purpose=purpose, vkeys=vkeys, as_of=as_of, timeout_s=self._timeout_s
        )

    def _streamed(
        self,
        request: Request,
        visit: Visit,
        made: Callable[[], AsyncGenerator[bytes, None]],
        media_type: str,
        *,
        first_s: float = FIRST_S,
    ) -> Streamed:
        return Streamed(
            made,
            partial(self._pages.failed, request, visit),
            first_s=first_s,
            headers={"Cache-Control": "no-store"},
            media_type=media_type,
        )


def _asked(request: Request) -> str:
    text = request.query_params.get("key", "").strip()
    if len(text) > MAX_KEY_CHARS:
        raise InvalidRequestError(f"over {MAX_KEY_CHARS} characters", "key")
    return text
