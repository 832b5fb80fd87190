"""`/registry/v1`: merchants, their API keys, goods and places over HTTP. Who may do what is said by `services.runtime.access.table`."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from services.collector import strict_json
from services.collector.errors import DocumentError, Fault
from services.collector.openapi import NUMBER, TEXT, an_object, array, good, refusals
from services.collector.record import canonical_key
from services.collector.registry.gate import Caller, Gate
from services.collector.registry.registrar import Registrar, told
from services.collector.registry.registrations import Registered
from services.runtime.access.current import principal
from services.runtime.access.values import Role
from services.runtime.merchants.api_keys import ApiKey
from services.runtime.merchants.errors import ForbiddenError, UnknownError
from services.runtime.merchants.values import Goods, Merchant, Place, What, plain

MAX_BODY_BYTES: Final = 256 * 1024
MAX_PAGE: Final = 1000
_ROOT: Final = "/registry/v1"
_MAX_LABEL: Final = 200

Register = Callable[[Caller, object], Awaitable[Registered]]
Answer = Callable[[], Awaitable[Response]]
Measured = Callable[[Answer], Awaitable[Response]]
"""Answers, turning errors into problems, and counts."""


_REFUSED: Final = (400, 401, 403, 404, 409, 413, 429, 503)
_REGISTERED: Final = an_object(
    ("what", "key", "merchant", "content", "recordID", "timeMs"),
    what={"enum": [each.value for each in What]},
    key=TEXT,
    merchant=NUMBER,
    content={"type": "object"},
    recordID={**TEXT, "description": "The record that is sealed."},
    timeMs=NUMBER,
)
_KEY: Final = an_object(
    ("id", "merchant", "label", "createdMs", "revokedMs"),
    id=TEXT,
    merchant=NUMBER,
    label=TEXT,
    createdMs=NUMBER,
    revokedMs={"type": ["integer", "null"]},
    apiKey={**TEXT, "description": "The key itself, told where it is made."},
)
_MERCHANTS: Final = an_object(
    ("merchants",),
    merchants=array(an_object(("merchant", "content"), merchant=NUMBER, content={"type": "object"})),
)


def _answers(status: int, description: str, schema: dict[str, Any] | None = None) -> dict[int | str, Any]:
    content = {"application/json": schema} if schema else {}
    return {status: good(description, content, ()), **refusals(*_REFUSED)}


def _body(shape: Any) -> dict[str, Any]:
    schema = msgspec.json.schema(shape, ref_template="#/components/schemas/{name}")
    inner = schema.pop("$defs", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": inner.get(name, schema)}},
        }
    }


class Routes:
    """The routes, each a method."""

    def __init__(self, registrar: Registrar, gate: Gate, measured: Measured) -> None:
        """Answer from `registrar`; `gate` keeps rates."""
        self._registrar = registrar
        self._gate = gate
        self._measured = measured

    def join(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        self._join_merchants(app)
        self._join_things(app)

    def _join_merchants(self, app: FastAPI) -> None:
        add, number = app.add_api_route, f"{_ROOT}/merchants/{{number}}"
        shown = _answers(200, "The merchant as it is registered.", _REGISTERED)
        add(
            f"{_ROOT}/merchants",
            self.add_merchant,
            methods=["POST"],
            status_code=201,
            responses=_answers(201, "The merchant, with its number.", _REGISTERED),
            openapi_extra=_body(Merchant),
        )
        listed = _answers(200, "A page of merchants, by number.", _MERCHANTS)
        add(f"{_ROOT}/merchants", self.list_merchants, methods=["GET"], responses=listed)
        add(number, self.show_merchant, methods=["GET"], responses=shown)
        patch = _body(dict[str, Any])
        add(number, self.change_merchant, methods=["PATCH"], responses=shown, openapi_extra=patch)
        made = _answers(201, "The key: `apiKey` is told this once.", _KEY)
        add(
            f"{number}/keys",
            self.new_key,
            methods=["POST"],
            status_code=201,
            responses=made,
        )
        keys = _answers(200, "The merchant's keys.", an_object(("keys",), keys=array(_KEY)))
        add(f"{number}/keys", self.list_keys, methods=["GET"], responses=keys)
        add(
            f"{number}/keys/{{identifier}}",
            self.revoke_key,
            methods=["DELETE"],
            status_code=204,
            responses=_answers(204, "The key counts no more."),
        )
        add(f"{_ROOT}/me", self.me, methods=["GET"], responses=shown)

    def _join_things(self, app: FastAPI) -> None:
        listed = an_object(("registered",), registered=array(_REGISTERED))
        done = _answers(200, "As it is registered.", _REGISTERED)
        shown = _answers(200, "As it is registered, or a page of all.", {"oneOf": [_REGISTERED, listed]})
        for path, shape, register, show in (
            (f"{_ROOT}/goods", Goods, self.register_goods, self.show_goods),
            (f"{_ROOT}/places", Place, self.register_place, self.show_place),
        ):
            put = _body(shape)
            app.add_api_route(path, register, methods=["PUT"], responses=done, openapi_extra=put)
            app.add_api_route(path, show, methods=["GET"], responses=shown)

    async def add_merchant(self, request: Request) -> Response:
        """Register a merchant (operators). 201 with its number; 409 where a prefix is another's."""

        async def answer() -> Response:
            return _told(await self._registrar.add_merchant(await _json(request)), 201)

        return await self._measured(answer)

    async def list_merchants(self, after: int = 0, limit: int = 100) -> Response:
        """List merchants by number (operators); `after` is the last number of the page before, `limit` at most 1000."""

        async def answer() -> Response:
            _check_limit(limit)
            rows = await self._registrar.merchants(after, limit)
            listed = [{"merchant": number, "content": plain(content)} for number, content in rows]
            return JSONResponse({"merchants": listed})

        return await self._measured(answer)

    async def show_merchant(self, number: int) -> Response:
        """Show a merchant (operators, and the merchant itself)."""

        async def answer() -> Response:
            _check_own(number)
            return _told(await self._registrar.find(What.MERCHANT, number))

        return await self._measured(answer)

    async def change_merchant(self, request: Request, number: int) -> Response:
        """Register a merchant anew, changed by a JSON merge patch (operators): suspended, with other prefixes, delegations."""

        async def answer() -> Response:
            return _told(await self._registrar.change_merchant(number, await _json(request)))

        return await self._measured(answer)

    async def new_key(self, number: int, label: str = "") -> Response:
        """Make an API key for a merchant (operators). `apiKey` is told this once."""

        async def answer() -> Response:
            if len(label) > _MAX_LABEL:
                raise DocumentError(Fault("", f"label must be at most {_MAX_LABEL} characters"))
            kept, key = await self._registrar.new_key(number, label)
            return JSONResponse({**_key(kept), "apiKey": key}, 201, {"Cache-Control": "no-store"})

        return await self._measured(answer)

    async def list_keys(self, number: int) -> Response:
        """List a merchant's API keys by ID (operators, and the merchant itself); what they are nobody knows."""

        async def answer() -> Response:
            _check_own(number)
            return JSONResponse({"keys": [_key(each) for each in await self._registrar.keys(number)]})

        return await self._measured(answer)

    async def revoke_key(self, number: int, identifier: str) -> Response:
        """Take an API key back for good (operators, and the merchant itself); other collectors notice within seconds."""

        async def answer() -> Response:
            _check_own(number)
            await self._registrar.revoke_key(number, identifier)
            return Response(status_code=204)

        return await self._measured(answer)

    async def me(self) -> Response:
        """Show the merchant that the caller is."""

        async def answer() -> Response:
            caller = await self._gate.admit(principal())
            return _told(await self._registrar.find(What.MERCHANT, caller.merchant))

        return await self._measured(answer)

    async def register_goods(self, request: Request) -> Response:
        """Register goods (merchants, for keys that are theirs or delegated to them); the same again changes nothing."""
        return await self._measured(lambda: self._register(request, self._registrar.register_goods))

    async def show_goods(self, key: str = "", after: str = "", limit: int = 100) -> Response:
        """Show goods that the caller has registered: those with `key`, else a page of all by key, from the one after `after`."""
        return await self._measured(lambda: self._show(What.GOODS, key, (after, limit)))

    async def register_place(self, request: Request) -> Response:
        """Register a place or party (merchants, for keys that are theirs or delegated to them)."""
        return await self._measured(lambda: self._register(request, self._registrar.register_place))

    async def show_place(self, key: str = "", after: str = "", limit: int = 100) -> Response:
        """Show a place or party that the caller has registered, by `key`, else a page of all, from the one after `after`."""
        return await self._measured(lambda: self._show(What.PLACE, key, (after, limit)))

    async def _register(self, request: Request, register: Register) -> Response:
        caller = await self._gate.admit(principal())
        values = await _json(request)
        self._gate.take(caller, events=1, size_bytes=0)
        return _told(await register(caller, values))

    async def _show(self, what: What, key: str, page: tuple[str, int]) -> Response:
        caller = await self._gate.admit(principal())
        if not key:
            after, limit = page
            _check_limit(limit)
            rows = await self._registrar.registered_by(what, caller.merchant, after, limit)
            return JSONResponse({"registered": [told(each) for each in rows]})
        found = await self._registrar.find(what, canonical_key(key))
        if found.registration.merchant != caller.merchant:
            raise UnknownError(f"no such {what}")
        return _told(found)


def _check_own(number: int) -> None:
    """See that a merchant asks for itself; operators for all. Raises: ForbiddenError."""
    who = principal()
    if Role.OPERATOR not in who.roles and who.merchant != number:
        raise ForbiddenError("this is another merchant's")


def _check_limit(limit: int) -> None:
    if not 0 < limit <= MAX_PAGE:
        raise DocumentError(Fault("", f"limit must be 1 to {MAX_PAGE}"))


async def _json(request: Request) -> object:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise DocumentError(Fault("", f"over {MAX_BODY_BYTES} bytes"), too_large=True)
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise DocumentError(Fault("", f"not UTF-8 at byte {error.start}")) from error
    return strict_json.parse(bytes(body))


def _told(found: Registered, status: int = 200) -> Response:
    return JSONResponse(told(found), status)


def _key(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "merchant": key.merchant,
        "label": key.label,
        "createdMs": key.created_ms,
        "revokedMs": key.revoked_ms or None,
    }
