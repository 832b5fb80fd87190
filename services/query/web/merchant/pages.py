"""The pages of merchants put together: their paths, and what stands around each of them."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from fastapi import Request, Response

from services.query.web.merchant.goods import GoodsPages
from services.query.web.merchant.labels import LabelPages
from services.query.web.merchant.looks import LooksPages
from services.query.web.merchant.ports import Page
from services.query.web.merchant.recall import RecallPages
from services.query.web.merchant.registry import RegistryPages
from services.query.web.merchant.staff import StaffPages
from services.query.web.merchant.tabs import Tab
from services.query.web.pages import Handler
from services.query.web.visiting import Visit
from services.runtime.merchants.errors import ForbiddenError


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

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        """See MorePages."""
        for method, path, answer in (
            ("GET", "/merchant", self._goods.goods),
            ("GET", "/merchant/flags", self._goods.flags),
            ("GET", "/merchant/looks", self._looks.looks),
            ("GET", "/merchant/recall", self._recall.recall),
            ("GET", "/merchant/recall.csv", self._recall.csv),
            ("GET", "/merchant/recall.xlsx", self._recall.xlsx),
            ("GET", "/merchant/goods/new", self._registry.goods_form),
            ("POST", "/merchant/goods/new", self._registry.goods),
            ("GET", "/merchant/places", self._registry.places),
            ("GET", "/merchant/places/new", self._registry.place_form),
            ("POST", "/merchant/places/new", self._registry.place),
            ("GET", "/merchant/staff", self._staff.staff),
            ("POST", "/merchant/staff", self._staff.change),
            ("GET", "/merchant/labels", self._labels.form),
            ("POST", "/merchant/labels", self._labels.made),
        ):
            yield method, path, partial(_for_merchants, answer)


async def _for_merchants(answer: Handler, request: Request, visit: Visit) -> Response:
    """Answer who acts for a merchant; where accounts are off that is nobody."""
    if not visit.who.merchant:
        raise ForbiddenError("this is for who acts for a merchant")
    return await answer(request, visit)


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
