"""The operator page's ladder, asked of a real Prometheus that keeps it by the project's own rules."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from deploy.processes import HOST, free_port
from goodstrace.connections import Tls
from services.query.web.neighbours import NeighbourAwayError, Rung, ServiceNeighbours
from services.query.web.settings import WebSettings
from services.runtime.ladder import RUNGS
from tests.deadlines import DEADLINE_S
from tests.prometheus import MISSING, Prometheus

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason=MISSING)

LOGS = {"published": (60, 30), "signed": (70, 30), "sealed": (90, 30)}
WAITING = {"summarise": 1, "record": 2, "classify": 3, "store": 4, "ledger": 5}
EXPECTED = [
    Rung("captured", 135, 0),
    Rung("summarised", 134, 1),
    Rung("recorded", 132, 2),
    Rung("classified", 129, 3),
    Rung("stored", 125, 4),
    Rung("sealed", 120, 5),
    Rung("checkpointed", 100, 20),
    Rung("witnessed", 90, 10),
]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that watches what services would show: two logs, and records that wait before each stage."""
    registry = CollectorRegistry()
    for step, sizes in LOGS.items():
        gauge = Gauge(f"goodstrace_ledger_{step}_entries", "Entries.", ["log"], registry=registry)
        for number, size in enumerate(sizes):
            gauge.labels(f"goods/{number}").set(size)
        gauge.labels("browse/0").set(7000)  # no rung of goods
    lag = Gauge("goodstrace_kafka_lag_records", "Records.", ["client"], registry=registry)
    for stage, records in WAITING.items():
        lag.labels(stage).set(records)
    server, thread = start_http_server(free_port(), HOST, registry)
    folder: Path = tmp_path_factory.mktemp("backlog")
    try:
        with Prometheus(folder, {"ledger": f"{HOST}:{server.server_port}"}) as running:
            yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def backlog(url: str) -> list[Rung]:
    neighbours = ServiceNeighbours(WebSettings(prometheus=url), Tls())
    try:
        return await neighbours.backlog()
    finally:
        await neighbours.aclose()


async def test_the_page_has_every_rung_with_what_waits_before_it(prometheus: Prometheus) -> None:
    assert [each.name for each in EXPECTED] == list(RUNGS)
    deadline = time.monotonic() + DEADLINE_S
    # Rungs are made one of the other, an evaluation after it at most.
    while (found := await backlog(f"http://{HOST}:{prometheus.port}/")) != EXPECTED:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.5)


async def test_what_is_no_prometheus_is_away(prometheus: Prometheus) -> None:
    with pytest.raises(NeighbourAwayError):
        await backlog(f"http://{HOST}:{free_port()}")
    with pytest.raises(NeighbourAwayError, match="does not answer as it should"):
        await backlog(f"http://{HOST}:{prometheus.port}/graph")
