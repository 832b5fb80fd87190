"""What operations look at: each service says what it did, in numbers that are right and with labels from closed sets."""

import json
import re
from collections.abc import Iterable
from functools import partial

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from deploy.service_processes import ROOT
from goodstrace.audit.v1 import watch_pb2
from goodstrace.query.v1 import login_pb2
from goodstrace.simulate import Simulation, SimulationOptions
from services.collector.books import Books
from services.query.accounts.metrics import Outcome
from services.query.webhooks.values import DisabledBy
from services.runtime import topics
from services.runtime.access.guard import Reason
from services.runtime.kafka_statistics import CLIENTS
from services.runtime.store_metrics import COMMANDS
from tests.system.harness import SERVICES, System, eventually

EVENTS = 150
TRACES, SHOWN, LISTED = 7, 3, 2
STAGES = ("collect", "summarise", "record", "classify", "store")
# Labels and what they may say: words that the code names, never what somebody sent.
LABELS = {
    "stage": re.compile("|".join(STAGES)),
    "reason": re.compile("|".join(["INVALID|FORBIDDEN|DUPLICATE|TOO_LARGE|FAULT", *Reason, *DisabledBy])),
    "rule": re.compile("|".join(Books().rule_ids)),
    "method": re.compile(
        "capture|events|job|jobs|discovery|none|rejections|rejection|rejection_content|resubmit|registry|Capture|CaptureStream|Trace|GetEvent|GetCheckpoint|GetInclusionProof|GetConsistencyProof|"
        "GetRootProof|GetProofFile|GetKeyChanges|GetGoods|Subscribe|ListBrowses|QueryEvents|ListValues|ManageWebhooks|"
        "GetBrowseProof|GetStatistics|CountGoodsBrowses|GetIndexSecret|ProveComplete|GetRecords|GetRegistrations|StreamTrace|Recall|"
        + "|".join(
            method.name
            for file in (login_pb2, watch_pb2)
            for service in file.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        )
    ),
    "outcome": re.compile(
        "|".join(
            [
                "collected|rejected|delivered|refused|gone|timeout|unreachable|forbidden",
                "answered|failed|withheld",
                *Outcome,
            ]
        )
    ),
    "state": re.compile("enabled|disabled|damaged|over|open|in_use"),
    "client": re.compile("|".join(CLIENTS)),
    "command": re.compile("|".join(COMMANDS)),
    "log": re.compile("(goods|browse)/[0-9]+|root|index"),
    "code": re.compile(r"[0-9]{3}|[A-Z_]+"),
    "page": re.compile(r"/[a-z0-9./{}:_-]*"),
    "kind": re.compile("index|list|checkpoint|keys|tile|entries|other|send|receive|timeout"),
    "category": re.compile("[a-z-]+"),
    "loop": re.compile("[a-z_]+"),
    "service": re.compile("|".join(SERVICES)),
    "version": re.compile(r"[0-9.]+"),
    "le": re.compile(r"[0-9.e+-]+|\+Inf"),
}


def samples(system: System, service: str) -> list[Sample]:
    text = httpx.get(system.url(service, "/metrics")).text
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(system: System, service: str, name: str, /, **labels: str) -> float:
    """The sum of all samples of a name that have these labels; at least one must be there."""
    matching = [
        sample.value
        for sample in samples(system, service)
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert matching, f"{service} has no {name} {labels}"
    return sum(matching)


@pytest.fixture(scope="module")
def loaded(system: System) -> System:
    """A system after a known load: 150 events, one document of 50 of them twice, one refused, look-ups of each kind."""
    simulation = Simulation(SimulationOptions(seed=5, events=EVENTS, events_per_document=50))
    documents = [document.to_bytes() for document in simulation.documents()]
    system.capture_sealed(documents)
    system.capture(documents[:1])
    bad = json.loads(documents[0])
    bad["epcisBody"]["eventList"][0]["action"] = "SUBTRACT"
    refused = httpx.post(
        f"{system.capture_url}/epcis/v2/capture",
        content=json.dumps(bad),
        headers={"Content-Type": "application/ld+json"},
    )
    assert refused.status_code == httpx.codes.BAD_REQUEST
    item = simulation.interesting().item
    assert item is not None
    with system.client() as client:
        for _ in range(TRACES):
            assert len(client.trace(item, complete=False).browse_ids) == 1
        for _ in range(SHOWN):
            client.event("urn:uuid:unknown")
        for _ in range(LISTED):
            client.browses(key=item)
    system.wait_looks_sealed(TRACES + SHOWN + LISTED)
    return system


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_says_that_it_lives_and_is_ready(system: System, service: str) -> None:
    for path, word in (("/healthz", "alive"), ("/readyz", "ready")):
        answer = httpx.get(system.url(service, path))
        assert (answer.status_code, answer.text.strip()) == (200, word)
    assert httpx.get(system.url(service, "/else")).status_code == 404
    assert value(system, service, "goodstrace_build_info", service=service) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_labels_say_nothing_that_somebody_sent(loaded: System, service: str) -> None:
    ours = [sample for sample in samples(loaded, service) if sample.name.startswith("goodstrace_")]
    assert ours
    for sample in ours:
        for label, text in sample.labels.items():
            assert label in LABELS, sample
            assert LABELS[label].fullmatch(text), sample


@pytest.mark.parametrize("service", SERVICES)
def test_every_metric_is_on_the_page_of_metrics(loaded: System, service: str) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    text = httpx.get(loaded.url(service, "/metrics")).text
    for family in text_string_to_metric_families(text):
        if family.name.startswith("goodstrace_"):
            # Those with the time at which a counter was made come with each counter, and are told of there.
            name = family.name.removesuffix("_created")
            assert any(f"`{name}{suffix}`" in page for suffix in ("", "_total")), family.name


def names(system: System, service: str) -> Iterable[str]:
    return {(sample.name, *sorted(sample.labels.items())) for sample in samples(system, service)}  # type: ignore[misc]


@pytest.mark.parametrize("service", SERVICES)
def test_a_load_makes_no_new_series(loaded: System, service: str) -> None:
    # All label pairs exist from the start, so that a rate starts from 0 and nobody can make series without end.
    before = names(loaded, service)
    with loaded.client(user="somebody new") as client:
        client.trace("urn:test:never-seen-before")
        client.browses(user="somebody new")
    assert names(loaded, service) == before


def test_the_collector_counts_each_stage(loaded: System) -> None:
    document = value(loaded, "collector", "goodstrace_collector_stage_out_records_total", stage="collect")
    duplicates = len(loaded.topic_records(topics.GOODS_REJECTED))
    assert document == EVENTS + duplicates
    assert duplicates > 0
    for stage in STAGES[1:]:
        passed = value(loaded, "collector", "goodstrace_collector_stage_out_records_total", stage=stage)
        assert passed == EVENTS, stage
    rejected = "goodstrace_collector_rejected_records_total"
    assert value(loaded, "collector", rejected, stage="summarise", reason="DUPLICATE") == duplicates
    assert value(loaded, "collector", rejected) == duplicates
    busy = "goodstrace_collector_stage_in_progress_records"
    eventually(lambda: value(loaded, "collector", busy) == 0, what="nothing is in progress")


def test_the_collector_counts_its_answers(loaded: System) -> None:
    requests = "goodstrace_collector_requests_total"
    captures = len({record.capture_id for _, record in loaded.topic_records(topics.GOODS_COLLECTED)})
    assert value(loaded, "collector", requests, method="capture", code="202") == captures
    assert value(loaded, "collector", requests, method="capture", code="400") == 1
    assert value(loaded, "collector", requests, method="capture") == captures + 1


def test_the_ledger_counts_what_it_sealed(loaded: System) -> None:
    assert value(loaded, "ledger", "goodstrace_ledger_records_read_total") == EVENTS
    assert value(loaded, "ledger", "goodstrace_ledger_records_sealed_total") == EVENTS
    blocks = loaded.store["blocks"].count_documents({"log": {"$regex": "^goods/"}})
    assert value(loaded, "ledger", "goodstrace_ledger_blocks_total") == blocks
    assert value(loaded, "ledger", "goodstrace_ledger_records_waiting") == 0


def test_the_ladder_has_no_gap_when_all_is_sealed(loaded: System) -> None:
    for client in ("summarise", "projector", "states"):
        lag = partial(value, loaded, "collector", "goodstrace_kafka_lag_records", client=client)
        eventually(lambda lag=lag: lag() == 0, what=f"nothing is behind {client}")  # type: ignore[misc]
    lag = partial(value, loaded, "ledger", "goodstrace_kafka_lag_records", client="ledger")
    eventually(lambda: lag() == 0, what="nothing is behind the ledger")
    sizes = [
        sum(
            value(loaded, "ledger", f"goodstrace_ledger_{rung}_entries", log=f"goods/{partition}")
            for partition in range(2)
        )
        for rung in ("sealed", "signed", "published")
    ]
    assert sizes == [EVENTS] * 3
    assert value(loaded, "ledger", "goodstrace_ledger_oldest_waiting_seconds") == 0
    ages = "goodstrace_ledger_capture_to_checkpoint_seconds"
    assert value(loaded, "ledger", f"{ages}_count") == EVENTS
    assert value(loaded, "ledger", f"{ages}_sum") > 0


@pytest.mark.parametrize("service", SERVICES)
def test_the_store_and_kafka_are_seen_from_each_service(loaded: System, service: str) -> None:
    assert value(loaded, service, "goodstrace_store_command_seconds_count", command="find") > 0
    assert value(loaded, service, "goodstrace_store_connections", state="open") > 0
    eventually(
        lambda: value(loaded, service, "goodstrace_kafka_statistics_timestamp_seconds") > 0,
        what=f"a Kafka client of {service} reported",
    )
    assert value(loaded, service, "goodstrace_kafka_round_trip_seconds") > 0


def test_what_must_stay_zero_is_zero(loaded: System) -> None:
    for service in ("ledger", "audit"):
        for name in ("append_conflicts_total", "unprovable_records_total"):
            assert value(loaded, service, f"goodstrace_{service}_{name}") == 0
    assert value(loaded, "collector", "goodstrace_collector_jobs_unwritten_total") == 0


def test_look_ups_are_counted_by_method_and_sealed(loaded: System) -> None:
    calls = "goodstrace_query_calls_total"
    before = value(loaded, "query", calls, method="Trace", code="OK")
    assert before >= TRACES
    assert value(loaded, "query", calls, method="GetEvent", code="OK") >= SHOWN
    assert value(loaded, "audit", "goodstrace_audit_calls_total", method="ListBrowses", code="OK") >= LISTED
    loaded.wait_looks_sealed()
    browsed = len(loaded.looks())
    eventually(
        lambda: (
            value(loaded, "audit", "goodstrace_audit_records_sealed_total")
            == len(loaded.topic_values(topics.GOODS_BROWSED))
        ),
        what="marks are sealed too",
    )
    marked = sum(
        value(loaded, service, "goodstrace_browse_outcomes_total", service=service, outcome=outcome)
        for service in ("query", "audit")
        for outcome in ("answered", "failed", "withheld")
    )
    assert marked == browsed
    shown = sum(
        value(loaded, service, f"goodstrace_{service}_calls_total", method=method, code="OK")
        for service, method in (
            *(("query", each) for each in ("Trace", "GetEvent", "ProveComplete", "GetRecords")),
            ("audit", "ListBrowses"),
        )
    )
    assert shown == browsed
    assert value(loaded, "query", calls) == sum(
        sample.value
        for sample in samples(loaded, "query")
        if sample.name == "goodstrace_query_call_seconds_count"
    )
