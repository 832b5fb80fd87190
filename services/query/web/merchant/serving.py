"""Putting the pages of merchants together from the query service's parts."""

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from goodstrace.claims import Claims
from services.query.flagged_events import Flagged, FlaggedLooks
from services.query.own_goods import Keys, OwnGoods
from services.query.shown import Shown
from services.query.sight import Sight
from services.query.web.forms import Forms
from services.query.web.merchant.goods import GoodsPages
from services.query.web.merchant.labels import LabelPages
from services.query.web.merchant.looks import CountsLooks, LooksPages
from services.query.web.merchant.pages import MerchantPages, in_tabs
from services.query.web.merchant.recall import RecallPages
from services.query.web.merchant.recalling import Recalling
from services.query.web.merchant.registry import Asks, RegistryPages
from services.query.web.merchant.staff import KeepsAccounts, StaffPages
from services.query.web.merchant.tabs import TABS
from services.query.web.pages import WebPages
from services.query.web.registered import Register
from services.sealing.reader import LogReader

EVENTS_A_STATE = 1000
"""How many records are looked at to tell how one of the goods of a list stands."""


class Neighbours(Asks, CountsLooks, Protocol):
    """What is asked of other services; `services.query.web.neighbours.ServiceNeighbours` is the real one."""


def merchant_pages(
    pages: WebPages,
    reader: LogReader,
    shown: Shown,
    *,
    keys: Keys,
    flagged: Flagged,
    sight: Sight,
    claims: Callable[[int], Awaitable[Claims | None]],
    secret: bytes,
    recalling: Recalling,
    recall_timeout_s: float,
    forms: Forms,
    neighbours: Neighbours,
    accounts: KeepsAccounts,
    log: structlog.stdlib.BoundLogger,
) -> MerchantPages:
    """Make the pages."""
    page = in_tabs(pages.page, TABS)
    own = OwnGoods(keys, reader, shown, sight=sight, claims=claims, secret=secret, max_events=EVENTS_A_STATE)
    goods = GoodsPages(page, own, FlaggedLooks(flagged, shown), Register(reader, secret), reader)
    recall = RecallPages(
        page, pages, recalling, reader, goods=own, names=goods, timeout_s=recall_timeout_s, log=log
    )
    return MerchantPages(
        goods=goods,
        recall=recall,
        registry=RegistryPages(page, forms, neighbours),
        staff=StaffPages(page, forms, accounts),
        labels=LabelPages(page, forms, goods, pages.base),
        looks=LooksPages(page, neighbours, lambda: dt.datetime.now(dt.UTC).date()),
    )
