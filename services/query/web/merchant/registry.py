"""Registering goods and places: forms, and the collector's registry behind them, asked with the token of who is signed in."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import msgspec
from fastapi import Request, Response

from goodstrace.asked_keys import key_asked, key_of_path
from goodstrace.registry import RegistryClient
from services.query.web.asking import text_asked
from services.query.web.auditing import asker_of
from services.query.web.forms import Forms
from services.query.web.merchant import registering
from services.query.web.merchant.ports import Page
from services.query.web.merchant.registering import Faults, Read
from services.query.web.neighbours import Asker
from services.query.web.security import local
from services.query.web.visiting import Visit
from services.runtime.call_errors import InvalidRequestError, NotFoundError
from services.runtime.merchants.errors import ForbiddenError

MAX_FORM_BYTES: Final = 256 * 1024
MAX_FORM_FIELDS: Final = 40
ROWS: Final = 50
_T = TypeVar("_T")


class Asks(Protocol):
    """Asks the registry; `services.query.web.neighbours.ServiceNeighbours` is the real one."""

    async def registry(self, asker: Asker, ask: Callable[[RegistryClient], _T]) -> _T:
        """Ask it; raises as it refuses."""
        ...


class _Kind(msgspec.Struct, frozen=True):
    """What is registered: its name at the registry, its form, and how that is read and filled."""

    name: str
    path: str
    template: str
    read: Callable[[Mapping[str, str]], Read]
    filled: Callable[[Mapping[str, Any]], dict[str, str]]


_GOODS: Final = _Kind(
    "goods",
    "/merchant/goods/new",
    "merchant/goods_form.html",
    registering.read_goods,
    registering.goods_fields,
)
_PLACES: Final = _Kind(
    "places",
    "/merchant/places/new",
    "merchant/place_form.html",
    registering.read_place,
    registering.place_fields,
)


class RegistryPages:
    """Answers /merchant/goods/new, /merchant/places and below."""

    def __init__(self, page: Page, forms: Forms, neighbours: Asks) -> None:
        """Register at `neighbours`."""
        self._page, self._forms, self._neighbours = page, forms, neighbours

    async def goods_form(self, request: Request, visit: Visit) -> Response:
        """Show the form of goods, filled where they are registered already."""
        return await self._form(_GOODS, request, visit)

    async def goods(self, request: Request, visit: Visit) -> Response:
        """Register goods."""
        return await self._register(_GOODS, request, visit)

    async def place_form(self, request: Request, visit: Visit) -> Response:
        """Show the form of a place, filled where it is registered already."""
        return await self._form(_PLACES, request, visit)

    async def place(self, request: Request, visit: Visit) -> Response:
        """Register a place."""
        return await self._register(_PLACES, request, visit)

    async def places(self, request: Request, visit: Visit) -> Response:
        """List what the merchant has registered of places, by key."""
        after = text_asked(request.query_params, "after")

        def ask(client: RegistryClient) -> list[dict[str, Any]]:
            return client.page_registered("places", after, ROWS + 1)

        found = await self._neighbours.registry(asker_of(request), ask)
        more = local("/merchant/places", after=found[ROWS - 1]["key"]) if len(found) > ROWS else ""
        return await self._page(
            request, visit, "merchant/places.html", rows=found[:ROWS], more=more, is_first=not after
        )

    async def _form(self, kind: _Kind, request: Request, visit: Visit) -> Response:
        text, values = text_asked(request.query_params, "key"), {}
        key = key_asked(text)
        if key is not None:
            values = {"key": text}
            try:
                found = await self._neighbours.registry(
                    asker_of(request), lambda client: client.registered(kind.name, key)
                )
                values = kind.filled(found["content"])
            except (NotFoundError, InvalidRequestError):
                pass  # it is not registered yet
        return await self._shown(
            kind, request, visit, values, {}, done=text_asked(request.query_params, "done")
        )

    async def _register(self, kind: _Kind, request: Request, visit: Visit) -> Response:
        fields = await self._forms.fields(request, max_bytes=MAX_FORM_BYTES, max_fields=MAX_FORM_FIELDS)
        content, faults = kind.read(fields)
        status = 400
        if not faults:
            ask = partial(_registered, kind=kind.name, content=content)
            try:
                await self._neighbours.registry(asker_of(request), ask)
            except ForbiddenError:
                faults, status = {"key": "foreign"}, 403
            except InvalidRequestError:
                faults = {"key": "registry"}
        if faults:
            return await self._shown(kind, request, visit, fields, faults, status=status)
        return Response(status_code=303, headers={"Location": local(kind.path, done=content["key"])})

    async def _shown(
        self,
        kind: _Kind,
        request: Request,
        visit: Visit,
        values: Mapping[str, str],
        faults: Faults,
        *,
        status: int = 200,
        done: str = "",
    ) -> Response:
        key = key_asked(done) or (key_of_path(done) if done else None) or ""
        return await self._page(
            request, visit, kind.template, status=status, values=values, faults=faults, done=key
        )


def _registered(client: RegistryClient, *, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return client.register(kind, content, patience_s=0)
