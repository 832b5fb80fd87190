"""My goods, and what was noticed in my events."""

from collections.abc import Iterable, Mapping
from typing import Final

from fastapi import Request, Response

from goodstrace.asked_keys import key_asked
from services.query.flagged_events import FlaggedLooks
from services.query.own_goods import OwnGoods
from services.query.web.asking import text_asked
from services.query.web.merchant.ports import Page
from services.query.web.registered import Register, Thing
from services.query.web.security import local
from services.query.web.visiting import Visit
from services.sealing import showing
from services.sealing.reader import LogReader

ROWS: Final = 20
PURPOSE: Final = "merchant page"


class GoodsPages:
    """Answers /merchant and /merchant/flags."""

    def __init__(
        self, page: Page, goods: OwnGoods, flagged: FlaggedLooks, register: Register, reader: LogReader
    ) -> None:
        """Show what `goods` and `flagged` give, with the names in `register`."""
        self._page, self._goods, self._flagged = page, goods, flagged
        self._register, self._reader = register, reader

    async def goods(self, request: Request, visit: Visit) -> Response:
        """List goods by key, all or those under what is asked for."""
        asked, after = (
            text_asked(request.query_params, "q").strip(),
            text_asked(request.query_params, "after"),
        )
        found = await self._goods.page((key_asked(asked) or asked) if asked else "", after, ROWS, PURPOSE)
        keys = [each for row in found.rows for each in (row.key, row.inside, row.place) if each]
        more = local("/merchant", q=asked, after=found.after) if found.after else ""
        return await self._page(
            request,
            visit,
            "merchant/goods.html",
            found=found,
            asked=asked,
            more=more,
            is_first=not after,
            things=await self.names(keys),
        )

    async def flags(self, request: Request, visit: Visit) -> Response:
        """List events in which something was noticed, all or those of one flag or rule."""
        rule = text_asked(request.query_params, "rule").strip()
        found = await self._flagged.page(rule, text_asked(request.query_params, "before"), ROWS, PURPOSE)
        more = local("/merchant/flags", rule=rule, before=found.before) if found.before else ""
        return await self._page(
            request,
            visit,
            "merchant/flags.html",
            found=found,
            rule=rule,
            more=more,
            things=await self.names(key for each in found.events for key in each.keys),
        )

    async def names(self, keys: Iterable[str]) -> Mapping[str, Thing]:
        """Find what is registered of goods, those of a lot or an item under their product where they have none of their own."""
        sizes = showing.sizes_of(await self._reader.newest("goods/"))
        return await self._register.nearest(keys, sizes)
