"""The query service's process: `python -m services.query`."""

import asyncio
from contextlib import AsyncExitStack, aclosing

import grpc
import structlog

from goodstrace.query.v1.completeness_pb2_grpc import (
    add_CompletenessServiceServicer_to_server as add_completeness,
)
from goodstrace.query.v1.trace_pb2_grpc import add_TraceServiceServicer_to_server as add_servicer
from services.query.accounts.receipt_signing import ReceiptSigner
from services.query.accounts.serving import Login, login_services
from services.query.completeness import CompletenessServicer
from services.query.epcis_api import EpcisApi
from services.query.epcis_service import EpcisQueries
from services.query.forward import Forward, Heads
from services.query.http_app import make_app
from services.query.index_endpoints import IndexEndpoints
from services.query.index_gate import IndexGate
from services.query.log_endpoints import LogEndpoints
from services.query.metrics import LOGIN_SERVICES, SERVICES, QueryMetrics
from services.query.service import TraceServicer
from services.query.settings import IndexAccessSettings, QuerySettings
from services.query.sight import Sight
from services.query.subscribing import Subscriptions
from services.query.web.complete import Offer
from services.query.web.neighbours import ServiceNeighbours
from services.query.web.serving import role_pages, web_pages
from services.query.web.setting_up import web_settings
from services.query.web.settings import WebSettings
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
from services.sealing.pins import Pins


def main() -> None:
    """Run until SIGTERM. Exits with 1 after a fault that wants an operator, 2 where a setting is wrong."""
    log = configure("query", load(MonitoringSettings).log_level)
    settings, web, metrics = load(QuerySettings), web_settings(), QueryMetrics()
    with spans.started("query"):
        run(lambda stop: query(stop, settings, web, metrics, log), log)


async def query(
    stop: asyncio.Event,
    settings: QuerySettings,
    web: WebSettings,
    metrics: QueryMetrics,
    log: structlog.stdlib.BoundLogger,
) -> None:
    """Build the parts, serve them on both ports until `stop`."""
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(opened("query", settings, metrics, log))
        parts = _Parts(front, settings, metrics)
        tracing, login = parts.tracing(stop), parts.login()
        index_token = load(IndexAccessSettings).token()
        gate = IndexGate(index_token)
        completeness = parts.completeness(gate)
        epcis = parts.epcis()
        webhooks = parts.webhooks(epcis)
        offer = Offer(web, index_token)
        pages = web_pages(front, settings, web, tracing=tracing, offer=offer, login=login, metrics=metrics)
        neighbours = await stack.enter_async_context(aclosing(ServiceNeighbours(web, outgoing_tls())))
        more_pages = role_pages(
            pages,
            front,
            web,
            tracing=tracing,
            completeness=completeness,
            offer=offer,
            sight=parts.sight,
            neighbours=neighbours,
            login=login,
            metrics=metrics,
        )
        app = make_app(
            parts.logs(),
            front.guard,
            epcis,
            parts.index(gate),
            webhooks.api,
            pages=pages,
            more_pages=more_pages,
            login=login,
            answering=front.answering,
            is_open=front.access.is_open,
        )

        def add(server: grpc.aio.Server) -> None:
            add_servicer(tracing, server)
            add_completeness(completeness, server)
            if login:
                login.add(server)

        await together(
            stop,
            front.serve(stop, (*SERVICES, *(LOGIN_SERVICES if login else ())), add, kind="goods"),
            front.serve_http(stop, app, settings.http_port, max_connections=settings.http_connections),
            webhooks.run(stop),
            *([login.run(stop)] if login else ()),
        )


class _Parts:
    """Makes the parts of the process from its settings and what `front` has open."""

    def __init__(self, front: Front, settings: QuerySettings, metrics: QueryMetrics) -> None:
        self._front, self._settings, self._metrics = front, settings, metrics
        self._database = front.mongo.database
        self._forward = Forward(front.reader)
        self._heads = Heads(front.reader, settings.subscription_poll_ms / 1000)
        self.sight = _sight(settings, front)

    def tracing(self, stop: asyncio.Event) -> TraceServicer:
        front, settings = self._front, self._settings
        subscriptions = Subscriptions(
            front.reader,
            front.recorder,
            self._forward,
            self._heads,
            sight=self.sight,
            secret=front.secret,
            page_bytes=settings.page_bytes,
            most=settings.max_subscriptions,
            share=settings.caller_share,
            stop=stop,
            metrics=self._metrics,
            log=front.log,
        )
        return TraceServicer(
            front.reader,
            front.recorder,
            Pins(self._database),
            subscriptions,
            sight=self.sight,
            secret=front.secret,
            page_key=front.people.vault.page_key,
            max_events=settings.max_events,
            page_bytes=settings.page_bytes,
            max_walks=settings.max_walks,
            max_streams=settings.max_streams,
            caller_share=settings.caller_share,
            write_s=settings.write_s,
            keep_bytes=settings.keep_mib * 2**20,
            max_goods=settings.max_goods,
            metrics=self._metrics,
            log=front.log,
        )

    def login(self) -> Login | None:
        """Make what signs people in, and receipts; nothing where nobody is asked who calls."""
        front = self._front
        if front.access.is_open:
            return None
        login = login_services(
            self._database,
            front.recorder,
            front.people.vault,
            is_blocked=front.blocks.is_network_blocked,
            log=front.log,
            certificate_names=certificate_names,
        )
        front.answering.sign = ReceiptSigner(login.ring, front.access.settings.accounts_issuer)
        return login

    def completeness(self, gate: IndexGate) -> CompletenessServicer:
        front, settings = self._front, self._settings
        return CompletenessServicer(
            front.reader,
            front.recorder,
            MongoRuns(self._database),
            NewerEntries(self._database, front.reader.lookup),
            sight=self.sight,
            secret=front.secret,
            gate=gate,
            page_bytes=settings.page_bytes,
            max_calls=settings.max_walks,
            metrics=self._metrics,
            log=front.log,
        )

    def epcis(self) -> EpcisApi:
        front, settings = self._front, self._settings
        queries = EpcisQueries(
            front.reader,
            front.recorder,
            sight=self.sight,
            secret=front.secret,
            page_key=front.people.vault.page_key,
            max_events=settings.max_events,
            page_bytes=settings.page_bytes,
            max_walks=settings.max_walks,
            metrics=self._metrics,
            log=front.log,
        )
        return EpcisApi(
            queries,
            public_url=settings.public_url,
            max_call_s=settings.max_call_s,
            metrics=self._metrics,
            log=front.log,
        )

    def webhooks(self, epcis: EpcisApi) -> Webhooks:
        return Webhooks(
            self._front,
            epcis,
            forward=self._forward,
            heads=self._heads,
            sight=self.sight,
            settings=self._settings,
            metrics=self._metrics,
        )

    def logs(self) -> LogEndpoints:
        front, settings = self._front, self._settings
        return LogEndpoints(
            front.reader,
            EntryReader(self._database, front.reader),
            public_url=settings.public_url,
            timeout_s=settings.http_timeout_s,
            metrics=self._metrics,
            log=front.log,
        )

    def index(self, gate: IndexGate) -> IndexEndpoints:
        return IndexEndpoints(
            self._front.reader,
            MongoRuns(self._database),
            gate,
            timeout_s=self._settings.http_timeout_s,
            log=self._front.log,
        )


def _sight(settings: QuerySettings, front: Front) -> Sight:
    """Say who may see what; exits with 2 where it shall be enforced and nobody says who they are."""
    access, personal = front.access, PersonalKeys(front.people.vault)
    if settings.visibility == "enforced" and access.is_open:
        refuse(
            "GOODSTRACE_QUERY_VISIBILITY=enforced wants to know who looks: set GOODSTRACE_ACCOUNTS=required, or leave it out"
        )
    if settings.visibility == "open" or access.is_open:
        front.log.warning("visibility is open: whoever is let in sees everything")
        return Sight(None, personal)
    front.log.info("visibility is enforced", fresh_s=access.settings.access_fresh_s)
    return Sight(access.directory, personal)


main()
