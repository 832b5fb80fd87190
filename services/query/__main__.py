"""The query service's process: `python -m services.query`."""

import asyncio

from goodstrace.query.v1 import trace_pb2
from goodstrace.query.v1.trace_pb2_grpc import add_TraceServiceServicer_to_server as add_servicer
from services.query.epcis_api import EpcisApi
from services.query.epcis_service import EpcisQueries
from services.query.forward import Forward, Heads
from services.query.http_app import make_app
from services.query.log_endpoints import LogEndpoints
from services.query.metrics import QueryMetrics
from services.query.service import TraceServicer
from services.query.settings import QuerySettings
from services.query.subscribing import Subscriptions
from services.query.webhooks.service import Webhooks
from services.runtime.lifecycle import run, together
from services.runtime.logs import configure
from services.runtime.settings import MonitoringSettings, load
from services.sealing.bundles import EntryReader
from services.sealing.front import opened
from services.sealing.pins import Pins

_SERVICE = trace_pb2.DESCRIPTOR.services_by_name["TraceService"]


def main() -> None:
    """Run until SIGTERM. Exits with 1 after a fault that wants an operator, 2 where a setting is wrong."""
    log = configure("query", load(MonitoringSettings).log_level)
    settings, metrics = load(QuerySettings), QueryMetrics()

    async def service(stop: asyncio.Event) -> None:
        async with opened("query", settings, metrics, log) as front:
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
                    secret=front.secret,
                    page_bytes=settings.page_bytes,
                    most=settings.max_subscriptions,
                    stop=stop,
                    metrics=metrics,
                    log=log,
                ),
                secret=front.secret,
                max_events=settings.max_events,
                page_bytes=settings.page_bytes,
                max_walks=settings.max_walks,
                max_streams=settings.max_streams,
                max_goods=settings.max_goods,
                metrics=metrics,
                log=log,
            )
            endpoints = LogEndpoints(
                front.reader,
                EntryReader(front.mongo.database, front.reader),
                public_url=settings.public_url,
                timeout_s=settings.http_timeout_s,
                metrics=metrics,
                log=log,
            )
            queries = EpcisQueries(
                front.reader,
                front.recorder,
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
                front, epcis, forward=forward, heads=heads, settings=settings, metrics=metrics
            )
            await together(
                stop,
                front.serve(stop, _SERVICE, lambda server: add_servicer(servicer, server), kind="goods"),
                front.serve_http(
                    stop,
                    make_app(endpoints, epcis, webhooks.api),
                    settings.http_port,
                    max_connections=settings.http_connections,
                ),
                webhooks.run(stop),
            )

    run(service, log)


main()
