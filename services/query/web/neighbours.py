"""The services that pages of merchants, auditors and operators ask, as who is signed in: access and records stay with those services.

The audit service over gRPC, the collector's rejections and registry, readiness of all, and of Prometheus the backlog. Each has a deadline, and what goes
to another machine goes by TLS (`goodstrace.connections`). What fails leaves as the same errors as a call of our own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

import grpc
import httpx
import msgspec

from goodstrace.audit.v1 import audit_pb2, audit_pb2_grpc, watch_pb2, watch_pb2_grpc
from goodstrace.connections import Tls, aio_channel, refuse_clear_text, ssl_context, target_of
from goodstrace.errors import CallError as ClientCallError
from goodstrace.errors import CredentialsError
from goodstrace.registry import RegistryClient
from goodstrace.rejected import RejectedClient
from services.query.web.settings import WebSettings
from services.runtime.access.networks import FORWARDED_FOR, first_address
from services.runtime.call_errors import (
    ExhaustedError,
    InvalidRequestError,
    NotFoundError,
    OutOfRangeError,
)
from services.runtime.errors import SettingsError, UnavailableError
from services.runtime.ladder import GAP, RECORDS, RUNGS
from services.runtime.merchants.errors import ForbiddenError, UnauthenticatedError

MAX_ANSWER_BYTES: Final = 1024 * 1024
_ERRORS: Final[Mapping[str, Callable[[str], Exception]]] = {
    "INVALID_ARGUMENT": InvalidRequestError,
    "OUT_OF_RANGE": OutOfRangeError,
    "NOT_FOUND": NotFoundError,
    "RESOURCE_EXHAUSTED": ExhaustedError,
    "PERMISSION_DENIED": ForbiddenError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "400": InvalidRequestError,
    "401": UnauthenticatedError,
    "403": ForbiddenError,
    "404": NotFoundError,
    "429": ExhaustedError,
}
_T = TypeVar("_T")


class NeighbourAwayError(UnavailableError):
    """A service that a page asks is not set up, or does not answer."""


class Asker(msgspec.Struct, frozen=True):
    """As whom a neighbour is asked: the credential that this service was shown, empty for none, and the network that it came from."""

    token: str
    network: str

    def metadata(self) -> list[tuple[str, str]]:
        """Give what a call shows; neighbours heed from where only where they trust this machine as a proxy, and make the same network of it."""
        shown = [("authorization", f"Bearer {self.token}")] if self.token else []
        return [*shown, *([(FORWARDED_FOR, first_address(self.network))] if self.network else [])]


class Health(msgspec.Struct, frozen=True):
    """Whether a service is ready; `problems` says in lines why it is not."""

    name: str
    is_ready: bool
    problems: str


class Rung(msgspec.Struct, frozen=True):
    """How many records have come to a rung of the ladder, and how many wait below it."""

    name: str
    records: int
    waiting: int


class Neighbours(Protocol):
    """What pages need of others; `ServiceNeighbours` is the real one. Each raises UnavailableError where one is away or not set up."""

    async def browses(
        self, asker: Asker, request: audit_pb2.ListBrowsesRequest
    ) -> audit_pb2.ListBrowsesResponse:
        """List browse records; recorded there."""
        ...

    async def alerts(
        self, asker: Asker, request: watch_pb2.ListAlertsRequest
    ) -> watch_pb2.ListAlertsResponse:
        """List alerts of the watch; recorded there."""
        ...

    async def rejections(self, asker: Asker, state: str, reason: str, limit: int) -> list[dict[str, Any]]:
        """List what the collector refused, newest first."""
        ...

    async def rejection(self, asker: Asker, record: str) -> tuple[dict[str, Any], bytes | None]:
        """Show one rejection, and what was refused where that is shown."""
        ...

    async def health(self) -> list[Health]:
        """Ask each service whether it is ready."""
        ...

    async def backlog(self) -> list[Rung]:
        """Ask Prometheus for the ladder; empty where it has no such series yet."""
        ...


def check_targets(settings: WebSettings, tls: Tls) -> None:
    """See that those which are asked as who is signed in can be asked at all: at the start, and not on the first page that asks.

    Raises: SettingsError where a credential would go in clear text, or a file cannot be used.
    """
    for name, text in (("AUDIT", settings.audit), ("COLLECTOR", settings.collector)):
        if not text:
            continue
        try:
            target = target_of(text, tls)
            if target.secure:
                ssl_context(tls)
            else:
                refuse_clear_text(target.host)
        except CredentialsError as error:
            raise SettingsError(f"GOODSTRACE_QUERY_WEB_{name}: {error}") from error


class ServiceNeighbours:
    """Asks the services that the settings name."""

    def __init__(self, settings: WebSettings, tls: Tls) -> None:
        """Ask by `settings`; `tls` says whom to believe."""
        self._settings, self._tls = settings, tls
        self._channel: grpc.aio.Channel | None = None
        self._http: httpx.AsyncClient | None = None

    async def browses(
        self, asker: Asker, request: audit_pb2.ListBrowsesRequest
    ) -> audit_pb2.ListBrowsesResponse:
        """See Neighbours."""
        stub = audit_pb2_grpc.AuditServiceStub(self._audit())
        return await _called(
            stub.ListBrowses(request, metadata=asker.metadata(), timeout=self._settings.neighbour_timeout_s)
        )

    async def goods_browses(
        self, asker: Asker, request: audit_pb2.CountGoodsBrowsesRequest
    ) -> audit_pb2.CountGoodsBrowsesResponse:
        """Count who looked at a merchant's goods; recorded there."""
        stub = audit_pb2_grpc.AuditServiceStub(self._audit())
        return await _called(
            stub.CountGoodsBrowses(
                request, metadata=asker.metadata(), timeout=self._settings.neighbour_timeout_s
            )
        )

    async def alerts(
        self, asker: Asker, request: watch_pb2.ListAlertsRequest
    ) -> watch_pb2.ListAlertsResponse:
        """See Neighbours."""
        stub = watch_pb2_grpc.WatchServiceStub(self._audit())
        return await _called(
            stub.ListAlerts(request, metadata=asker.metadata(), timeout=self._settings.neighbour_timeout_s)
        )

    async def rejections(self, asker: Asker, state: str, reason: str, limit: int) -> list[dict[str, Any]]:
        """See Neighbours."""
        return await self._rejected(
            asker, lambda client: list(client.list(state=state, reason=reason, limit=limit))
        )

    async def rejection(self, asker: Asker, record: str) -> tuple[dict[str, Any], bytes | None]:
        """See Neighbours."""
        return await self._rejected(asker, lambda client: (client.show(record), client.content(record)))

    async def health(self) -> list[Health]:
        """See Neighbours."""
        return list(await asyncio.gather(*(self._ready(*each) for each in self._settings.ready_urls())))

    async def backlog(self) -> list[Rung]:
        """See Neighbours."""
        if not self._settings.prometheus:
            raise NeighbourAwayError("GOODSTRACE_QUERY_WEB_PROMETHEUS is not set")
        records, waiting = await asyncio.gather(self._series(RECORDS), self._series(GAP))
        return [Rung(name, records[name], waiting.get(name, 0)) for name in RUNGS if name in records]

    async def aclose(self) -> None:
        """Close the connections."""
        if self._channel is not None:
            await self._channel.close(None)
        if self._http is not None:
            await self._http.aclose()

    def _audit(self) -> grpc.aio.Channel:
        if not self._settings.audit:
            raise NeighbourAwayError("GOODSTRACE_QUERY_WEB_AUDIT is not set")
        if self._channel is None:
            try:
                self._channel = aio_channel(self._settings.audit, self._tls, credential=True)
            except CredentialsError as error:
                raise SettingsError(f"GOODSTRACE_QUERY_WEB_AUDIT: {error}") from error
        return self._channel

    async def registry(self, asker: Asker, ask: Callable[[RegistryClient], _T]) -> _T:
        """Ask the collector's registry: `ask` is called beside the event loop. Raises: as the registry refuses; NeighbourAwayError."""

        def asked(url: str) -> _T:
            with RegistryClient(
                url, asker.token, timeout_s=self._settings.neighbour_timeout_s, tls=self._tls
            ) as client:
                return ask(client)

        return await self._collector(asked)

    async def _rejected(self, asker: Asker, ask: Callable[[RejectedClient], _T]) -> _T:
        def asked(url: str) -> _T:
            with RejectedClient(
                url, timeout_s=self._settings.neighbour_timeout_s, token=asker.token, tls=self._tls
            ) as client:
                return ask(client)

        return await self._collector(asked)

    async def _collector(self, asked: Callable[[str], _T]) -> _T:
        if not self._settings.collector:
            raise NeighbourAwayError("GOODSTRACE_QUERY_WEB_COLLECTOR is not set")
        try:
            return await asyncio.to_thread(asked, self._settings.collector)
        except ClientCallError as error:
            raise _error(error.code, str(error)) from error
        except CredentialsError as error:
            raise SettingsError(f"GOODSTRACE_QUERY_WEB_COLLECTOR: {error}") from error

    async def _ready(self, name: str, url: str) -> Health:
        try:
            answer = await self._get(f"{url}/readyz")
        except UnavailableError as error:
            return Health(name, is_ready=False, problems=str(error))
        text = answer.text[:2000].strip()
        return Health(
            name, is_ready=answer.status_code == httpx.codes.OK, problems="" if answer.is_success else text
        )

    async def _series(self, name: str) -> dict[str, int]:
        answer = await self._get(f"{self._settings.prometheus.rstrip('/')}/api/v1/query", query=name)
        try:
            found = msgspec.json.decode(answer.content, type=_Answered).data.result
            return {each.metric["rung"]: round(float(each.value[1])) for each in found}
        except (msgspec.MsgspecError, KeyError, ValueError, OverflowError) as error:
            raise NeighbourAwayError(f"Prometheus does not answer as it should: {error}") from error

    async def _get(self, url: str, **query: str) -> httpx.Response:
        if self._http is None:
            self._http = httpx.AsyncClient(
                verify=ssl_context(self._tls), timeout=self._settings.neighbour_timeout_s, trust_env=False
            )
        try:
            async with (
                asyncio.timeout(self._settings.neighbour_timeout_s),
                self._http.stream("GET", url, params=query) as answer,
            ):
                body = b""
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise NeighbourAwayError(f"{url} answers with over {MAX_ANSWER_BYTES} bytes")
                return httpx.Response(answer.status_code, content=body)
        except (httpx.HTTPError, TimeoutError) as error:
            raise NeighbourAwayError(f"{url}: {type(error).__name__}") from error


class _Series(msgspec.Struct, frozen=True):
    metric: dict[str, str]
    value: tuple[float, str]


class _Result(msgspec.Struct, frozen=True):
    result: list[_Series]


class _Answered(msgspec.Struct, frozen=True):
    data: _Result


async def _called(call: Awaitable[_T]) -> _T:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise _error(error.code().name, error.details() or "") from error


def _error(code: str, detail: str) -> Exception:
    """Make our own error of a neighbour's; whatever is not the caller's doing is the neighbour's being away."""
    made = _ERRORS.get(code)
    return made(detail) if made else NeighbourAwayError(f"{code}: {detail}")
