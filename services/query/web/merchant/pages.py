"""The pages of merchants put together: their paths, and what stands around each of them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from fastapi import Request, Response

from services.query.web.merchant.goods import GoodsPages
from services.query.web.merchant.labels import LabelPages
from services.query.web.merchant.looks import LooksPages
from services.query.web.merchant.ports import Page
from services.query.web.merchant.recall import RecallPages
from services.query.web.merchant.registry import RegistryPages
from services.query.web.merchant.staff import StaffPages
from services.query.web.merchant.tabs import Tab
from services.query.web.visiting import Visit
from services.runtime.merchants.errors import ForbiddenError

Work = Callable[[Request, Visit], Awaitable[Response]]
Route = tuple[str, str, Work]


class MerchantPages:
    """The pages; implements `services.query.web.routes.MorePages`."""

    def __init__(
        self,
        *,
        goods: GoodsPages,
        recall: RecallPages,
        registry: RegistryPages,
        staff: StaffPages,
        labels: LabelPages,
        looks: LooksPages,
    ) -> None:
        """Serve these."""
        self._goods, self._recall, self._registry, self._staff = goods, recall, registry, staff
        self._labels, self._looks = labels, looks

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
    ("GET", "/merchant/looks", "looks.looks"),
    ("GET", "/merchant/recall", "recall.recall"),
    ("GET", "/merchant/recall.csv", "recall.csv"),
    ("GET", "/merchant/recall.xlsx", "recall.xlsx"),
    ("GET", "/merchant/goods/new", "registry.goods_form"),
    ("POST", "/merchant/goods/new", "registry.goods"),
    ("GET", "/merchant/places", "registry.places"),
    ("GET", "/merchant/places/new", "registry.place_form"),
    ("POST", "/merchant/places/new", "registry.place"),
    ("GET", "/merchant/staff", "staff.staff"),
    ("POST", "/merchant/staff", "staff.change"),
    ("GET", "/merchant/labels", "labels.form"),
    ("POST", "/merchant/labels", "labels.made"),
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
