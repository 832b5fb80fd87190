"""Putting the web pages together from the query service's parts: those for everybody, and those of each role."""

import time
from collections.abc import Sequence

from services.query.accounts.serving import Login
from services.query.completeness import CompletenessServicer
from services.query.flagged_events import FlaggedEvents
from services.query.metrics import QueryMetrics
from services.query.own_goods import GoodsKeys, claims_by
from services.query.service import TraceServicer
from services.query.settings import QuerySettings
from services.query.shown import Shown
from services.query.sight import Sight
from services.query.web.auditing import AuditorPages
from services.query.web.complete import CompletePages, Offer
from services.query.web.merchant.serving import merchant_pages
from services.query.web.neighbours import ServiceNeighbours
from services.query.web.operating import OperatorPages
from services.query.web.pages import WebPages
from services.query.web.routes import MorePages
from services.query.web.settings import WebSettings
from services.query.web.signing_in import WebSignIn
from services.sealing.bundles import EntryReader
from services.sealing.front import Front
from services.sealing.log_book import LogBook


def web_pages(
    front: Front,
    settings: QuerySettings,
    web: WebSettings,
    *,
    tracing: TraceServicer,
    offer: Offer,
    login: Login | None,
    metrics: QueryMetrics,
) -> WebPages:
    """Make the pages for everybody. Without `login` nobody signs in."""
    return WebPages(
        tracing,
        front.reader,
        front.secret,
        settings=web,
        max_events=settings.max_events,
        public_url=settings.public_url,
        clock_s=time.monotonic,
        log=front.log,
        offers=offer.is_for,
        metrics=metrics,
        sign_in=WebSignIn(login.login, front.secret, settings.public_url) if login else None,
    )


def role_pages(
    pages: WebPages,
    front: Front,
    web: WebSettings,
    *,
    tracing: TraceServicer,
    completeness: CompletenessServicer,
    offer: Offer,
    sight: Sight,
    neighbours: ServiceNeighbours,
    login: Login | None,
    metrics: QueryMetrics,
) -> Sequence[MorePages]:
    """Make the pages of auditors, operators and merchants, and the proofs of completeness; those of merchants only where accounts are on."""
    database = front.mongo.database
    book = LogBook(database)
    made: list[MorePages] = [
        AuditorPages(
            pages,
            logs=front.reader,
            book=book,
            envelopes=EntryReader(database, front.reader),
            neighbours=neighbours,
            witnesses=web.verifiers(),
        ),
        CompletePages(pages, completeness, offer, front.secret),
        OperatorPages(pages, book, neighbours, web),
    ]
    directory = front.access.directory
    if login and pages.sign_in and directory:
        made.append(
            merchant_pages(
                pages,
                front.reader,
                Shown(front.recorder, metrics, front.log),
                keys=GoodsKeys(database),
                flagged=FlaggedEvents(database),
                sight=sight,
                claims=claims_by(directory),
                secret=front.secret,
                recalling=tracing,
                recall_timeout_s=web.recall_timeout_s,
                forms=pages.sign_in.forms,
                neighbours=neighbours,
                accounts=login.accounts,
                log=front.log,
            )
        )
    return made
