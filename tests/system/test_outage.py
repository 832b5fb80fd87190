"""Kafka or the store goes away and comes back: nothing is shown, nothing is lost, and no service has to be started again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from deploy.broker import Broker
from deploy.document_store import DocumentStore
from deploy.stack import Stack
from goodstrace.capture import CaptureClient
from goodstrace.client import Trace
from goodstrace.errors import CallError
from goodstrace.facts import identity
from goodstrace.simulate import Document, Simulation, SimulationOptions
from services.runtime import topics
from tests.deadlines import DEADLINE_S
from tests.system.harness import SERVICES, System, eventually

pytestmark = pytest.mark.slow
OPTIONS = SimulationOptions(seed=21, events=240, events_per_document=40)
SHORT = {
    "GOODSTRACE_MONGO_TIMEOUT_MS": "2000",
    "GOODSTRACE_QUERY_BROWSE_TIMEOUT_S": "2",
    "GOODSTRACE_AUDIT_BROWSE_TIMEOUT_S": "2",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Kafka and a store that these tests may stop."""
    stack = Stack.on_free_ports(tmp_path_factory.mktemp("own") / "run")
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def running(own: Stack, systems: Callable[..., System]) -> Iterator[System]:
    system = systems(own, **SHORT).start()
    yield system
    system.stop()  # before its Kafka goes


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation(OPTIONS)


@pytest.fixture(scope="module")
def documents(simulation: Simulation) -> list[Document]:
    return list(simulation.documents())


@pytest.fixture(scope="module")
def item(running: System, simulation: Simulation, documents: list[Document]) -> str:
    """An item whose chain is captured and sealed before anything is stopped."""
    running.capture_sealed([document.to_bytes() for document in documents[:-2]])
    item = simulation.interesting().item
    assert item is not None
    assert look_up(running, item).events
    return item


def look_up(system: System, key: str) -> Trace:
    with system.client() as client:
        return client.trace(key, max_depth=2)


def refused(call: Callable[[], object]) -> str:
    """The code with which a call fails; the empty string where it does not."""
    try:
        call()
    except CallError as error:
        return error.code
    return ""


def status_of_capture(system: System, document: bytes) -> int:
    headers = {"Content-Type": "application/ld+json"}
    return httpx.post(
        f"{system.capture_url}/epcis/v2/capture", content=document, headers=headers, timeout=DEADLINE_S
    ).status_code


@contextmanager
def stopped(server: Broker | DocumentStore | None) -> Iterator[None]:
    """The server is away within, and ready again afterwards."""
    assert server is not None
    server.stop()
    yield
    server.start()
    server.wait_ready()


def test_without_kafka_nothing_is_shown_or_taken_and_with_it_everything_goes_on(
    own: Stack, running: System, documents: list[Document], item: str
) -> None:
    before = look_up(running, item)
    pids, browsed = running.pids(), len(running.looks())
    with stopped(own.kafka):
        with running.client() as client:
            assert refused(lambda: client.trace(item)) == "UNAVAILABLE"
            assert refused(lambda: client.event("urn:uuid:anything")) == "UNAVAILABLE"
            assert refused(lambda: client.browses(key=item)) == "UNAVAILABLE"
            assert client.checkpoints()  # shows no part of any record, so that it needs no record of its own
        assert status_of_capture(running, documents[-2].to_bytes()) == httpx.codes.SERVICE_UNAVAILABLE
        assert running.pids() == pids
    eventually(lambda: not refused(lambda: look_up(running, item)), what="a look-up is answered again")
    after = look_up(running, item)
    assert [each.event.identity for each in after.events] == [each.event.identity for each in before.events]
    recapture(running, documents[-2])
    eventually(lambda: len(running.looks()) > browsed, what="look-ups are recorded")
    whole_again(running, pids)


def test_without_the_store_nothing_is_shown_and_with_it_everything_goes_on(
    own: Stack, running: System, documents: list[Document], item: str
) -> None:
    before = look_up(running, item)
    pids = running.pids()
    with stopped(own.store):
        with running.client(timeout_s=4) as client:
            assert refused(lambda: client.trace(item)) == "UNAVAILABLE"
            assert refused(client.checkpoints) == "UNAVAILABLE"
            assert refused(lambda: client.browses(key=item)) == "UNAVAILABLE"
        # What Kafka acknowledges is safe without the store; a collector may take it or say that it cannot.
        status = status_of_capture(running, documents[-1].to_bytes())
        assert status in (httpx.codes.ACCEPTED, httpx.codes.SERVICE_UNAVAILABLE)
        assert running.pids() == pids
    eventually(lambda: not refused(lambda: look_up(running, item)), what="a look-up is answered again")
    after = look_up(running, item)
    assert [each.event.identity for each in after.events] == [each.event.identity for each in before.events]
    recapture(running, documents[-1])
    whole_again(running, pids)


def test_nothing_was_lost_or_sealed_twice(running: System, documents: list[Document], item: str) -> None:
    sealed = running.sealed()
    assert len(sealed) == OPTIONS.events
    assert len({identity(1, each.facts) for each in sealed}) == OPTIONS.events
    running.wait_looks_sealed()
    verified = running.cli("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def recapture(system: System, document: Document) -> None:
    """Capture a document that may have been taken before: its events end as stored or as duplicates of themselves."""
    eventually(
        lambda: status_of_capture(system, document.to_bytes()) == httpx.codes.ACCEPTED,
        what="a document is taken again",
    )
    with CaptureClient(system.capture_url) as collector:
        taken = collector.send(document.to_bytes())
        assert collector.wait(taken, deadline_s=DEADLINE_S).success  # type: ignore[arg-type]


def whole_again(system: System, pids: dict[str, int]) -> None:
    """All services say that they are ready, and are the same processes as before; all that is stored is sealed."""
    for name in SERVICES:
        system.wait_ready(name)
    assert system.pids() == pids
    system.wait_sealed(len(system.topic_records(topics.GOODS_STORED)))
