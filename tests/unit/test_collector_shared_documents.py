"""Documents that nobody here wrote: valid ones are sealed, invalid ones refused with the place of the fault."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from goodstrace import encrypted_parts, personal_part
from goodstrace.facts import Flag
from services.collector.documents import Limits, read
from services.collector.errors import DocumentError
from services.collector.flow import Item, StageName
from services.runtime import envelope
from services.runtime.envelope import Record
from services.sealing.entries import check
from tests.unit.collector_builders import collected, processed_document, run_all, wires
from tests.unit.test_event_hash import DIFFERENT
from tests.xml_events import events_of_xml

SHARED = Path(__file__).parents[3] / "shared" / "data" / "epcis"
NOT_EVENTS = ("gs1-vocab-products01.json", "gs1-vocab-tradingparties01.json")

if not SHARED.is_dir():
    pytest.skip("the shared third-party documents are not beside this checkout", allow_module_level=True)


def rows() -> list[dict[str, str]]:
    with (SHARED / "MANIFEST.tsv").open() as lines:
        return [
            row
            for row in csv.DictReader(lines, delimiter="\t")
            if row["path"].endswith((".json", ".jsonld", ".xml"))
        ]


def is_invalid(row: dict[str, str]) -> bool:
    return (
        "/Invalid/" in row["path"]
        or row["gs1_schema_2023-05"] == "not-json"
        or row["path"].endswith(NOT_EVENTS)
    )


def computed_hashes() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with (SHARED / "computed-hashes.tsv").open() as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            found.setdefault(row["path"], []).append(row["hash"])
    return found


@pytest.mark.parametrize("row", [row for row in rows() if not is_invalid(row)], ids=lambda row: row["path"])
def test_a_valid_document_is_sealed(row: dict[str, str]) -> None:
    body = (SHARED / row["path"]).read_bytes()
    sent = collected(body)
    events = len(events_of_xml(body)) if row["path"].endswith(".xml") else int(row["events"])
    assert [each.fault for each in sent] == [None] * events
    output = run_all(wires(sent))
    reasons = Counter(reason for _, reason, _ in output.rejected)
    stored = [envelope.decode(value) for value in output.passed[StageName.STORE]]
    assert len(stored) + reasons["DUPLICATE"] == len(sent)
    assert output.unanswered == []  # no rule stumbles over what the world sends
    keys = {each.personal.record_id: each.personal.key for each in sent if each.personal is not None}
    assert all(_as_sent(record, keys.get(record.id)) in body for record in stored)
    assert all(check(record) for record in stored)


def _as_sent(record: Record, key: bytes | None) -> bytes:
    """Give an event with its personal data put back (one document says where somebody lives)."""
    event = record.part("event").content
    if key is None:
        return event
    own = encrypted_parts.record_key(key, record.id, personal_part.PART)
    content = record.part(personal_part.PART).content
    clear = encrypted_parts.decrypt(own, record.id, personal_part.PART, content)
    return personal_part.put_back(event, personal_part.decode(clear))


@pytest.mark.parametrize("row", [row for row in rows() if is_invalid(row)], ids=lambda row: row["path"])
def test_an_invalid_document_is_refused_with_its_place(row: dict[str, str]) -> None:
    body = (SHARED / row["path"]).read_bytes()
    try:
        faults = [sent.fault for sent in collected(body) if sent.fault is not None]
    except DocumentError as error:
        faults = list(error.faults)
    assert faults
    assert faults[0].detail
    assert faults[0].pointer or "line" in faults[0].detail


# test_event_hash says, for each of the others, where the reference implementation leaves the standard.
@pytest.mark.parametrize("path", sorted(computed_hashes().keys() - DIFFERENT.keys()))
def test_event_hashes_are_the_reference_implementations(path: str) -> None:
    sent = collected((SHARED / path).read_bytes())
    assert [
        each.outcome.facts.event_hash for each in sent if isinstance(each.outcome, Item)
    ] == computed_hashes()[path]


@pytest.mark.parametrize(
    "path",
    sorted(path for path in SHARED.glob("hash-vectors/examples/*.*") if path.suffix in (".jsonld", ".xml")),
    ids=lambda path: path.name,
)
def test_event_hashes_are_the_vectors(path: Path) -> None:
    expected = path.with_suffix(".hashes").read_text().split()
    sent = collected(path.read_bytes())
    assert [each.outcome.facts.event_hash for each in sent if isinstance(each.outcome, Item)] == expected


def test_conflicts_in_a_real_document_are_marked_and_kept() -> None:
    body = (SHARED / "opentraceability" / "traceback_tests.jsonld").read_bytes()
    assert len(read(body, Limits()).events) == 21
    items = processed_document(body)
    assert len(items) == 21
    assert len({item.facts.event_id for item in items}) == 16
    assert sum(Flag.CONFLICTING_ID in item.facts.flags for item in items) == 5
