"""The query service's process: `python -m services.query`."""

import asyncio
import time
from contextlib import AsyncExitStack, aclosing

import grpc
import structlog

from goodstrace.query.v1 import completeness_pb2, trace_pb2
from goodstrace.query.v1.completeness_pb2_grpc import (
    add_CompletenessServiceServicer_to_server as add_completeness,
)
from goodstrace.query.v1.trace_pb2_grpc import add_TraceServiceServicer_to_server as add_servicer
from services.query.accounts.receipt_signing import ReceiptSigner
from services.query.accounts.serving import SERVICES as LOGIN_SERVICES
from services.query.accounts.serving import login_services
from services.query.completeness import CompletenessServicer
from services.query.epcis_api import EpcisApi
from services.query.epcis_service import EpcisQueries
from services.query.flagged_events import FlaggedEvents
from services.query.forward import Forward, Heads
from services.query.http_app import make_app
from services.query.index_endpoints import IndexEndpoints
from services.query.index_gate import IndexGate
from services.query.log_endpoints import LogEndpoints
from services.query.metrics import QueryMetrics
from services.query.own_goods import GoodsKeys, claims_by
from services.query.service import TraceServicer
from services.query.settings import IndexAccessSettings, QuerySettings
from services.query.sight import Sight
from services.query.subscribing import Subscriptions
from services.query.web.auditing import AuditorPages
from services.query.web.complete import CompletePages, Offer
from services.query.web.merchant.serving import merchant_pages
from services.query.web.neighbours import ServiceNeighbours
from services.query.web.operating import OperatorPages
from services.query.web.pages import WebPages
from services.query.web.setting_up import web_settings
from services.query.web.signing_in import WebSignIn
from services.query.webhooks.service import Webhooks
from services.runtime.lifecycle import run, together
from services.runtime.logs import configure
from services.runtime.outgoing import outgoing_tls
from services.runtime.settings import MonitoringSettings, load, refuse
from services.runtime.tls import certificate_names
from services.runtime.tracing import spans
from services.runtime.vault.personal import PersonalKeys
from services.sealing.bundles import EntryReader
from services.sealing.completeness.newer import NewerEntries
from services.sealing.completeness.store import MongoRuns
from services.sealing.front import Front, opened
from services.sealing.log_book import LogBook
from services.sealing.pins import Pins

_SERVICES = (
    trace_pb2.DESCRIPTOR.services_by_name["TraceService"],
    completeness_pb2.DESCRIPTOR.services_by_name["CompletenessService"],
)


def _sight(settings: QuerySettings, front: Front, log: structlog.stdlib.BoundLogger) -> Sight:
    """Say who may see what; exits with 2 where it shall be enforced and nobody says who they are."""
    access, personal = front.access, PersonalKeys(front.people.vault)
    if settings.visibility == "enforced" and access.is_open:
        refuse(
            "GOODSTRACE_QUERY_VISIBILITY=enforced wants to know who looks: set GOODSTRACE_ACCOUNTS=required, or leave it out"
        )
    if settings.visibility == "open" or access.is_open:
        log.warning("visibility is open: whoever is let in sees everything")
        return Sight(None, personal)
    log.info("visibility is enforced", fresh_s=access.settings.access_fresh_s)
    return Sight(access.directory, personal)


def main() -> None:
    """Run until SIGTERM. Exits with 1 after a fault that wants an operator, 2 where a setting is wrong."""
    log = configure("query", load(MonitoringSettings).log_level)
    settings, web, metrics = load(QuerySettings), web_settings(), QueryMetrics()

    async def service(stop: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            front = await stack.enter_async_context(opened("query", settings, metrics, log))
            sight = _sight(settings, front, log)
            forward, heads = (
                Forward(front.reader),
                Heads(front.reader, settings.subscription_poll_ms / 1000),
            )
            servicer = TraceServicer(
                front.reader,
                front.recorder,
                Pins(front.mongo.database),
                Subscriptions(
                    front.reader,
                    front.recorder,
                    forward,
                    heads,
                    sight=sight,
                    secret=front.secret,
                    page_bytes=settings.page_bytes,
                    most=settings.max_subscriptions,
                    stop=stop,
                    metrics=metrics,
                    log=log,
                ),
                sight=sight,
                secret=front.secret,
                max_events=settings.max_events,
                page_bytes=settings.page_bytes,
                max_walks=settings.max_walks,
                max_streams=settings.max_streams,
                keep_bytes=settings.keep_mib * 2**20,
                max_goods=settings.max_goods,
                metrics=metrics,
                log=log,
            )
            login = None  # where nobody is asked who calls nobody signs in
            if not front.access.is_open:
                login = login_services(front.mongo.database, front.recorder, log, certificate_names)
                front.answering.sign = ReceiptSigner(login.ring, front.access.settings.accounts_issuer)
            services = (*_SERVICES, *(LOGIN_SERVICES if login else ()))
            gate = IndexGate(load(IndexAccessSettings).token())
            completeness = CompletenessServicer(
                front.reader,
                front.recorder,
                MongoRuns(front.mongo.database),
                NewerEntries(front.mongo.database),
                sight=sight,
                secret=front.secret,
                gate=gate,
                page_bytes=settings.page_bytes,
                max_calls=settings.max_walks,
                metrics=metrics,
                log=log,
            )

            def add(server: grpc.aio.Server) -> None:
                add_servicer(servicer, server)
                add_completeness(completeness, server)
                if login:
                    login.add(server)

            endpoints = LogEndpoints(
                front.reader,
                EntryReader(front.mongo.database, front.reader),
                public_url=settings.public_url,
                timeout_s=settings.http_timeout_s,
                metrics=metrics,
                log=log,
            )
            index = IndexEndpoints(
                front.reader,
                MongoRuns(front.mongo.database),
                gate,
                timeout_s=settings.http_timeout_s,
                log=log,
            )
            queries = EpcisQueries(
                front.reader,
                front.recorder,
                sight=sight,
                secret=front.secret,
                max_events=settings.max_events,
                page_bytes=settings.page_bytes,
                max_walks=settings.max_walks,
                metrics=metrics,
                log=log,
            )
            epcis = EpcisApi(
                queries,
                public_url=settings.public_url,
                max_call_s=settings.max_call_s,
                metrics=metrics,
                log=log,
            )
            webhooks = Webhooks(
                front, epcis, forward=forward, heads=heads, sight=sight, settings=settings, metrics=metrics
            )
            offer = Offer(web, load(IndexAccessSettings).token())
            pages = WebPages(
                servicer,
                front.reader,
                front.secret,
                settings=web,
                max_events=settings.max_events,
                public_url=settings.public_url,
                clock_s=time.monotonic,
                log=log,
                offers=offer.is_for,
                metrics=metrics,
                sign_in=WebSignIn(login.login, front.secret, settings.public_url) if login else None,
            )
            reader, database = front.reader, front.mongo.database
            neighbours = await stack.enter_async_context(aclosing(ServiceNeighbours(web, outgoing_tls())))
            book = LogBook(database)
            more_pages = (
                AuditorPages(
                    pages,
                    logs=reader,
                    book=book,
                    envelopes=EntryReader(database, reader),
                    neighbours=neighbours,
                    witnesses=web.verifiers(),
                ),
                CompletePages(pages, completeness, offer, front.secret),
                OperatorPages(pages, book, neighbours, web),
                *(
                    [
                        merchant_pages(
                            pages,
                            reader,
                            front.recorder,
                            keys=GoodsKeys(database),
                            flagged=FlaggedEvents(database),
                            sight=sight,
                            claims=claims_by(front.access.directory),
                            secret=front.secret,
                            recalling=servicer,
                            recall_timeout_s=web.recall_timeout_s,
                            forms=pages.sign_in.forms,
                            neighbours=neighbours,
                            accounts=login.accounts,
                            log=log,
                        )
                    ]
                    if login and pages.sign_in and front.access.directory
                    else ()
                ),
            )
            await together(
                stop,
                front.serve(stop, services, add, kind="goods"),
                front.serve_http(
                    stop,
                    make_app(
                        endpoints,
                        front.guard,
                        epcis,
                        index,
                        webhooks.api,
                        pages=pages,
                        more_pages=more_pages,
                        login=login,
                        answering=front.answering,
                        is_open=front.access.is_open,
                    ),
                    settings.http_port,
                    max_connections=settings.http_connections,
                ),
                webhooks.run(stop),
                *([login.run(stop)] if login else ()),
            )

    with spans.started("query"):
        run(service, log)


main()
