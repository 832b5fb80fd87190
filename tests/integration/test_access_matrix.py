"""Every row of the table of who may do what, as every role, through the servers themselves: only servicers and handlers are stubs."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest
import structlog
from fastapi import APIRouter, FastAPI
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry
from starlette.responses import Response
from starlette.routing import Route

from goodstrace.audit.v1 import audit_pb2, watch_pb2
from goodstrace.collector.v1 import capture_pb2
from goodstrace.query.v1 import completeness_pb2, login_pb2, trace_pb2
from services.query.epcis_api import EpcisApi
from services.query.http_app import make_app
from services.query.web.auditing import AuditorPages
from services.query.web.complete import CompletePages
from services.query.web.merchant.goods import GoodsPages
from services.query.web.merchant.labels import LabelPages
from services.query.web.merchant.looks import LooksPages
from services.query.web.merchant.pages import MerchantPages
from services.query.web.merchant.recall import RecallPages
from services.query.web.merchant.registry import RegistryPages
from services.query.web.merchant.staff import StaffPages
from services.query.web.operating import OperatorPages
from services.query.web.pages import WebPages
from services.query.webhooks.api import WebhookApi
from services.runtime.access.guard import Guard, Reason, Refusal
from services.runtime.access.http import GuardedRoutes
from services.runtime.access.table import TABLE, Row, allows
from services.runtime.access.values import Account, AccountStatus, Role
from services.runtime.call_errors import NotAllowedError
from services.runtime.grpc import CallInterceptor, CallMetrics, Server, full_names
from services.runtime.merchants.api_keys import new_key
from services.runtime.merchants.directory import Directory, Staleness
from services.sealing.failures import FAILURES
from tests.deadlines import DEADLINE_S
from tests.memory_accounts import OPERATOR, MemoryAccounts, authenticator, token_of
from tests.memory_registry import MemoryRegistry
from tests.unit.collector_builders import NOW_MS, counted
from tests.unit.registry_builders import Registry, registered, whole_app
from tests.unit.test_authenticator import FORGED

MERCHANT: Final = 7
SERVED: Final[dict[str, tuple[Any, ...]]] = {
    "collector": (capture_pb2.DESCRIPTOR.services_by_name["CaptureService"],),
    "query": (
        trace_pb2.DESCRIPTOR.services_by_name["TraceService"],
        completeness_pb2.DESCRIPTOR.services_by_name["CompletenessService"],
        login_pb2.DESCRIPTOR.services_by_name["LoginService"],
        login_pb2.DESCRIPTOR.services_by_name["AccountService"],
    ),
    "audit": (
        audit_pb2.DESCRIPTOR.services_by_name["AuditService"],
        watch_pb2.DESCRIPTOR.services_by_name["WatchService"],
    ),
}
"""What each service serves over gRPC."""
NOTHING: Final[Any] = None
REFUSED: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class World:
    """Somebody of each role, what they show, and a guard for each service. `now_s` moves the clock."""

    def __init__(self) -> None:
        self.registry, self.accounts, self.now_s = MemoryRegistry(), MemoryAccounts(), 0.0
        self.refusals: list[Refusal] = []
        registered(self.registry, MERCHANT)
        kept, self.key = new_key(MERCHANT, "", 0, counted())
        self.registry.rows[kept.id], self.key_id = kept, kept.id
        clock_s: Callable[[], float] = lambda: self.now_s  # noqa: E731
        directory = Directory(self.registry, Staleness(2, 0), clock_s, lambda: NOW_MS)  # type: ignore[arg-type]
        known = authenticator(directory, self.accounts, clock_s, lambda: NOW_MS)
        self.guards = {
            name: Guard(name, known, self.refusals.append, fresh_s=0.05) for name in (*SERVED, "test")
        }
        self.people = {
            role: self.accounts.add(role.value, role, merchant=MERCHANT if role is Role.MERCHANT else 0)
            for role in Role
            if role is not Role.ANYBODY
        }

    def shown(self, role: Role) -> tuple[tuple[str, str], ...]:
        """What somebody of this role shows."""
        return bearing(token_of(self.people[role], NOW_MS)) if role is not Role.ANYBODY else ()


def bearing(credential: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {credential}"),)


@pytest.fixture
def world() -> World:
    return World()


class Served:
    """A gRPC server whose methods are all stubs: each calls `answer`, which may be changed, and gives an empty message."""

    def __init__(self, world: World, service: str) -> None:
        self.calls = 0
        self.answer: Callable[[Any], Any] = self._answer
        self._descriptors = SERVED[service]
        names = [name for each in self._descriptors for name in full_names(each)]
        metrics = CallMetrics("test", [name.rpartition("/")[2] for name in names], CollectorRegistry())
        self.interceptor = CallInterceptor(
            names, metrics, FAILURES, 5, structlog.get_logger(), guard=world.guards[service]
        )
        self.server = Server(self.interceptor, max_concurrent_calls=64)
        for each in self._descriptors:
            self.server.grpc.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(each.full_name, self._handlers(each)),)
            )

    async def _answer(self, _context: Any) -> None:
        self.calls += 1

    def _handlers(self, descriptor: Any) -> dict[str, Any]:
        return {method.name: self._handler(method) for method in descriptor.methods}

    def _handler(self, method: Any) -> Any:
        async def unary(request: Any, context: Any) -> bytes:
            if (
                method.client_streaming
            ):  # an answer before the stream has ended may come as a stream that was reset
                async for _ in request:
                    pass
            await self.answer(context)
            return b""

        async def stream(_request: Any, context: Any) -> None:
            await self.answer(context)

        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        handler: Any = getattr(grpc, f"{kind}_rpc_method_handler")
        return handler(stream if method.server_streaming else unary)


@asynccontextmanager
async def served(world: World, service: str) -> AsyncIterator[tuple[Served, grpc.aio.Channel]]:
    made = Served(world, service)
    port = await made.server.start("127.0.0.1", 0, [each.full_name for each in SERVED[service]])
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield made, channel
    finally:
        await made.server.stop(notice_s=0, drain_s=0)


async def called(channel: grpc.aio.Channel, operation: str, metadata: Any) -> grpc.StatusCode:
    """Call a method, of whichever kind, with an empty message; gives the code."""
    _, service, method = operation.split("/")
    kind = next(
        each
        for descriptors in SERVED.values()
        for descriptor in descriptors
        if descriptor.full_name == service
        for each in descriptor.methods
        if each.name == method
    )
    streams = (
        f"{'stream' if kind.client_streaming else 'unary'}_{'stream' if kind.server_streaming else 'unary'}"
    )
    asked = iter([b""]) if kind.client_streaming else b""
    call = getattr(channel, streams)(operation)(asked, metadata=metadata, timeout=DEADLINE_S)
    try:
        if kind.server_streaming:
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def wanted(row: Row, role: Role) -> grpc.StatusCode:
    """What the table says of somebody of this role."""
    if allows(row.roles, frozenset({role})):
        return grpc.StatusCode.OK
    return REFUSED[0] if role is Role.ANYBODY else REFUSED[1]


@pytest.mark.parametrize("service", SERVED)
async def test_every_rpc_is_for_those_whom_its_row_names(
    world: World, service: str, tell: Callable[[str], None]
) -> None:
    rows = [row for row in TABLE if row.service == service and row.operation.startswith("/")]
    refused = 0
    async with served(world, service) as (server, channel):
        for row in rows:
            for role in Role:
                before = (server.calls, len(world.refusals))
                code = await called(channel, row.operation, world.shown(role))
                assert code is wanted(row, role), (row.operation, role)
                is_refused = code is not grpc.StatusCode.OK
                assert server.calls == before[0] + (not is_refused)
                assert len(world.refusals) == before[1] + is_refused
                if is_refused:
                    refusal = world.refusals[-1]
                    assert (refusal.service, refusal.operation) == (service, row.operation)
                    assert refusal.who.roles == ({role} - {Role.ANYBODY})
                    assert refusal.reason is (Reason.NOTHING_SHOWN if role is Role.ANYBODY else Reason.ROLE)
                    assert refusal.network == "127.0.0.0/24"
                refused += is_refused
    tell(f"access: {service}: {len(rows)} RPCs x {len(Role)} roles tried, {refused} refused")


def apps() -> dict[str, FastAPI]:
    """The applications that the services serve, whole."""
    registry = Registry()
    epcis: Any = object.__new__(EpcisApi)
    webhooks: Any = object.__new__(WebhookApi)
    logs: Any = _Handler()
    pages: Any = object.__new__(WebPages)
    pages._metrics = None
    pages.sign_in = None
    more: Any = [object.__new__(each) for each in (AuditorPages, CompletePages, OperatorPages)]
    more.append(
        MerchantPages(
            goods=object.__new__(GoodsPages),
            recall=object.__new__(RecallPages),
            registry=object.__new__(RegistryPages),
            staff=object.__new__(StaffPages),
            labels=object.__new__(LabelPages),
            looks=object.__new__(LooksPages),
        )
    )
    guard = Guard("query", NOTHING, NOTHING)
    return {
        "collector": whole_app(registry),
        "query": make_app(logs, guard, epcis, logs, webhooks, pages=pages, more_pages=more, login=logs),
    }


class _Handler:
    async def answer(self, _request: Any) -> Response:
        return Response(b"")

    jwks = answer


def operations(app: FastAPI) -> set[str]:
    """What an application serves, as the table names it."""
    return {
        f"{method} {getattr(route, 'path', '')}"
        for route in app.routes
        for method in getattr(route, "methods", None) or {"ANY"}
        if method not in ("HEAD", "OPTIONS")
    }


def stubbed(app: FastAPI, guard: Guard, calls: list[str]) -> FastAPI:
    """The same routes, each with a stub, behind the guard."""

    def stub(path: str) -> Any:
        async def answer(_request: Any) -> Response:
            calls.append(path)
            return Response(b"", 200)

        return answer

    routes = [
        Route(route.path, stub(route.path), methods=[each for each in route.methods if each != "HEAD"])
        for route in app.routes
        if isinstance(route, Route)
    ]
    made = FastAPI(routes=list(routes), openapi_url=None)
    made.add_middleware(GuardedRoutes, guard=guard, answer=_answer)
    return made


def _answer(_scope: Any, error: Exception) -> Response | None:
    codes = {"unauthenticated": 401, "forbidden": 403}
    return Response(b"", codes[getattr(error, "category", "")])


@pytest.mark.parametrize("service", ["collector", "query"])
async def test_every_endpoint_is_for_those_whom_its_row_names(
    world: World, service: str, tell: Callable[[str], None]
) -> None:
    calls: list[str] = []
    app = stubbed(apps()[service], world.guards[service], calls)
    rows = [row for row in TABLE if row.service == service and not row.operation.startswith("/")]
    refused = 0
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        for row in rows:
            method, _, template = row.operation.partition(" ")
            path = _filled(template)
            for role in Role:
                before = len(calls), len(world.refusals)
                answer = await http.request(method, path, headers=dict(world.shown(role)))
                code = {200: grpc.StatusCode.OK, 401: REFUSED[0], 403: REFUSED[1]}.get(answer.status_code)
                assert code is wanted(row, role), (row.operation, role, answer.status_code)
                is_refused = answer.status_code != 200
                assert (len(calls), len(world.refusals)) == (
                    before[0] + (not is_refused),
                    before[1] + is_refused,
                )
                assert is_refused or calls[-1] == template
                refused += is_refused
    tell(f"access: {service}: {len(rows)} endpoints x {len(Role)} roles tried, {refused} refused")


def _filled(template: str) -> str:
    for name in ("name", "number", "identifier", "capture_id", "record_id", "subscription_id"):
        template = template.replace(f"{{{name}}}", "7")
    template = template.replace("{ai:gs1}", "01")
    for name in ("rest", "value", "event_id"):
        template = template.replace(f"{{{name}:path}}", "some/thing")
    return template


def missing(service: str, served: Iterable[str]) -> tuple[set[str], set[str]]:
    """Operations without a row, and rows without an operation."""
    found, rows = set(served), {row.operation for row in TABLE if row.service == service}
    return found - rows, rows - found


def everything() -> Iterator[tuple[str, set[str]]]:
    made = apps()
    for service, descriptors in SERVED.items():
        rpcs = {name for each in descriptors for name in full_names(each)}
        yield service, rpcs | (operations(made[service]) if service in made else set())


def test_what_is_served_has_a_row_and_every_row_is_served() -> None:
    for service, served_there in everything():
        assert missing(service, served_there) == (set(), set()), service
    operations_of = [(row.service, row.operation) for row in TABLE]
    assert len(set(operations_of)) == len(operations_of)


def test_every_service_of_the_protos_is_served_by_somebody() -> None:
    written = {
        name
        for file in Path("proto").rglob("*.proto")
        for name in re.findall(r"^service (\w+)", file.read_text(), re.MULTILINE)
    }
    assert written == {one.name for all_ in SERVED.values() for one in all_}


def test_an_rpc_or_endpoint_without_a_row_is_noticed() -> None:
    """So the test above fails where somebody forgets one."""
    served_there = dict(everything())
    new = "/goodstrace.query.v1.TraceService/Guess"
    assert missing("query", {*served_there["query"], new}) == ({new}, set())
    app = apps()["collector"]
    app.add_api_route("/debug/everything", lambda: None, methods=["GET"])
    assert missing("collector", served_there["collector"] | operations(app))[0] == {"GET /debug/everything"}
    gone = next(iter(served_there["audit"]))
    assert missing("audit", served_there["audit"] - {gone}) == (set(), {gone})
    router = APIRouter(prefix="/more")
    router.add_api_route("/things", lambda: None, methods=["GET"])
    app.include_router(router)
    assert missing("collector", served_there["collector"] | operations(app))[0] - {"GET /debug/everything"}


async def test_what_has_no_row_is_for_nobody(world: World) -> None:
    app = FastAPI(openapi_url=None)
    app.add_api_route("/new", lambda: "shown", methods=["GET"])
    app.add_middleware(GuardedRoutes, guard=world.guards["collector"], answer=_answer)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        for role in Role:
            answer = await http.get("/new", headers=dict(world.shown(role)))
            assert answer.status_code == (401 if role is Role.ANYBODY else 403)
        shown = dict(world.shown(Role.OPERATOR))
        assert (await http.get("/nothing", headers=shown)).status_code == 404
        assert (await http.get("/nothing")).status_code == 404
        assert (await http.post("/new")).status_code == 405


async def test_an_rpc_that_the_interceptor_was_not_told_of_is_not_there(world: World) -> None:
    made = Served(world, "query")
    operation = "/goodstrace.query.v1.TraceService/Trace"
    made.interceptor._methods.pop(operation)
    port = await made.server.start("127.0.0.1", 0, [each.full_name for each in SERVED["query"]])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        code = await called(channel, operation, world.shown(Role.OPERATOR))
        assert (code, made.calls) == (grpc.StatusCode.UNIMPLEMENTED, 0)
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest(service=""))).status
    await made.server.stop(notice_s=0, drain_s=0)


async def test_forged_credentials_get_nowhere(world: World) -> None:
    operation = "/goodstrace.query.v1.AccountService/ListAccounts"
    operator = world.people[Role.OPERATOR]
    async with served(world, "query") as (server, channel):
        assert await called(channel, operation, world.shown(Role.OPERATOR)) is grpc.StatusCode.OK
        forged = {
            name: forge for name, forge in FORGED.items() if name != "too long"
        }  # not even gRPC takes it
        for name, forge in forged.items():
            code = await called(channel, operation, bearing(forge(operator)))
            assert code is grpc.StatusCode.UNAUTHENTICATED, name
            refusal = world.refusals[-1]
            assert (refusal.reason, refusal.who.name) == (Reason.CREDENTIAL, "anonymous")
        assert server.calls == 1
    assert len(world.refusals) == len(forged)


def _changes(world: World) -> dict[str, tuple[tuple[tuple[str, str], ...], Callable[[], object]]]:
    """By name: what is shown, and what makes that it does not count any more."""
    ann = world.accounts.add("ann", Role.MERCHANT, merchant=MERCHANT)

    def changed(**changes: Any) -> Callable[[], Account]:
        return lambda: world.accounts.add("ann", Role.MERCHANT, merchant=MERCHANT, **changes)

    token = bearing(token_of(ann, NOW_MS))
    return {
        "revoked API key": (bearing(world.key), lambda: world.registry.rows.pop(world.key_id)),
        "disabled account": (token, changed(status=AccountStatus.DISABLED)),
        "signed out everywhere": (token, changed(valid_from_ms=NOW_MS + 1)),
        "ended session": (token, lambda: world.accounts.sessions.discard("session of ann")),
        "removed account": (token, lambda: world.accounts.accounts.pop(ann.id)),
        "suspended merchant": (token, lambda: registered(world.registry, MERCHANT, suspended=True)),
        "role taken away": (token, lambda: world.accounts.add("ann", Role.SHOPPER)),
    }


@pytest.mark.parametrize("name", _changes(World()))
async def test_who_does_not_count_any_more_is_out_also_in_the_middle_of_a_stream(
    world: World, name: str
) -> None:
    shown, change = _changes(world)[name]
    operation = "/goodstrace.query.v1.TraceService/Subscribe"
    async with served(world, "query") as (server, channel):
        assert await called(channel, operation, shown) is grpc.StatusCode.OK
        started = asyncio.Event()

        async def never(_context: Any) -> None:
            started.set()
            await asyncio.Event().wait()

        server.answer = never
        call = asyncio.create_task(called(channel, operation, shown))
        await started.wait()
        await asyncio.sleep(0.12)  # it is asked several times, and goes on
        assert not call.done()
        change()
        world.now_s = 3.0
        code = await asyncio.wait_for(call, DEADLINE_S)
        assert code is REFUSED[1 if name == "suspended merchant" else 0]
        assert world.refusals[-1].operation == operation
        again = await called(channel, "/goodstrace.query.v1.LoginService/ListSessions", shown)
        assert again is REFUSED[1 if name == "suspended merchant" else 0] or name == "role taken away"


async def test_what_is_refused_behind_the_guard_is_noted_but_for_what_notes_itself(world: World) -> None:
    async with served(world, "query") as (server, channel):

        async def refuse(_context: Any) -> None:
            raise NotAllowedError("not yours")

        server.answer = refuse
        trace, sign_in = (
            "/goodstrace.query.v1.TraceService/Trace",
            "/goodstrace.query.v1.LoginService/SignIn",
        )
        assert await called(channel, trace, world.shown(Role.SHOPPER)) is grpc.StatusCode.PERMISSION_DENIED
        assert [(each.reason, each.who.name) for each in world.refusals] == [(Reason.OTHER, "shopper")]
        assert await called(channel, sign_in, ()) is grpc.StatusCode.PERMISSION_DENIED
        assert len(world.refusals) == 1


async def test_an_old_token_keeps_nobody_from_signing_in(world: World) -> None:
    async with served(world, "query") as (server, channel):
        for shown in (bearing("nonsense"), bearing(OPERATOR + "x"), ()):
            assert (
                await called(channel, "/goodstrace.query.v1.LoginService/Refresh", shown)
                is grpc.StatusCode.OK
            )
        world.accounts.away = True
        token = bearing(token_of(world.people[Role.SHOPPER], NOW_MS))
        assert await called(channel, "/goodstrace.query.v1.LoginService/Refresh", token) is grpc.StatusCode.OK
        assert (
            await called(channel, "/goodstrace.query.v1.TraceService/Trace", token)
            is grpc.StatusCode.UNAVAILABLE
        )
        assert server.calls == 4
