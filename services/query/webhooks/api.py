"""Named queries and their subscriptions over HTTP. Source: EPCIS 2.0 section 12 and its OpenAPI (`/queries`)."""

import os
import secrets
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request, Response

from goodstrace.event_filter import EventFilter
from services.query import epcis_headers
from services.query.epcis_api import ROOT, EpcisApi
from services.query.epcis_parameters import EventsQuery
from services.query.epcis_problems import (
    ExistsError,
    InUseError,
    ParameterError,
    TooLargeError,
)
from services.query.forward import Heads
from services.query.webhooks.asked import (
    MAX_BODY_BYTES,
    NamedQuery,
    read_query,
    read_resumption,
    read_subscription,
    wanted_of,
)
from services.query.webhooks.guard import FIELD, Reach, checked_url
from services.query.webhooks.locking import SecretLock
from services.query.webhooks.owners import maker_of, only_of, owner_id, owner_name
from services.query.webhooks.resuming import resumed
from services.query.webhooks.sender import Sender
from services.query.webhooks.signing import SECRET_BYTES, SECRET_FIELD, secret_text
from services.query.webhooks.store import WebhookStore
from services.query.webhooks.values import Damaged, Progress, Webhook
from services.query.webhooks.views import query_view, webhook_view
from services.runtime import clock
from services.runtime.access.current import principal
from services.runtime.call_errors import NotFoundError
from services.runtime.errors import ConflictError
from services.sealing.showing import sizes_of

METHOD: Final = "ManageWebhooks"
QUERIES: Final = f"{ROOT}/queries"
_ID_BYTES: Final = 16
_LEASE_MS: Final = 5_000  # for two writes; whoever was killed between them holds nobody up for longer


class WebhookApi:
    """Makes, shows and removes named queries and webhooks."""

    def __init__(
        self,
        api: EpcisApi,
        store: WebhookStore,
        sender: Sender,
        heads: Heads,
        *,
        reach: Reach,
        most: int,
        secret: bytes,
        lock: SecretLock,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Keep queries and webhooks in `store`, with destinations within `reach`, their secrets locked by `lock`; list at most `most` of either.

        `log` is told of queries that are damaged.
        """
        self._api, self._store, self._sender, self._heads = api, store, sender, heads
        self._reach, self._most = reach, most
        self._secret, self._lock, self._log = secret, lock, log

    # ---- named queries

    async def add_query(self, request: Request) -> Response:
        """Keep a query under its name."""

        async def respond() -> Response:
            user = epcis_headers.caller(request.headers.getlist(epcis_headers.USER))
            query = read_query(await _body(request))
            try:
                who = principal()
                await self._store.add_query(query, user, owner_name(who), clock.now_ms(), owner_id(who))
            except ConflictError as error:
                raise ExistsError("there is a query of this name", "name") from error
            return _made(f"{QUERIES}/{query.name}", None)

        return await self._api.guarded(METHOD, respond)

    async def queries(self) -> Response:
        """List the queries by name; of a damaged one that alone, by which it can be removed."""

        async def respond() -> Response:
            found = await self._store.queries(self._most, only_of(principal()))
            for each in found:
                if isinstance(each, Damaged):
                    self._log.warning("a named query is damaged", query=each.id, why=each.why)
            return _json([query_view(each) for each in found])

        return await self._api.guarded(METHOD, respond)

    async def query(self, name: str) -> Response:
        """Show a query."""

        async def respond() -> Response:
            return _json(query_view(await self._query(name)))

        return await self._api.guarded(METHOD, respond)

    async def remove_query(self, name: str) -> Response:
        """Remove a query that has no subscriptions."""

        async def respond() -> Response:
            try:
                if not await self._store.remove_query(name, only_of(principal())):
                    raise _no_query()
            except ConflictError as error:
                raise InUseError("it has subscriptions: remove them first", "name") from error
            return Response(status_code=204, headers=dict(epcis_headers.EPCIS_HEADERS))

        return await self._api.guarded(METHOD, respond)

    async def events(self, request: Request, name: str) -> Response:
        """Run a query: a page of the events that are sealed now."""

        async def named() -> EventsQuery:
            wanted = wanted_of((await self._query(name)).query, self._secret)
            if wanted.filter != EventFilter():
                raise ParameterError("subscribe to it: members of ours are for subscriptions only", "query")
            return wanted.events

        return await self._api.run(request, named)

    # ---- subscriptions

    async def subscribe(self, request: Request, name: str) -> Response:
        """Make a webhook of a query; its secret is told in this answer only."""

        async def respond() -> Response:
            user = epcis_headers.caller(request.headers.getlist(epcis_headers.USER))
            asked, who = read_subscription(await _body(request)), principal()
            maker = maker_of(who, asked.sees)
            query = await self._query(name)
            await self._check_dest(asked.dest)
            newest = {} if asked.from_beginning else sizes_of(await self._heads.newest())
            secret = asked.secret or os.urandom(SECRET_BYTES)
            own = os.urandom(_ID_BYTES).hex()
            webhook = Webhook(
                id=own,
                query=name,
                definition=query.query,
                dest=asked.dest,
                locked=self._lock.locked(own, secret),
                user=user,
                created_ms=clock.now_ms(),
                progress=Progress(newest),
                owner=owner_name(who),
                owner_id=owner_id(who),
                sees=asked.sees,
                maker=maker,
            )
            await self._store.add(webhook)
            told = {**await self._view(webhook), SECRET_FIELD: secret_text(secret)}
            return _made(f"{QUERIES}/{name}/subscriptions/{own}", told)

        return await self._api.guarded(METHOD, respond)

    async def subscriptions(self, name: str) -> Response:
        """List the webhooks of a query; of a damaged one its ID, by which it can be removed."""

        async def respond() -> Response:
            owner = only_of(principal())
            if not await self._store.has_query(name, owner):
                raise _no_query()
            found = await self._store.all(self._most, name, owner)
            checkpoints = await self._heads.newest()
            return _json([webhook_view(each, checkpoints) for each in found])

        return await self._api.guarded(METHOD, respond)

    async def subscription(self, name: str, own: str) -> Response:
        """Show a webhook: how it is, when it was delivered to, what went wrong."""

        async def respond() -> Response:
            return _json(await self._view(await self._own(name, own)))

        return await self._api.guarded(METHOD, respond)

    async def unsubscribe(self, name: str, own: str) -> Response:
        """Remove a webhook."""

        async def respond() -> Response:
            if not await self._store.remove(name, own, only_of(principal())):
                raise _no_subscription()
            return Response(status_code=204, headers=dict(epcis_headers.EPCIS_HEADERS))

        return await self._api.guarded(METHOD, respond)

    async def resume(self, request: Request, name: str, own: str) -> Response:
        """Have a webhook go on where it was, by what the caller shows now.

        1. Who may not is refused before anything changes.
        2. Its lease is taken, so that whoever delivers now, as good as what was shown before, is not heard any more.
        3. It gets the secret that the caller gives, or a new one where its own does not open; that is told in this answer only.
        4. It is kept as resumed, and the lease given up.
        """

        async def respond() -> Response:
            user = epcis_headers.caller(request.headers.getlist(epcis_headers.USER))
            asked, who = read_resumption(await _body(request)), principal()
            resumed(await self._own(name, own), who, user)
            lessee, until_ms = secrets.token_hex(8), clock.now_ms() + _LEASE_MS
            taken = await self._store.seize(name, own, lessee, until_ms, only_of(who))
            if taken is None:
                raise _no_subscription()
            going_on, secret = self._lock.signable(resumed(taken, who, user), asked)
            if not await self._store.resume(going_on, lessee):
                raise InUseError("somebody else resumes or removes it at this moment", "subscriptionID")
            told = {SECRET_FIELD: secret_text(secret)} if secret is not None else {}
            return _json({**await self._view(going_on), **told})

        return await self._api.guarded(METHOD, respond)

    async def _own(self, name: str, own: str) -> Webhook:
        found = await self._store.find(name, own, only_of(principal()))
        if found is None:
            raise _no_subscription()
        return found

    async def _query(self, name: str) -> NamedQuery:
        found = await self._store.query(name, only_of(principal()))
        if found is None:
            raise _no_query()
        return found

    async def _check_dest(self, dest: str) -> None:
        """See that it leads to where something may be sent, now; it is seen to again before each attempt."""
        url = checked_url(dest, self._reach)
        try:
            await self._sender.addresses(url)
        except OSError as error:
            raise ParameterError(f"its name cannot be resolved: {error.strerror}", FIELD) from error

    async def _view(self, webhook: Webhook) -> dict[str, Any]:
        return webhook_view(webhook, await self._heads.newest())


def allowed_methods(path: str) -> str:
    """Name the methods of a path of ours, for the header Allow; empty for another's."""
    if path != QUERIES and not path.startswith(f"{QUERIES}/"):
        return ""
    below = path.removeprefix(QUERIES).strip("/").split("/")
    if below == [""] or below[1:] == ["subscriptions"]:
        return "GET, POST, OPTIONS"
    if below[1:2] == ["subscriptions"] and below[3:] == ["resume"]:
        return "POST, OPTIONS"
    return "GET, OPTIONS" if below[1:] == ["events"] else "GET, DELETE, OPTIONS"


async def _options(request: Request) -> Response:
    """Answer OPTIONS: what is spoken here, in headers."""
    told = {**epcis_headers.DISCOVERY, "Allow": allowed_methods(request.scope["path"])}
    return Response(status_code=204, headers=told)


def add_routes(app: FastAPI, api: WebhookApi) -> None:
    """Give an application the paths of named queries and subscriptions."""
    queries, one = QUERIES, f"{QUERIES}/{{name}}"
    subscriptions = f"{one}/subscriptions"

    @app.post(queries, status_code=201, summary="Keep a query under a name", openapi_extra=_BODY)
    async def add_query(request: Request) -> Response:
        """Keep a query: {"name", "query": {parameters of /events, goodstrace:key, :merchant, :step, :prefix}}."""
        return await api.add_query(request)

    @app.get(queries, summary="Named queries")
    async def list_queries() -> Response:
        """List all by name."""
        return await api.queries()

    @app.get(one, summary="A named query")
    async def show_query(name: str) -> Response:
        """Show it."""
        return await api.query(name)

    @app.delete(one, status_code=204, summary="Remove a named query")
    async def remove_query(name: str) -> Response:
        """Remove one that has no subscriptions."""
        return await api.remove_query(name)

    @app.get(f"{one}/events", summary="Run a named query")
    async def run_query(request: Request, name: str) -> Response:
        """Give a page of what is sealed now; takes perPage and nextPageToken."""
        return await api.events(request, name)

    _add_subscriptions(app, api, subscriptions)
    subscription = f"{subscriptions}/{{subscription_id}}"
    for path in (queries, one, f"{one}/events", subscriptions, subscription, f"{subscription}/resume"):
        app.add_api_route(path, _options, methods=["OPTIONS"], status_code=204, include_in_schema=False)


def _add_subscriptions(app: FastAPI, api: WebhookApi, subscriptions: str) -> None:
    @app.post(subscriptions, status_code=201, summary="Subscribe", openapi_extra=_BODY)
    async def subscribe(request: Request, name: str) -> Response:
        """Have events sent to `dest` as they are published, signed. See docs/subscriptions.md."""
        return await api.subscribe(request, name)

    @app.get(subscriptions, summary="Subscriptions of a query")
    async def list_subscriptions(name: str) -> Response:
        """List them, the oldest first."""
        return await api.subscriptions(name)

    @app.get(f"{subscriptions}/{{subscription_id}}", summary="A subscription")
    async def show_subscription(name: str, subscription_id: str) -> Response:
        """Show how it is."""
        return await api.subscription(name, subscription_id)

    @app.delete(f"{subscriptions}/{{subscription_id}}", status_code=204, summary="Unsubscribe")
    async def unsubscribe(name: str, subscription_id: str) -> Response:
        """Remove it."""
        return await api.unsubscribe(name, subscription_id)

    @app.post(
        f"{subscriptions}/{{subscription_id}}/resume",
        summary="Resume a subscription",
        openapi_extra={"requestBody": _OBJECT},
    )
    async def resume(request: Request, name: str, subscription_id: str) -> Response:
        """Have it go on where it was, by the credential of this call; an extension of ours. See docs/subscriptions.md."""
        return await api.resume(request, name, subscription_id)


_OBJECT: Final[dict[str, Any]] = {"content": {epcis_headers.JSON: {"schema": {"type": "object"}}}}
_BODY: Final[dict[str, Any]] = {"requestBody": {"required": True, **_OBJECT}}


async def _body(request: Request) -> bytes:
    """Read a body. Raises: TooLargeError over 64 KiB."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLargeError(f"over {MAX_BODY_BYTES} bytes", "the body")
    return bytes(body)


def _no_query() -> NotFoundError:
    return NotFoundError("there is no query of this name", "name")


def _no_subscription() -> NotFoundError:
    return NotFoundError("there is no such subscription", "subscriptionID")


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), 200, dict(epcis_headers.EPCIS_HEADERS), epcis_headers.JSON)


def _made(location: str, told: Mapping[str, Any] | None) -> Response:
    named = {**epcis_headers.EPCIS_HEADERS, "Location": location}
    body = msgspec.json.encode(told) if told is not None else b""
    return Response(body, 201, named, epcis_headers.JSON if body else None)
