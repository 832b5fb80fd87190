"""The pages of merchants put together: their paths, and what stands around each of them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from fastapi import Request, Response

from services.query.web.merchant.goods import GoodsPages
from services.query.web.merchant.ports import Page
from services.query.web.merchant.tabs import Tab
from services.query.web.visiting import Visit
from services.runtime.merchants.errors import ForbiddenError

Work = Callable[[Request, Visit], Awaitable[Response]]
Route = tuple[str, str, Work]


class MerchantPages:
    """The pages; implements `services.query.web.routes.MorePages`."""

    def __init__(self, goods: GoodsPages) -> None:
        """Serve these."""
        self._goods = goods

    def routes(self) -> Iterable[Route]:
        """List them: the method, the path's template, and what answers."""
        for method, path, name in _PATHS:
            yield method, path, partial(self._answer, name)

    async def _answer(self, name: str, request: Request, visit: Visit) -> Response:
        """Answer who acts for a merchant; where accounts are off that is nobody."""
        if not visit.who.merchant:
            raise ForbiddenError("this is for who acts for a merchant")
        group, _, method = name.partition(".")
        work: Work = getattr(getattr(self, f"_{group}"), method)
        return await work(request, visit)


_PATHS: Final = (
    ("GET", "/merchant", "goods.goods"),
    ("GET", "/merchant/flags", "goods.flags"),
)


def in_tabs(page: Page, tabs: tuple[Tab, ...]) -> Page:
    """Give every page the navigation of these tabs."""

    async def answer(
        request: Request,
        visit: Visit,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response:
        return await page(request, visit, template, status=status, headers=headers, tabs=tabs, **values)

    return answer
