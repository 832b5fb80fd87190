"""Putting the pages of merchants together from the query service's parts."""

from collections.abc import Awaitable, Callable

from goodstrace.claims import Claims
from services.query.flagged_events import Flagged, FlaggedLooks
from services.query.own_goods import Keys, OwnGoods, Recorder
from services.query.sight import Sight
from services.query.web.merchant.goods import GoodsPages
from services.query.web.merchant.pages import MerchantPages, in_tabs
from services.query.web.merchant.tabs import tabs_but
from services.query.web.pages import WebPages
from services.query.web.registered import Register
from services.sealing.reader import LogReader

EVENTS_A_STATE = 1000
"""How many records are looked at to tell how one of the goods of a list stands."""


def merchant_pages(
    pages: WebPages,
    reader: LogReader,
    recorder: Recorder,
    *,
    keys: Keys,
    flagged: Flagged,
    sight: Sight,
    claims: Callable[[int], Awaitable[Claims | None]],
    secret: bytes,
) -> MerchantPages:
    """Make the pages; what is not given is not served."""
    page = in_tabs(pages.page, tabs_but(()))
    own = OwnGoods(
        keys, reader, recorder, sight=sight, claims=claims, secret=secret, max_events=EVENTS_A_STATE
    )
    return MerchantPages(
        GoodsPages(page, own, FlaggedLooks(flagged, recorder), Register(reader, secret), reader)
    )
