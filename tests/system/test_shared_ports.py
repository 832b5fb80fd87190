"""Several query processes on the same ports: both answer, either goes on with the other's pages, and one may be killed."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import grpc
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.processes import Daemon, free_port
from deploy.service_processes import ROOT, not_ready
from deploy.stack import Stack
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from tests.deadlines import DEADLINE_S
from tests.system.harness import System
from tests.system.simulated import seal_simulation

CHANNELS = 24  # that all of them go to one of two processes has a chance of 1 in 8 million


@pytest.fixture(scope="module")
def system(stack: Stack, systems: Callable[..., System]) -> System:
    return systems(stack, GOODSTRACE_QUERY_SHARE_PORTS="true").start()


@pytest.fixture
def second(system: System) -> Iterator[Daemon]:
    """Another query process on the ports of the first; only its metrics have one of their own."""
    port = free_port()
    daemon = Daemon(
        name="query-2",
        command=[sys.executable, "-m", "services.query"],
        run_dir=system.run_dir,
        ports=(port,),
        environment={**system.environment, "GOODSTRACE_QUERY_METRICS_PORT": str(port)},
        cwd=ROOT,
    )
    daemon.start()
    daemon.wait_ready(partial(not_ready, f"http://127.0.0.1:{port}/readyz"), DEADLINE_S)
    yield daemon
    daemon.stop()


def answered(port: int) -> float:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "goodstrace_query_calls_total" and sample.labels["method"] == "Trace"
    )


def page(system: System, request: trace_pb2.TraceRequest) -> trace_pb2.TraceResponse:
    """One page over a connection of its own."""
    with closing(
        grpc.insecure_channel(system.query_target, options=[("grpc.use_local_subchannel_pool", 1)])
    ) as channel:
        return trace_pb2_grpc.TraceServiceStub(channel).Trace(
            request, wait_for_ready=True, timeout=DEADLINE_S
        )


def test_both_answer_and_one_goes_on_where_the_other_is_killed(system: System, second: Daemon) -> None:
    key = seal_simulation(system, seed=5, events=120, events_per_document=60)
    request = trace_pb2.TraceRequest(key=key, page_size=1)
    whole = page(system, trace_pb2.TraceRequest(key=key))
    pages = 0
    for _ in range(CHANNELS):
        found = page(system, request)
        assert found.total_events == whole.total_events
        assert [each.identity for each in found.events] == [whole.events[pages].identity]
        pages = pages + 1 if found.next_page_token else 0
        request.page_token = found.next_page_token
    shares = [answered(port) for port in (system.metrics_ports["query"], *second.ports)]
    assert sum(shares) == CHANNELS + 1
    assert all(shares), shares
    assert httpx.get(f"{system.log_url}/logs").status_code == 200
    system.kill9("query")
    for _ in range(4):
        assert page(system, trace_pb2.TraceRequest(key=key)).total_events == whole.total_events
        assert httpx.get(f"{system.log_url}/logs").status_code == 200
    system.restart("query")
