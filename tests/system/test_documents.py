"""Every document that nobody here wrote goes through the HTTP capture and ends as its MANIFEST.tsv and README.md say.

Seen in two ways. Together: all documents into one system, as they would arrive; event IDs recur across files, so that some
events are duplicates of ones captured before and some are marked as conflicting with them, but none is refused. Apart: each
document by itself through the same stages with nothing before it, as the README asks; then nothing recurs but in one file.
"""

import csv
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import httpx
import pytest

from goodstrace import facts as sealed_facts
from goodstrace.capture import CaptureClient, Job
from goodstrace.event_content import read_event
from goodstrace.facts import Facts, Flag, identity
from goodstrace.personal_part import PART as PERSONAL
from goodstrace.personal_part import decode, put_back
from goodstrace.verification import event_hash_of
from services.collector import documents
from services.collector.collect import Rules, Stamp, collect
from services.collector.flow import Item, StageName, to_wire
from services.collector.stages import Span, State
from services.collector.summarise import Window
from services.runtime import envelope, topics
from services.runtime.envelope import Record
from tests.deadlines import DEADLINE_S
from tests.opened_browses import opened_parts
from tests.system.harness import SHARED_EPCIS, Sealed, System
from tests.unit.collector_builders import items_of
from tests.unit.test_event_hash import DIFFERENT, LEAKED
from tests.xml_events import alone as alone_in
from tests.xml_events import events_of_xml, same

pytestmark = pytest.mark.skipif(
    not SHARED_EPCIS.is_dir(),
    reason="../shared is absent: the documents of others are not in this repository",
)
# The events of these differ in nothing that the event hash covers and have no ID: so many are duplicates of the first.
EQUAL = {
    "hash-vectors/expected_equal/ReferenceEventHashAlgorithm.json": 1,
    "hash-vectors/expected_equal/differentRepresentationsOfAggregationEvent.xml": 2,
    "hash-vectors/expected_equal/differentRepresentationsOfTransactionEvent.xml": 1,
    "hash-vectors/expected_equal/timestampPrecision.xml": 3,
    "hash-vectors/expected_equal/timestampTimeZone.xml": 2,
    "hash-vectors/examples/epcisDocHavingEventWithIgnoreFields.jsonld": 1,
    "hash-vectors/examples/epcisQueryDocHavingEventWithIgnoreFields.jsonld": 1,
}
NEW_YEAR_2030_MS = 1_893_456_000_000
TABLE = SHARED_EPCIS / "MANIFEST.tsv"


@dataclass(frozen=True)
class Listed:
    """A row of the MANIFEST."""

    path: str
    events: int
    schema: str

    @property
    def content(self) -> bytes:
        return (SHARED_EPCIS / self.path).read_bytes()

    @property
    def expected(self) -> str:
        """How it must end."""
        if self.schema == "not-json" or "/Invalid/" in self.path:
            return "refused"
        if self.events == 0 and self.schema == "schema-fail":
            return "refused"  # master data and queries: no document of events
        return "sealed"


def number_of_events(row: Mapping[str, str]) -> int:
    """How many events a document has; of XML the MANIFEST does not say it."""
    if row["path"].endswith(".xml"):
        return len(events_of_xml((SHARED_EPCIS / row["path"]).read_bytes()))
    return int(row["events"]) if row["events"].isdigit() else 0


def manifest() -> list[Listed]:
    if not TABLE.exists():
        return []
    with TABLE.open() as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    return [
        Listed(row["path"], number_of_events(row), row["gs1_schema_2023-05"])
        for row in rows
        if row["path"].endswith((".json", ".jsonld", ".xml"))
    ]


LISTED = manifest()


@dataclass
class Ended:
    """How a document ended: the HTTP status with its problem, or the job; and by sequence what became of its events."""

    status: int
    problem: Mapping[str, Any]
    job: Job | None


@pytest.fixture(scope="module")
def ended(system: System) -> dict[str, Ended]:
    """All documents captured, one after the other (which of two equal events is the first depends on it), and sealed."""
    results: dict[str, Ended] = {}
    with (
        httpx.Client(base_url=system.capture_url, timeout=DEADLINE_S) as http,
        CaptureClient(system.capture_url) as jobs,
    ):
        for each in LISTED:
            kind = "application/xml" if each.path.endswith(".xml") else "application/ld+json"
            answer = http.post("/epcis/v2/capture", content=each.content, headers={"Content-Type": kind})
            job = None
            if answer.status_code == httpx.codes.ACCEPTED:
                job = Job(answer.headers["Location"], {})
            problem = {} if job else answer.json()
            results[each.path] = Ended(answer.status_code, problem, job)
        for result in results.values():
            result.job = jobs.wait(result.job) if result.job else None
    system.wait_sealed(sum(each.job.counts["accepted"] for each in results.values() if each.job))
    return results


@pytest.fixture(scope="module")
def stored(system: System, ended: dict[str, Ended]) -> list[tuple[int, Record]]:
    return system.topic_records(topics.GOODS_STORED)


@pytest.fixture(scope="module")
def rejected(system: System, ended: dict[str, Ended]) -> list[tuple[int, Record]]:
    return system.topic_records(topics.GOODS_REJECTED)


@pytest.fixture(scope="module")
def sealed(system: System, ended: dict[str, Ended]) -> dict[str, Sealed]:
    return {each.id: each for each in system.sealed()}


def how(result: Ended) -> str:
    if result.job is not None:
        return "sealed" if result.job.success else "failed"
    return "refused"


def encoding(path: str) -> str:
    return "XML" if path.endswith(".xml") else "JSON"


def events_of(content: bytes) -> list[Any]:
    """The events of a document, by nothing but the standard library."""
    if content.lstrip()[:1] == b"<":
        return list(events_of_xml(content))
    document = json.loads(content.removeprefix(b"\xef\xbb\xbf"))
    body = document.get("epcisBody")
    if body is None:
        return [document]
    return list(
        body["eventList"] if "eventList" in body else body["queryResults"]["resultsBody"]["eventList"]
    )


def test_each_document_ends_as_the_manifest_says(
    ended: dict[str, Ended], tell: Callable[[str], None]
) -> None:
    table = Counter(
        (each.path.split("/")[0], encoding(each.path), each.schema, how(ended[each.path])) for each in LISTED
    )
    tell("folder            encoding  GS1 schema   ended     documents")
    for (folder, encoded, schema, outcome), count in sorted(table.items()):
        tell(f"{folder:17} {encoded:9} {schema:12} {outcome:9} {count:5}")
    assert {each.path: how(ended[each.path]) for each in LISTED} == {
        each.path: each.expected for each in LISTED
    }
    assert len(LISTED) > 80


def test_every_event_of_an_accepted_document_has_its_verdict(ended: dict[str, Ended]) -> None:
    for each in LISTED:
        job = ended[each.path].job
        if job is None:
            continue
        counts = job.counts
        assert counts["accepted"] + counts["duplicate"] == each.events, each.path
        assert counts["rejected"] == 0, each.path
        assert job.success, each.path


def test_a_refusal_names_the_place_of_the_fault(ended: dict[str, Ended]) -> None:
    places = {
        each.path: [fault["pointer"] for fault in ended[each.path].problem["errors"]]
        for each in LISTED
        if each.expected == "refused"
    }
    event = "/epcisBody/eventList/0"
    invalid = "openepcis/Capture/Invalid/ObjectEvent"
    assert places == {
        f"{invalid}_with_invalid_certificationInfo.json": [f"{event}/certificationInfo/0"],
        f"{invalid}_with_quantity_as_text.json": [f"{event}/quantityList/0/quantity"],
        f"{invalid}_with_unknown_field_in_quantityList.json": [f"{event}/quantityList/0/weight"],
        f"{invalid}_without_action_and_eventTime.json": [f"{event}/eventTime"],
        "openepcis/Query/Invalid/QueryDocument_with_invalid_action.json": [
            "/epcisBody/queryResults/resultsBody/eventList/0/action"
        ],
        "openepcis/Query/Queries/Invalid/Query_with_invalid_values.json": ["/type"],
        "openepcis/Query/Queries/Invalid/Query_with_unknown_parameter.json": ["/type"],
        "opentraceability/EPCISQUERYDOCUMENT_advanced_5.jsonld": [""],
        "opentraceability/gs1-vocab-products01.json": ["/type"],
        "opentraceability/gs1-vocab-tradingparties01.json": ["/type"],
    }
    not_json = ended["opentraceability/EPCISQUERYDOCUMENT_advanced_5.jsonld"].problem["errors"][0]["detail"]
    assert "line 1330" in not_json


def test_a_refused_document_leaves_nothing(
    ended: dict[str, Ended], stored: list[tuple[int, Record]], rejected: list[tuple[int, Record]]
) -> None:
    captures = {each.job.location.rpartition("/")[2] for each in ended.values() if each.job}
    assert {record.capture_id.hex() for _, record in (*stored, *rejected)} <= captures
    assert {record.rejection.reason for _, record in rejected if record.rejection} == {"DUPLICATE"}


def test_what_was_captured_is_sealed_byte_for_byte(
    system: System,
    ended: dict[str, Ended],
    stored: list[tuple[int, Record]],
    sealed: dict[str, Sealed],
    tell: Callable[[str], None],
) -> None:
    """But for personal data, which lies encrypted beside it: put back, it is what was captured."""
    assert len(sealed) == len(stored)
    keys, personal = system.vault.personal_keys(), 0
    by_place = {(record.capture_id.hex(), record.sequence): record for _, record in stored}
    seen = 0
    for each in LISTED:
        job = ended[each.path].job
        if job is None:
            continue
        content = each.content
        for sequence, event in enumerate(events_of(content)):
            record = by_place.get((job.location.rpartition("/")[2], sequence))
            if record is not None:
                parts = opened_parts(record.id, sealed[record.id.hex()].parts, keys)
                part = parts["event"]
                if PERSONAL in parts:
                    part = put_back(part, decode(parts[PERSONAL]))
                    personal += 1
                assert part in content
                if isinstance(event, Element):
                    assert same(alone_in(part, content), event)
                else:
                    assert json.loads(part) == event
                seen += 1
    assert seen == len(sealed)
    tell(f"documents: {personal} of {seen} events had personal data, which was taken out and fits back in")


def test_an_event_that_came_as_xml_is_shown_with_proofs_and_its_hash_computed_again(
    system: System, ended: dict[str, Ended]
) -> None:
    answer = system.client(user="auditor").trace("urn:epc:id:sgtin:4012345.022222.1234")
    (event,) = (each.event for each in answer.events)
    assert event.facts is not None
    assert event.content is not None
    assert event.content in (SHARED_EPCIS / "hash-vectors/examples/SensorDataExamples.xml").read_bytes()
    assert event.facts.context["xmlns"]["example1"] == "https://ns.example1.com/epcis"
    assert event_hash_of(event.content, event.facts) == event.facts.event_hash
    reports = event.document()["sensorElementList"][0]["sensorReport"]
    assert [report["value"] for report in reports] == [4.5, 12.8, 0]


def test_queries_show_every_sealed_event_byte_for_byte(system: System, sealed: dict[str, Sealed]) -> None:
    wanted = {(each.log, each.index): each for each in sealed.values()}
    seen = set()
    with httpx.Client(base_url=system.log_url, timeout=DEADLINE_S) as http:
        url = "/epcis/v2/events?perPage=1000"
        while url:
            answer = http.get(url)
            assert answer.status_code == httpx.codes.OK, answer.text
            for event in answer.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]:
                name, sealed_at = event.popitem()
                prefix = name.partition(":")[0]
                place = sealed_at[f"{prefix}:log"], sealed_at[f"{prefix}:index"]
                seen.add(place)
                content = wanted[place].parts["event"]
                if content.startswith(b"<"):
                    assert event == read_event(content, wanted[place].facts.context)
                else:
                    assert content[:-1].rstrip() in answer.content
            link = answer.headers.get("Link", "")
            url = link[1 : link.index(">")] if link else ""
    assert seen == wanted.keys()


def facts_by_place(
    stored: list[tuple[int, Record]], rejected: list[tuple[int, Record]], sealed: Mapping[str, Sealed]
) -> dict[tuple[str, int], Facts]:
    """The sealed facts of each captured event; those of a duplicate are the ones of the first."""
    places = {(record.capture_id.hex(), record.sequence): record.id.hex() for _, record in stored}
    for _, record in rejected:
        assert record.rejection is not None
        places[record.capture_id.hex(), record.sequence] = record.rejection.first_id.hex()
    return {place: sealed[record_id].facts for place, record_id in places.items()}


def test_sealed_event_hashes_are_those_of_their_authors(
    ended: dict[str, Ended],
    stored: list[tuple[int, Record]],
    rejected: list[tuple[int, Record]],
    sealed: dict[str, Sealed],
) -> None:
    facts = facts_by_place(stored, rejected, sealed)
    compared = 0
    for each in LISTED:
        job, vector = ended[each.path].job, (SHARED_EPCIS / each.path).with_suffix(".hashes")
        if job is None or not vector.exists():
            continue
        capture = job.location.rpartition("/")[2]
        hashes = [facts[capture, sequence].event_hash for sequence in range(each.events)]
        assert hashes == vector.read_text().split(), each.path
        compared += len(hashes)
    assert compared >= 35


def test_sealed_event_hashes_are_those_of_the_reference_implementation(
    ended: dict[str, Ended],
    stored: list[tuple[int, Record]],
    rejected: list[tuple[int, Record]],
    sealed: dict[str, Sealed],
) -> None:
    # Where the reference has a known fault (`DIFFERENT`, `LEAKED`), tests/unit/test_event_hash.py shows that the
    # difference is that fault and nothing else.
    facts = facts_by_place(stored, rejected, sealed)
    same: Counter[bool] = Counter()
    with (SHARED_EPCIS / "computed-hashes.tsv").open() as table:
        for row in csv.DictReader(table, delimiter="\t"):
            job = ended[row["path"]].job
            assert job is not None, row["path"]
            place = (job.location.rpartition("/")[2], int(row["event_index"]))
            equal = facts[place].event_hash == row["hash"]
            assert equal or row["path"] in DIFFERENT or row["path"] in LEAKED, row
            same[equal] += 1
    assert same[True] >= 75


def test_together_a_duplicate_names_its_first_and_a_conflict_is_marked_where_it_is_one(
    stored: list[tuple[int, Record]], rejected: list[tuple[int, Record]], sealed: dict[str, Sealed]
) -> None:
    for _, record in rejected:
        assert record.rejection is not None
        facts = sealed_facts.decode(record.part("facts").content)
        first = sealed[record.rejection.first_id.hex()]
        assert identity(record.merchant, facts) == identity(record.merchant, first.facts)
    contents: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
    conflicts = 0
    for _, record in stored:
        facts = sealed[record.id.hex()].facts
        before = contents[record.merchant, facts.event_id]
        expected = bool(before - {facts.event_hash})
        assert (Flag.CONFLICTING_ID in facts.flags) == expected, facts.event_id
        before.add(facts.event_hash)
        conflicts += expected
    assert conflicts > 5
    assert len({identity(record.merchant, sealed[record.id.hex()].facts) for _, record in stored}) == len(
        stored
    )


def alone(content: bytes) -> tuple[list[Facts], list[str]]:
    """Take a document through all stages with nothing before it; the facts of what passed, the reasons of what did not."""

    def salts(size: int) -> bytes:
        return hashlib.shake_128(content).digest(size)

    stamp = Stamp(capture_id=bytes(16), merchant=1, time_ms=NEW_YEAR_2030_MS)
    sent = collect(documents.read(content, documents.Limits()), stamp, Rules(), salts)
    items = [each.outcome for each in sent if isinstance(each.outcome, Item)]
    assert len(items) == len(sent)
    state = State(window=Window(), secret=bytes(32))
    output = Span(StageName.SUMMARISE, StageName.STORE).run(state, [to_wire(item) for item in items])
    for value in output.passed[StageName.STORE]:
        assert envelope.decode(value).entry
    return [item.facts for item in items_of(output)], [reason for _, reason, _ in output.rejected]


@pytest.mark.parametrize(
    "listed", [each for each in LISTED if each.expected == "sealed"], ids=lambda e: e.path
)
def test_apart_every_event_of_a_document_passes(listed: Listed) -> None:
    facts, reasons = alone(listed.content)
    assert reasons == ["DUPLICATE"] * EQUAL.get(listed.path, 0)
    assert len(facts) + len(reasons) == listed.events
    hashes: defaultdict[str, set[str]] = defaultdict(set)
    for each in facts:
        assert (Flag.CONFLICTING_ID in each.flags) == bool(hashes[each.event_id] - {each.event_hash})
        hashes[each.event_id].add(each.event_hash)


def test_events_of_2032_are_flagged_and_not_refused() -> None:
    path: Path = SHARED_EPCIS / "dpp/eu/electronics/epcis/weee-disposal.jsonld"
    facts, _ = alone(path.read_bytes())
    assert [Flag.FUTURE_TIME in each.flags for each in facts] == [True, True, True]
