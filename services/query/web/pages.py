"""The web pages over HTTP: paths, who may see what, the one table from errors to pages."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import structlog
from fastapi import Request, Response

from goodstrace import asked_keys
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import trace_pb2
from goodstrace.registration import merchant_key
from services.query.http_headers import accepts_gzip, matches
from services.query.log_endpoints import base_url
from services.query.metrics import QueryMetrics
from services.query.web import asking, bundling, linkset, trace_view
from services.query.web.answers import STATUS, as_json, bundled, sent
from services.query.web.asking import MOST_DEPTH, depth_asked
from services.query.web.face import Face, Faces
from services.query.web.labels import label
from services.query.web.languages import LANGUAGES, best_name
from services.query.web.neighbours import NeighbourAwayError
from services.query.web.rates import Rates
from services.query.web.registered import Register
from services.query.web.rendering import Rendering
from services.query.web.security import HEADERS, local
from services.query.web.sensors import charts
from services.query.web.session_cookies import CSRF, set_cookie
from services.query.web.settings import WebSettings
from services.query.web.signing_in import WebSignIn
from services.query.web.static_files import static_files
from services.query.web.summary import summary
from services.query.web.trace_view import ShownTrace, shown_trace
from services.query.web.verdicts import flags
from services.query.web.visiting import LANGUAGE_COOKIE, Tracing, Visit, trace, visit_of
from services.query.web.way import way
from services.runtime.call_errors import CallError, ExhaustedError, InvalidRequestError, NotFoundError
from services.runtime.calls import failure_of
from services.runtime.merchants.errors import RefusedError
from services.runtime.mongo import within
from services.sealing import disclosure
from services.sealing.failures import FAILURES
from services.sealing.reader import LogReader

MAX_TOKEN_CHARS: Final = 20_000
_KEPT: Final = frozenset(
    ("key", "depth", "q", "user", "log", "height", "below", "from", "state", "reason", "record", "page")
)
"""What an address keeps where the language is switched."""
_STORE_SHARE: Final = 0.8
_HTML: Final = "text/html; charset=utf-8"
_YEAR_S: Final = 365 * 86_400
Handler = Callable[[Request, Visit], Awaitable[Response]]


class WebPages:
    """Answers the requests for pages; made once, `services.query.web.routes` gives it its paths."""

    def __init__(
        self,
        tracing: Tracing,
        reader: LogReader,
        secret: bytes,
        *,
        settings: WebSettings,
        max_events: int,
        public_url: str,
        clock_s: Callable[[], float],
        log: structlog.stdlib.BoundLogger,
        sign_in: WebSignIn | None = None,
        offers: Callable[[Request], bool] = lambda _: False,
        metrics: QueryMetrics | None = None,
    ) -> None:
        """Show what `tracing` answers and what is public in `reader`'s logs.

        Args:
            tracing: TraceService, which records every look before it answers.
            reader: gives registrations, and what public faces are made of.
            secret: the index secret, 32 bytes.
            settings: of the pages.
            max_events: how many records are looked at to tell how goods stand.
            public_url: of this server as browsers see it, without a slash at the end; where empty, as they asked for it.
            clock_s: monotonic seconds.
            log: told of what could not be shown.
            sign_in: signs browsers in; None where accounts are off.
            metrics: counts; None for none.
            offers: says whether who asks gets proofs of completeness.
        """
        self.sign_in, self._offers, self._metrics = sign_in, offers, metrics
        self._tracing, self._reader = tracing, reader
        self._settings, self._public_url, self._log = settings, public_url, log
        self._register = Register(reader, secret)
        self._faces = Faces(reader, secret, max_events)
        self._rates = Rates(settings.looks_per_min, clock_s)
        self._rendering = Rendering(witnesses=" ".join(settings.witnesses()))
        self._files = static_files()

    def handler(self, work: Handler, page: str) -> Callable[[Request], Awaitable[Response]]:
        """Put deadline, headers, language cookie, errors and counting around a page, whose path has the template `page`."""
        if self._metrics:
            self._metrics.open_page(page)

        async def answer(request: Request) -> Response:
            visit, started = visit_of(request), time.perf_counter()
            try:
                with within(self._settings.timeout_s * _STORE_SHARE):
                    async with asyncio.timeout(self._settings.timeout_s):
                        response = await work(request, visit)
            except Exception as error:  # noqa: BLE001 - the top of a request: logged, answered without a traceback
                response = self.failed(request, visit, error)
            if self._metrics:
                self._metrics.answered_page(page, response.status_code, time.perf_counter() - started)
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            if request.query_params.get("lang") in LANGUAGES:
                response.set_cookie(
                    LANGUAGE_COOKIE,
                    visit.language,
                    _YEAR_S,
                    secure=visit.is_tls,
                    httponly=True,
                    samesite="lax",
                )
            return response

        return answer

    async def home(self, request: Request, visit: Visit) -> Response:
        """Show the home page: what this is, and the search."""
        return await self.page(request, visit, "home.html")

    async def scan(self, request: Request, visit: Visit) -> Response:
        """Show the page that scans codes by camera."""
        return await self.page(request, visit, "scan.html")

    async def seals(self, request: Request, visit: Visit) -> Response:
        """Show the logs with their keys and sizes, for whoever checks by other means."""
        infos, newest = await asyncio.gather(self._reader.logs(), self._reader.newest())
        logs = [(info, newest[info.name]) for info in infos if info.name in newest]
        return await self.page(request, visit, "seals.html", logs=logs)

    async def search(self, request: Request, visit: Visit) -> Response:
        """Lead from what was typed to its page: always on this server."""
        text = request.query_params.get("q", "")
        key = asked_keys.key_asked(text)
        if key is None:
            return await self.page(
                request, visit, "home.html", status=400, problem="search.nothing", asked=text[:200]
            )
        return Response(status_code=303, headers={"Location": asking.page_of(key)})

    async def goods(self, request: Request, visit: Visit) -> Response:
        """Show the page about goods: the trace, or where the visitor may not see it the public face; or the linkset."""
        key = self.key(request)
        if asked_keys.is_gs1(key) and linkset.wants_linkset(
            request.headers.get("accept", ""), request.query_params.get("linkType", "")
        ):
            return await self._linkset(request, visit, key)
        self._let_in(visit)
        face = await self._faces.find(key)
        links = {
            "Link": f'<{asking.page_of(key, linkType="linkset")}>; rel="linkset"; type="{linkset.MEDIA_TYPE}"'
        }
        more = links if asked_keys.is_gs1(key) else {}
        if not self._sees_trace(visit):
            return await self.page(
                request, visit, "face.html", face=face, bundle=_beside("/face", key), headers=more
            )
        answer = await self._trace(request, key)
        shown = await asyncio.to_thread(shown_trace, answer)
        values = await self._values(request, shown, face)
        return await self.page(request, visit, "trace.html", headers=more, **values)

    async def bundle(self, request: Request, visit: Visit) -> Response:
        """Give the proof bundle of a page of a trace: recorded as a look of its own."""
        key = self.key(request)
        self._let_in(visit)
        if not self._sees_trace(visit):
            raise NotFoundError("sign in to see the trace", "key")
        face = await self._faces.find(key)
        answer = await self._trace(request, key)
        named = await self._named(await asyncio.to_thread(shown_trace, answer), face)
        return await bundled(request, (await asyncio.to_thread(bundling.of_trace, answer, named)).encode())

    async def face(self, request: Request, visit: Visit) -> Response:
        """Give the proof bundle of a public face."""
        key = self.key(request)
        self._let_in(visit)
        return await bundled(request, bundling.of_face(await self._faces.find(key)).encode())

    async def label(self, request: Request, _visit: Visit) -> Response:
        """Give a QR code for a label, as SVG: it leads to the page of the key on this server."""
        address = self.base(request) + asking.page_of(self.key(request))
        return Response(label(address), media_type="image/svg+xml")

    async def resolver(self, request: Request, _visit: Visit) -> Response:
        """Describe this resolver of GS1 Digital Links."""
        return as_json(linkset.resolver(self.base(request)), "application/json")

    async def file(self, request: Request, _visit: Visit) -> Response:
        """Give a file that pages need."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise NotFoundError("there is no such file")
        headers = {"ETag": found.etag, "Cache-Control": "public, max-age=300", "Vary": "Accept-Encoding"}
        if matches(request.headers.get("if-none-match", ""), found.etag):
            return Response(status_code=304, headers=headers)
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            headers["Content-Encoding"] = "gzip"
            return Response(found.compressed, 200, headers, found.media_type)
        return Response(found.content, 200, headers, found.media_type)

    def key(self, request: Request) -> str:
        """Read which goods are asked for: by the path of a Digital Link, else by `key`. Raises: NotFoundError, InvalidRequestError."""
        if "ai" in request.path_params:
            key = asked_keys.key_of_path(request.scope.get("raw_path", b"").decode("ascii", "replace"))
            if key is None:
                raise NotFoundError("there is no such page")
            return key
        key = asked_keys.key_asked(request.query_params.get("key", ""))
        if key is None:
            raise InvalidRequestError("1 to 2048 characters", "key")
        return key

    def _let_in(self, visit: Visit) -> None:
        if not visit.is_signed_in and not self._rates.take(visit.network):
            raise ExhaustedError("too many pages a minute")

    def _sees_trace(self, visit: Visit) -> bool:
        return visit.is_signed_in or self._settings.public_trace

    async def _trace(self, request: Request, key: str) -> trace_pb2.TraceResponse:
        token = request.query_params.get("page", "")
        if len(token) > MAX_TOKEN_CHARS:
            raise InvalidRequestError("it is too long", "page")
        asked = trace_pb2.TraceRequest(
            key=key,
            max_depth=depth_asked(request.query_params.get("depth", ""), self._settings.depth),
            purpose="web page",
            page_size=self._settings.events_on_page,
            page_token=token,
        )
        return await trace(self._tracing, asked)

    async def _values(self, request: Request, shown: ShownTrace, face: Face) -> dict[str, Any]:
        sizes = {log: stored.size for log, stored in face.checkpoints.items()}
        things, merchants = await asyncio.gather(
            self._register.things(trace_view.keys_of(shown), sizes),
            self._register.merchants(trace_view.merchants_of(shown), sizes),
        )
        readings = [reading for event in shown.events for reading in event.readings]
        places = trace_view.events_by_place([each for each in shown.events if each.certain])
        points = {key: thing.point for key, thing in things.items() if thing.point is not None}
        key, depth, token = (
            shown.answer.key,
            depth_asked(request.query_params.get("depth", ""), self._settings.depth),
            request.query_params.get("page", ""),
        )
        more = shown.answer.next_page_token
        return {
            "trace": shown,
            "face": face,
            "things": things,
            "merchants": merchants,
            "charts": charts(readings),
            "way": way(places, points),
            "places": list(dict.fromkeys(places)),
            "summary": summary(shown, face, things),
            "flags": flags(shown.events),
            "depth": depth,
            "deeper": asking.page_of(key, depth=str(min(MOST_DEPTH, depth + 3)))
            if shown.answer.truncated or _is_cut(shown)
            else "",
            "next_page": asking.page_of(key, depth=str(depth), page=more) if more else "",
            "label": _beside("/label.svg", key),
            "bundle": _beside("/bundle", key, depth=str(depth), page=token),
            "complete": _beside("/complete", key) if self._offers(request) else "",
        }

    async def _named(self, shown: ShownTrace, face: Face) -> Iterable[log_pb2.SealedEntry]:
        """Prove the registrations whose names the page shows, under the checkpoints that the answer has."""
        sizes = shown.sizes()
        things = await self._register.things(trace_view.keys_of(shown), sizes)
        merchants = await self._register.things(
            map(merchant_key, sorted(trace_view.merchants_of(shown))), sizes
        )
        found = [*things.values(), *merchants.values(), *([face.goods] if face.goods else ())]
        records = {(each.record.log, each.record.index): each.record for each in found}
        proved = [each for each in records.values() if each.index < sizes.get(each.log, 0)]
        return (await disclosure.disclose(self._reader, proved, sizes)).values()

    async def _linkset(self, request: Request, visit: Visit, key: str) -> Response:
        self._let_in(visit)
        face = await self._faces.find(key)
        title = best_name(face.goods.names, visit.language) if face.goods else ""
        found = linkset.linkset(key, self.base(request), title or asking.spoken(key))
        return as_json(found, linkset.MEDIA_TYPE)

    def base(self, request: Request) -> str:
        """Give the address of this server as browsers see it, without a slash at the end."""
        return self._public_url or base_url(request)

    async def page(
        self,
        request: Request,
        visit: Visit,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response:
        """Answer with a template, in the visitor's language and with what every page has."""
        path = request.scope.get("raw_path", b"/").decode("ascii", "replace")
        kept = {name: value for name, value in request.query_params.items() if name in _KEPT}
        values["can_sign_in"] = self.sign_in is not None
        seed, values["form_token"] = self.sign_in.form(request) if self.sign_in else ("", "")
        body = self._rendering.page(template, visit.language, visit=visit, path=path, kept=kept, **values)
        named = {
            "Cache-Control": "no-store" if visit.is_signed_in or visit.has_account else "no-cache",
            "Vary": "Accept, Accept-Language, Cookie, Accept-Encoding",
            **(headers or {}),
        }
        if values["form_token"] and (visit.has_account or template == "sign_in.html"):
            # A secret in a page that is compressed beside what others write could be guessed (BREACH).
            response = Response(body, status, named, _HTML)
            set_cookie(response, CSRF, seed, 86_400, is_tls=visit.is_tls)
            return response
        return await sent(request, body, _HTML, status, named)

    def fragment(self, visit: Visit, template: str, **values: Any) -> bytes:
        """Render a piece of a page that is sent bit by bit."""
        return self._rendering.page(template, visit.language, **values)

    def failed(self, request: Request, visit: Visit, error: Exception) -> Response:
        """Answer with the page that says what did not work."""
        failure = failure_of(error, FAILURES)
        status = STATUS.get(failure.code, 500)
        log = self._log.bind(
            path=request.scope["path"][:200], status=status, cause=f"{type(error).__name__}: {error}"
        )
        if isinstance(error, CallError | RefusedError):
            log.info("refused a page")
        elif status == 500:
            log.error("failed a page", exc_info=error)
        else:
            log.warning("failed a page")
        body = self._rendering.page(
            "error.html",
            visit.language,
            visit=visit,
            path="/",
            kept={},
            can_sign_in=False,
            form_token="",
            status=status,
            reason="NEIGHBOUR_AWAY" if isinstance(error, NeighbourAwayError) else failure.reason,
        )
        headers = {"Cache-Control": "no-store", **({"Retry-After": "10"} if status in (429, 503) else {})}
        return Response(body, status, headers, _HTML)


def _beside(path: str, key: str, **query: str) -> str:
    return local(path, key=key, **query)


def _is_cut(shown: ShownTrace) -> bool:
    return any(
        "not-expanded" in node.marks and node.grade not in ("class", "location", "party")
        for node in shown.answer.nodes
    )
