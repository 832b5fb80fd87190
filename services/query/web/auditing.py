"""Pages of auditors: logs, their blocks and checkpoints, witnesses, who looked, alerts, and running a verification in the browser.

Logs are public, and their envelopes show nothing: these looks are not recorded. Browse records and alerts are asked of the audit service as
who is signed in: it decides who may see which of them, and records the look before it answers.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Final, Protocol

from fastapi import Request, Response

from goodstrace.audit.v1 import audit_pb2, watch_pb2
from goodstrace.cosignature import CosignatureVerifier
from goodstrace.identifiers import canonical_key
from goodstrace.proof_bundle import ProofBundle
from services.query.index_gate import bearer
from services.query.web import bundling
from services.query.web.answers import bundled
from services.query.web.audit_view import ShownBlock, ShownLog, looks, shown_block, shown_entry, standings
from services.query.web.neighbours import Asker, Neighbours
from services.query.web.pages import MAX_TOKEN_CHARS, Handler, WebPages
from services.query.web.security import local
from services.query.web.visiting import Visit
from services.runtime.access.current import network
from services.runtime.call_errors import InvalidRequestError, NotFoundError
from services.runtime.call_limits import MAX_KEY_CHARS
from services.sealing.pins import SignedHeader
from services.sealing.values import Head, LogInfo, StoredCheckpoint

PURPOSE: Final = "web page"
BLOCKS_ON_PAGE: Final = 20
CHECKPOINTS_LOOKED_AT: Final = 50
LOOKS_ON_PAGE: Final = 25
ALERTS_ON_PAGE: Final = 50
MOST_ENTRIES: Final = 200
MAX_USER_CHARS: Final = 128
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)


class Logs(Protocol):
    """The logs that are registered; `services.sealing.reader.LogReader` is the real one."""

    async def logs(self) -> list[LogInfo]:
        """List them by name."""
        ...


class Book(Protocol):
    """What of logs is paged through; `services.sealing.log_book.LogBook` is the real one."""

    async def heads(self) -> dict[str, Head]:
        """Tell how far each log is signed and published."""
        ...

    async def blocks(self, log: str, low: int, high: int) -> list[SignedHeader]:
        """Give the headers of blocks, newest first."""
        ...

    async def checkpoints(self, log: str, limit: int) -> list[StoredCheckpoint]:
        """Give the newest checkpoints, newest first."""
        ...


class Envelopes(Protocol):
    """The entries of logs; `services.sealing.bundles.EntryReader` is the real one."""

    async def entries(self, log: str, first: int, end: int) -> list[bytes]:
        """Give the entries first..end-1."""
        ...


def asker_of(request: Request) -> Asker:
    """Tell as whom neighbours are asked: by what this request was let in with, and from where the guard says that it comes."""
    return Asker(bearer(request.headers.get("authorization", "")), network())


def number_asked(request: Request, name: str, otherwise: int | None = None) -> int:
    """Read a number of a request's query. Raises: InvalidRequestError where it is none, or is missing without an `otherwise`."""
    text = request.query_params.get(name, "")
    if not text and otherwise is not None:
        return otherwise
    if not _NUMBER.fullmatch(text):
        raise InvalidRequestError("a number is wanted", name)
    return int(text)


class AuditorPages:
    """Answers the requests for pages below /auditor."""

    def __init__(
        self,
        pages: WebPages,
        *,
        logs: Logs,
        book: Book,
        envelopes: Envelopes,
        neighbours: Neighbours,
        witnesses: Iterable[CosignatureVerifier],
    ) -> None:
        """Show `logs` by `book` and `envelopes`, and what `neighbours` tell; `witnesses` are those whose cosignatures are checked."""
        self._pages, self._logs, self._book, self._envelopes = pages, logs, book, envelopes
        self._neighbours, self._witnesses = neighbours, tuple(witnesses)

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        """See MorePages."""
        return (
            ("GET", "/auditor", self.overview),
            ("GET", "/auditor/log", self.log),
            ("GET", "/auditor/block", self.block),
            ("GET", "/auditor/witnesses", self.standing),
            ("GET", "/auditor/browses", self.browses),
            ("GET", "/auditor/browses/bundle", self.browses_bundle),
            ("GET", "/auditor/alerts", self.alerts),
            ("GET", "/auditor/verify", self.verify),
        )

    async def overview(self, request: Request, visit: Visit) -> Response:
        """Show the logs with size, root and last seal."""
        shown = await self._shown()
        return await self._pages.page(request, visit, "auditor.html", logs=shown)

    async def log(self, request: Request, visit: Visit) -> Response:
        """Show a log: its keys, its newest checkpoints, and its blocks, a page of them."""
        shown = await self._one(request)
        name, height = shown.info.name, shown.head.height
        high = min(number_asked(request, "below", height + 1), height + 1)
        low = max(0, high - BLOCKS_ON_PAGE)
        headers, newest = await asyncio.gather(
            self._book.blocks(name, low, high), self._book.checkpoints(name, 10)
        )
        blocks = [shown_block(shown.info, each) for each in headers]
        return await self._pages.page(
            request,
            visit,
            "auditor_log.html",
            log=shown,
            blocks=blocks,
            newest=newest,
            older=local("/auditor/log", log=name, below=str(low)) if low else "",
        )

    async def block(self, request: Request, visit: Visit) -> Response:
        """Show a block: its header, which the browser checks, and the envelopes of its entries, as far as they are published."""
        shown = await self._one(request)
        block = await self._block(shown, number_asked(request, "height"))
        header = block.header
        first = max(header.first, min(number_asked(request, "from", header.first), header.size))
        end = min(header.size, first + MOST_ENTRIES, shown.published)
        data = await self._envelopes.entries(shown.info.name, first, end) if first < end else []
        following = local(
            "/auditor/block", log=shown.info.name, height=str(header.height), **{"from": str(end)}
        )
        return await self._pages.page(
            request,
            visit,
            "auditor_block.html",
            log=shown,
            block=block,
            entries=[shown_entry(first + place, each) for place, each in enumerate(data)],
            following=following if first < end < min(header.size, shown.published) else "",
            is_published=header.size <= shown.published,
        )

    async def standing(self, request: Request, visit: Visit) -> Response:
        """Show which witnesses have cosigned, and how far each is behind in each log."""
        shown = await self._shown()
        newest = await asyncio.gather(
            *(self._book.checkpoints(each.info.name, CHECKPOINTS_LOOKED_AT) for each in shown)
        )
        rows = [
            row
            for each, some in zip(shown, newest, strict=True)
            for row in standings(each.info.name, each.info.origin, each.head, some, self._witnesses)
        ]
        return await self._pages.page(
            request,
            visit,
            "auditor_witnesses.html",
            rows=rows,
            known=len(self._witnesses),
            looked_at=CHECKPOINTS_LOOKED_AT,
        )

    async def browses(self, request: Request, visit: Visit) -> Response:
        """Show who looked at goods, or at what a user looked; without either the form that asks."""
        asked = _browses_asked(request)
        if asked is None:
            return await self._pages.page(
                request,
                visit,
                "auditor_browses.html",
                asked=None,
                looks=(),
                bundle="",
                next_page="",
                browse_id="",
            )
        answer = await self._neighbours.browses(asker_of(request), asked)
        query = {"key": asked.key, "user": asked.user}
        return await self._pages.page(
            request,
            visit,
            "auditor_browses.html",
            asked=asked,
            looks=looks(answer),
            bundle=local("/auditor/browses/bundle", **query, page=asked.page_token),
            next_page=local("/auditor/browses", **query, page=answer.next_page_token)
            if answer.next_page_token
            else "",
            browse_id=answer.browse_id,
        )

    async def browses_bundle(self, request: Request, _visit: Visit) -> Response:
        """Give the proof bundle of a page of browse records: asked for, and recorded, once more."""
        asked = _browses_asked(request)
        if asked is None:
            raise InvalidRequestError("a key or a user is wanted", "key")
        answer = await self._neighbours.browses(asker_of(request), asked)
        bundle: ProofBundle = bundling.of_entries(asked.key or asked.user, answer.browses, answer.checkpoints)
        return await bundled(request, bundle.encode())

    async def alerts(self, request: Request, visit: Visit) -> Response:
        """Show what the watch found."""
        asked = watch_pb2.ListAlertsRequest(
            page_size=ALERTS_ON_PAGE, page_token=_token_asked(request), purpose=PURPOSE
        )
        answer = await self._neighbours.alerts(asker_of(request), asked)
        more = answer.next_page_token
        return await self._pages.page(
            request,
            visit,
            "auditor_alerts.html",
            alerts=answer.alerts,
            next_page=local("/auditor/alerts", page=more) if more else "",
            browse_id=answer.browse_id,
        )

    async def verify(self, request: Request, visit: Visit) -> Response:
        """Show the page that verifies a log in the browser."""
        shown = [each for each in await self._shown() if each.published]
        wanted = request.query_params.get("log", "")
        chosen = wanted if any(each.info.name == wanted for each in shown) else ""
        return await self._pages.page(request, visit, "auditor_verify.html", logs=shown, chosen=chosen)

    async def _shown(self) -> list[ShownLog]:
        infos, heads = await asyncio.gather(self._logs.logs(), self._book.heads())
        there = [info for info in infos if info.name in heads]
        return list(await asyncio.gather(*(self._standing_of(info, heads[info.name]) for info in there)))

    async def _standing_of(self, info: LogInfo, head: Head) -> ShownLog:
        headers = await self._book.blocks(info.name, head.height, head.height + 1)
        return ShownLog(info, head, shown_block(info, headers[0]).header.time if headers else 0)

    async def _one(self, request: Request) -> ShownLog:
        wanted = request.query_params.get("log", "")
        infos, heads = await asyncio.gather(self._logs.logs(), self._book.heads())
        found = next((info for info in infos if info.name == wanted and info.name in heads), None)
        if found is None:
            raise NotFoundError("there is no such log", "log")
        return await self._standing_of(found, heads[found.name])

    async def _block(self, shown: ShownLog, height: int) -> ShownBlock:
        if height > shown.head.height:
            raise NotFoundError("there is no such block", "height")
        [header] = await self._book.blocks(shown.info.name, height, height + 1)
        return shown_block(shown.info, header)


def _browses_asked(request: Request) -> audit_pb2.ListBrowsesRequest | None:
    key, user = request.query_params.get("key", "").strip(), request.query_params.get("user", "").strip()
    if not key and not user:
        return None
    if key and user:
        raise InvalidRequestError("a key or a user, not both", "user")
    if len(key) > MAX_KEY_CHARS or len(user) > MAX_USER_CHARS:
        raise InvalidRequestError("it is too long", "key" if key else "user")
    return audit_pb2.ListBrowsesRequest(
        key=canonical_key(key) if key else "",
        user=user,
        page_size=LOOKS_ON_PAGE,
        page_token=_token_asked(request),
        purpose=PURPOSE,
    )


def _token_asked(request: Request) -> str:
    token = request.query_params.get("page", "")
    if len(token) > MAX_TOKEN_CHARS:
        raise InvalidRequestError("it is too long", "page")
    return token
