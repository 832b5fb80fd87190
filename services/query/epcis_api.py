"""The EPCIS 2.0 query interface over HTTP: paths, headers, deadline, and the one table from errors to problems.

Source: EPCIS 2.0 section 12 (REST binding) and its OpenAPI.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import grpc
import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute

from services.query import epcis_headers as headers
from services.query.epcis_parameters import (
    EVENT_TYPES,
    INDEXED,
    NEXT_PAGE_TOKEN,
    PER_PAGE,
    TIME_PARAMETERS,
    Asked,
    EventsQuery,
    asked,
    page_only,
    pairs,
)
from services.query.epcis_problems import PROBLEM_TYPE, QUERY_FAILURES, Problem, problem, problem_of
from services.query.epcis_service import EVENTS, VALUES, Answer, EpcisQueries, Look
from services.query.epcis_values import NAMED, PARAMETER_OF, VOCABULARIES
from services.query.log_endpoints import base_url
from services.query.metrics import QueryMetrics
from services.runtime.call_errors import CallError, NotFoundError
from services.runtime.calls import Failure, failure_of
from services.runtime.merchants.errors import RefusedError
from services.runtime.mongo import within

ROOT: Final = "/epcis/v2"
_STORE_SHARE: Final = 0.8  # of a request's time: what is left is for saying that the store did not answer
_RETRY_AFTER_S: Final = "2"
MORE: Final = {503: {"Retry-After": _RETRY_AFTER_S}, 401: {"WWW-Authenticate": 'Bearer realm="goodstrace"'}}
_Work = Callable[[Look], Awaitable[Answer]]
Respond = Callable[[], Awaitable[Response]]


class EpcisApi:
    """Puts deadline, metrics, error table and log around each query; made once, `add_routes` gives it its paths."""

    def __init__(
        self,
        queries: EpcisQueries,
        *,
        public_url: str,
        max_call_s: float,
        metrics: QueryMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Answer by `queries`.

        Args:
            queries: finds and records.
            public_url: of this server as clients see it, without a slash at the end; where empty, as they asked for it.
            max_call_s: how long a request may take.
            metrics: counts requests beside the gRPC calls.
            log: told of what could not be answered.
        """
        self._queries = queries
        self._public_url, self._max_call_s = public_url, max_call_s
        self._metrics, self._log = metrics, log

    async def events(self, request: Request, of_path: Mapping[str, str]) -> Response:
        """Answer a query for events; `of_path` is the parameter that the path stands for."""

        async def work(look: Look) -> Answer:
            _check_event_type(of_path)
            found = asked(pairs(request.scope["query_string"]), of_path)
            if "EQ_eventID" in of_path:
                return await self._queries.event(found, look)
            return await self._queries.events(found, look)

        return await self.guarded(EVENTS, partial(self._answered, request, work))

    async def run(self, request: Request, named: Callable[[], Awaitable[EventsQuery]]) -> Response:
        """Answer the query that `named` gives; the request has the page's parameters only."""

        async def work(look: Look) -> Answer:
            per_page, token = page_only(pairs(request.scope["query_string"]))
            return await self._queries.events(Asked(await named(), per_page, token), look)

        return await self.guarded(EVENTS, partial(self._answered, request, work))

    async def values(self, request: Request, name: str) -> Response:
        """Answer a query for the list `name`."""

        async def work(look: Look) -> Answer:
            per_page, token = page_only(pairs(request.scope["query_string"]))
            if name in VOCABULARIES:
                return await self._queries.vocabulary(name, per_page, token)
            return await self._queries.values(name, per_page, token, look)

        return await self.guarded(VALUES, partial(self._answered, request, work))

    async def guarded(self, method: str, respond: Respond) -> Response:
        """Answer by `respond`, within the deadline; what it raises becomes a problem."""
        began = self._metrics.calls.begin(method)
        code = grpc.StatusCode.CANCELLED  # unless it comes to an end of its own
        try:
            with within(self._max_call_s * _STORE_SHARE):
                async with asyncio.timeout(self._max_call_s):
                    response = await respond()
            code = grpc.StatusCode.OK
        except Exception as error:  # noqa: BLE001 - the top of a request: counted, logged, answered without a traceback
            failure = failure_of(error, QUERY_FAILURES)
            code = failure.code
            self._report(method, error, failure)
            response = problem_response(problem_of(error, failure))
        finally:
            self._metrics.calls.end(method, code, began)
        return response

    async def _answered(self, request: Request, work: _Work) -> Response:
        media_type = headers.media_type(request.headers)
        query_string = request.scope["query_string"].decode("latin-1")
        path = request.scope.get("raw_path", b"").decode("latin-1")
        look = Look(
            user=headers.caller(request.headers.getlist(headers.USER)),
            purpose=headers.purpose(request.headers.getlist(headers.PURPOSE)),
            query=headers.without_token(path, query_string),
        )
        answer = await work(look)
        named = dict(headers.EPCIS_HEADERS)
        if answer.browse_id:
            named[headers.BROWSE] = answer.browse_id
        if answer.hidden:
            named[headers.HIDDEN] = str(answer.hidden)
        if answer.token:
            base = self._public_url or base_url(request)
            named["Link"] = headers.next_link(base, look.query, answer.token)
            named["GS1-Next-Page-Token-Expires"] = headers.TOKENS_EXPIRE
        return Response(answer.body, 200, named, media_type)

    def _report(self, method: str, error: Exception, failure: Failure) -> None:
        log = self._log.bind(method=method, code=failure.code.name, cause=f"{type(error).__name__}: {error}")
        if isinstance(error, CallError | RefusedError):
            log.info("refused a query")
        elif failure.code is grpc.StatusCode.INTERNAL:
            log.error("failed a query", exc_info=error)
        else:
            log.warning("failed a query")


def problem_response(told: Problem) -> Response:
    """Answer with an RFC 7807 problem."""
    named = {**headers.EPCIS_HEADERS, **MORE.get(told.status, {})}
    return Response(msgspec.json.encode(told), told.status, named, PROBLEM_TYPE)


def no_such_path(status: int, allow: str = "") -> Response:
    """Answer a path or method that there is not below ROOT; `allow` names the methods that there are."""
    if status == 405:
        allowed = allow or headers.DISCOVERY["Allow"]
        response = problem_response(
            problem(405, "MethodNotAllowed", f"only {allowed}: events are captured elsewhere")
        )
        response.headers["Allow"] = allowed
        return response
    return problem_response(problem(404, "NoSuchResourceException", "see /docs for what there is"))


def _check_event_type(of_path: Mapping[str, str]) -> None:
    if of_path.get("eventType", EVENT_TYPES[0]) not in EVENT_TYPES:
        raise NotFoundError(f"event types are {', '.join(EVENT_TYPES)}", "eventType")


def add_routes(app: FastAPI, api: EpcisApi) -> None:
    """Give an application the paths of the query interface, each with its description."""

    @app.get(f"{ROOT}/events", summary="Events", openapi_extra=_described(_EVENT_PARAMETERS))
    async def events(request: Request) -> Response:
        """Give the events that all parameters mean, a page at a time. See docs/epcis-queries.md."""
        return await api.events(request, {})

    @app.get(
        f"{ROOT}/events/{{event_id:path}}",
        summary="The events of an event ID",
        openapi_extra=_described(_PAGE_PARAMETERS),
    )
    async def event(request: Request, event_id: str) -> Response:
        """Give the event of an ID (or event hash), with the corrections of it."""
        return await api.events(request, {"EQ_eventID": event_id})

    for name, parameter in PARAMETER_OF.items():
        _add_list(app, api, name)
        _add_events_of(app, api, name, parameter)
    _add_discovery(app)


def _add_discovery(app: FastAPI) -> None:
    """Answer OPTIONS at every path that there is: what is spoken here, in headers. Nothing of any record is shown."""

    async def options() -> Response:
        return Response(status_code=204, headers=dict(headers.DISCOVERY))

    for path in [each.path for each in app.routes if isinstance(each, APIRoute)]:
        app.add_api_route(path, options, methods=["OPTIONS"], status_code=204, include_in_schema=False)


def _add_list(app: FastAPI, api: EpcisApi, name: str) -> None:
    async def values(request: Request) -> Response:
        return await api.values(request, name)

    description = (
        "What the newest events name, as far as a page looks back; a value may be on two pages."
        if name in NAMED
        else "The standard vocabulary; nothing of any event is shown."
    )
    app.add_api_route(
        f"{ROOT}/{name}",
        values,
        summary=name,
        description=description,
        operation_id=f"list_{name}",
        openapi_extra=_described(_PAGE_PARAMETERS),
    )


def _add_events_of(app: FastAPI, api: EpcisApi, name: str, parameter: str) -> None:
    async def events_of(request: Request, value: str) -> Response:
        return await api.events(request, {parameter: value})

    app.add_api_route(
        f"{ROOT}/{name}/{{value:path}}/events",
        events_of,
        summary=f"Events by {name}",
        description=f"The same as /events with {parameter}.",
        operation_id=f"events_of_{name}",
        openapi_extra=_described(_EVENT_PARAMETERS),
    )


def _parameter(name: str, where: str, kind: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": where, "schema": {"type": kind}, "description": description}


_PAGE_PARAMETERS: Final = [
    _parameter(PER_PAGE, "query", "integer", "1 to 1000, 30 without; what is over counts as 1000."),
    _parameter(NEXT_PAGE_TOKEN, "query", "string", "From the Link header of the page before."),
    _parameter(headers.USER, "header", "string", "Who asks, percent-encoded, 1 to 128 characters."),
    _parameter(headers.PURPOSE, "header", "string", "Why, percent-encoded, up to 256 characters."),
]
_LISTS: Final = (
    *(name for name in INDEXED if "<" not in name),
    "EQ_bizTransaction_po",
    "EQ_source_owning_party",
    "EQ_destination_owning_party",
    "eventType",
    "EQ_action",
    "EQ_bizStep",
    "EQ_disposition",
    "EQ_errorReason",
    "EQ_correctiveEventID",
)
_EVENT_PARAMETERS: Final = [
    *(_parameter(name, "query", "string", "One or more values, separated by |.") for name in _LISTS),
    *(_parameter(name, "query", "string", "A date and time with its zone.") for name in TIME_PARAMETERS),
    _parameter("EXISTS_errorDeclaration", "query", "boolean", "true: corrections only."),
    _parameter("orderBy", "query", "string", "eventTime or recordTime; with a parameter that has an index."),
    _parameter("orderDirection", "query", "string", "ASC or DESC, which it is without."),
    _parameter("eventCountLimit", "query", "integer", "The first so many; with orderBy."),
    _parameter("maxEventCount", "query", "integer", "413 where there are more."),
    *_PAGE_PARAMETERS,
]


def _described(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe what FastAPI does not see: parameters are read strictly and by hand, so that none is passed over."""
    problems = {
        "401": "SecurityException: the API key does not count.",
        "403": "SecurityException: the merchant is suspended.",
        "400": "QueryParameterException: a parameter is unknown, not supported or wrong; `parameter` names it.",
        "404": "NoSuchResourceException.",
        "406": "NotAcceptableException: events are shown as JSON, as they were captured.",
        "413": "QueryTooComplexException: there is no index for it. QueryTooLargeException: too many events.",
        "414": "URITooLongException.",
        "503": "The look could not be recorded, or the store is away: nothing is shown, try again.",
    }
    content = {PROBLEM_TYPE: {"schema": {"type": "object"}}}
    answers: dict[str, Any] = {
        code: {"description": text, "content": content} for code, text in problems.items()
    }
    answers["200"] = {
        "description": "One page; the Link header (rel=next) leads to the next one.",
        "headers": {
            headers.HIDDEN: {
                "schema": {"type": "integer"},
                "description": "How many events were passed over, since they are withheld or erased.",
            }
        },
        "content": {kind: {"schema": {"type": "object"}} for kind in (headers.JSON, headers.JSON_LD)},
    }
    return {"parameters": parameters, "responses": answers}
