"""kill -9 in the middle of 20,000 events: what was acknowledged is sealed exactly once, and every look-up is recorded once.

Several clients capture simulated documents and try again whatever was not acknowledged, others look goods up meanwhile, and
the collector, the ledger and the audit recorder are killed and started again, each several times. Then the acknowledgements
are compared with what goods.stored, goods.rejected and the store's own documents hold.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue

import grpc
import pytest

from deploy.stack import Stack
from goodstrace.capture import CaptureClient, Job
from goodstrace.errors import CallError
from goodstrace.facts import identity
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from goodstrace.retrying import waits_s
from goodstrace.simulate import Simulation, SimulationOptions
from services.runtime import topics
from services.runtime.envelope import Record
from services.sealing.mark_records import PART
from tests.deadlines import DEADLINE_S
from tests.system.harness import Sealed, System, eventually

pytestmark = pytest.mark.slow
EVENTS = 20_000
EVENTS_PER_DOCUMENT = 100
CAPTURERS = 3
# Killed when this share of the documents was acknowledged.
KILLS = [
    (0.05, "collector"), (0.10, "ledger"), (0.15, "audit"),
    (0.25, "ledger"), (0.30, "collector"), (0.35, "audit"),
    (0.45, "collector"), (0.45, "ledger"), (0.50, "audit"),
    (0.65, "collector"), (0.70, "ledger"), (0.75, "audit"),
    (0.90, "collector"), (0.95, "ledger"),
]  # fmt: skip


@dataclass
class Campaign:
    """What the clients of the campaign were told."""

    documents: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)  # capture ID -> events
    refused: list[str] = field(default_factory=list)
    retries: int = 0
    answered: list[str] = field(default_factory=list)  # browse IDs
    unanswered: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)


def capture(system: System, documents: "SimpleQueue[tuple[bytes, int]]", told: Campaign) -> None:
    """Send documents until there are no more, each again until it is acknowledged."""
    pause = threading.Event()
    with CaptureClient(system.capture_url, timeout_s=30) as collector:
        while True:
            try:
                document, events = documents.get_nowait()
            except Empty:
                return
            while True:
                try:
                    taken = collector.send(document)
                except CallError:
                    told.retries += 1
                    pause.wait(0.1)  # the collector was just killed: leave it the processor to start
                    continue
                break
            if isinstance(taken, Job):
                told.acknowledged[taken.location.rpartition("/")[2]] = events
            else:
                told.refused.append("\n".join(taken.lines()))


def counted_waits(told: Campaign) -> Iterator[float]:
    """The waits before the client's own further attempts, each counted: where a collector starts quickly they are enough."""
    for wait_s in waits_s():
        told.retries += 1
        yield wait_s


def look_up(system: System, keys: list[str], told: Campaign, done: threading.Event) -> None:
    """Look goods up, one after the other, until told to stop."""
    with grpc.insecure_channel(system.query_target) as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        number = 0
        while not done.wait(0.05):
            request = trace_pb2.TraceRequest(key=keys[number % len(keys)], max_depth=2, page_size=5)
            number += 1
            try:
                told.answered.append(stub.Trace(request, timeout=30).browse_id)
            except grpc.RpcError as error:
                told.unanswered.append(str(error))


def kill_in_the_middle(system: System, told: Campaign) -> None:
    """Kill the services when their time has come; what is still starting is waited for before it is killed again."""
    for share, name in KILLS:
        eventually(
            lambda share=share: len(told.acknowledged) >= share * told.documents,
            deadline_s=DEADLINE_S,
            every_s=0.01,
            what=f"{share:.0%} of {told.documents} documents acknowledged",
        )
        system.wait_ready(name)
        system.kill9(name)
        told.kills[name] += 1
        system.daemons[name].start()
    for name in system.daemons:
        system.wait_ready(name)


@pytest.fixture(scope="module")
def killed(stack: Stack, systems: Callable[..., System]) -> System:
    return systems(stack).start()


@pytest.fixture(scope="module")
def campaign(killed: System) -> Campaign:
    """The whole campaign, up to the moment where nothing is on its way any more."""
    told = Campaign()
    documents: SimpleQueue[tuple[bytes, int]] = SimpleQueue()
    simulation = Simulation(SimulationOptions(seed=3, events=EVENTS, events_per_document=EVENTS_PER_DOCUMENT))
    for document in simulation.documents():
        documents.put((document.to_bytes(), document.events))
        told.documents += 1
    found = simulation.interesting()
    keys = [key for key in (found.item, found.lot, found.case, found.pallet, "urn:test:unknown") if key]
    done = threading.Event()
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(CAPTURERS + 1) as clients:
        patch.setattr("goodstrace.capture.waits_s", partial(counted_waits, told))
        looking = clients.submit(look_up, killed, keys, told, done)
        capturing = [clients.submit(capture, killed, documents, told) for _ in range(CAPTURERS)]
        try:
            kill_in_the_middle(killed, told)
            for each in capturing:
                each.result(timeout=DEADLINE_S)
        finally:
            done.set()
        looking.result(timeout=60)
    with CaptureClient(killed.capture_url) as collector:
        for capture_id in told.acknowledged:
            collector.wait(Job(f"/epcis/v2/capture/{capture_id}", {}), deadline_s=60)
    killed.wait_sealed(len(killed.topic_records(topics.GOODS_STORED)))
    killed.wait_looks_sealed()
    return told


@pytest.fixture(scope="module")
def stored(killed: System, campaign: Campaign) -> list[tuple[int, Record]]:
    return killed.topic_records(topics.GOODS_STORED)


@pytest.fixture(scope="module")
def rejected(killed: System, campaign: Campaign) -> list[tuple[int, Record]]:
    return killed.topic_records(topics.GOODS_REJECTED)


@pytest.fixture(scope="module")
def sealed(killed: System, campaign: Campaign) -> list[Sealed]:
    return killed.sealed()


def place(record: Record) -> tuple[str, int]:
    return record.capture_id.hex(), record.sequence


def test_the_services_were_killed_in_the_middle(campaign: Campaign) -> None:
    assert campaign.kills == Counter(name for _, name in KILLS)
    assert campaign.retries > 0
    assert campaign.refused == []
    assert sum(campaign.acknowledged.values()) == EVENTS
    assert len(campaign.acknowledged) == campaign.documents


def test_every_acknowledged_event_ends_in_exactly_one_place(
    campaign: Campaign, stored: list[tuple[int, Record]], rejected: list[tuple[int, Record]]
) -> None:
    ends = Counter(place(record) for _, record in (*stored, *rejected))
    assert {each for each, count in ends.items() if count > 1} == set()
    acknowledged = {
        (capture, sequence) for capture, events in campaign.acknowledged.items() for sequence in range(events)
    }
    assert acknowledged - set(ends) == set()
    # What was sent and not acknowledged may have been taken all the same, but then as a whole.
    others: Counter[str] = Counter(capture for capture, _ in set(ends) - acknowledged)
    sizes = {record.capture_id.hex(): record.capture_size for _, record in (*stored, *rejected)}
    assert others == {capture: sizes[capture] for capture in others}


def test_the_logs_hold_what_was_stored_once_and_in_its_order(
    stored: list[tuple[int, Record]], sealed: list[Sealed]
) -> None:
    expected: dict[str, list[bytes]] = {}
    for partition, record in stored:
        expected.setdefault(f"goods/{partition}", []).append(record.entry)
    found: dict[str, list[bytes]] = {}
    for each in sealed:
        assert each.index == len(found.setdefault(each.log, []))
        found[each.log].append(each.entry)
    assert found == expected
    assert len({each.id for each in sealed}) == len(sealed)


def test_acknowledged_is_sealed_plus_duplicates_plus_rejected(
    campaign: Campaign,
    stored: list[tuple[int, Record]],
    rejected: list[tuple[int, Record]],
    sealed: list[Sealed],
) -> None:
    of_id = {record.id.hex(): record for _, record in stored}
    ends: Counter[str] = Counter()
    for each in sealed:
        ends["sealed"] += of_id[each.id].capture_id.hex() in campaign.acknowledged
    for _, record in rejected:
        assert record.rejection is not None
        ends[record.rejection.reason] += record.capture_id.hex() in campaign.acknowledged
    assert sum(ends.values()) == sum(campaign.acknowledged.values()) == EVENTS
    assert set(ends) <= {"sealed", "DUPLICATE"}
    # Sent again or not: each of the simulated events is in one log, once.
    assert len({identity(1, each.facts) for each in sealed}) == len(sealed) == EVENTS


def test_a_duplicate_names_a_first_one_that_is_sealed(
    rejected: list[tuple[int, Record]], sealed: list[Sealed]
) -> None:
    ids = {each.id for each in sealed}
    assert {record.rejection.first_id.hex() for _, record in rejected if record.rejection} <= ids


def test_jobs_agree_with_the_logs(
    killed: System, campaign: Campaign, stored: list[tuple[int, Record]], rejected: list[tuple[int, Record]]
) -> None:
    stored_of = Counter(record.capture_id.hex() for _, record in stored)
    rejected_of = Counter(record.capture_id.hex() for _, record in rejected)
    with CaptureClient(killed.capture_url) as collector:
        for capture_id in campaign.acknowledged:
            job = collector.job(f"/epcis/v2/capture/{capture_id}")
            counts = job.counts
            assert (counts["accepted"], counts["duplicate"]) == (
                stored_of[capture_id],
                rejected_of[capture_id],
            )
            assert job.success


def test_answered_look_ups_are_sealed_browse_records_exactly(killed: System, campaign: Campaign) -> None:
    browses = [each.id for each in killed.sealed("browse/") if PART not in each.parts]
    assert campaign.unanswered == []
    assert Counter(browses) == Counter(campaign.answered)
    assert len(browses) > 20


def test_everything_verifies_after_all_that(killed: System, campaign: Campaign) -> None:
    done = killed.cli("verify")
    assert done.returncode == 0, done.stdout + done.stderr
