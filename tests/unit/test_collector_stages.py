"""The five stages: what each finds, and that the same topic gives the same bytes."""

import hashlib
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import entry
from goodstrace.event_hash import event_hash
from goodstrace.facts import Flag, Quantity, Typed
from goodstrace.simulate import SimulationOptions, simulate
from goodstrace.vocabulary import Kind, words
from services.collector.collect import Rules, Stamp, collect
from services.collector.documents import Limits, read
from services.collector.flow import Item, Reason, StageName, from_wire, to_wire
from services.collector.pipeline import CURRENT
from services.collector.record import decimal_text
from services.collector.stages import ORDER, OUTPUTS, Span
from services.collector.steps import built_in
from services.collector.summarise import Window
from services.runtime import envelope, topics
from services.runtime.envelope import Record
from services.runtime.partitioner import event_key
from services.sealing.entries import check
from tests.unit.collector_builders import (
    CONTEXT,
    NOW_MS,
    SECRET,
    WHOLE,
    collected,
    counted,
    document,
    facts_of,
    fresh_state,
    items_of,
    object_event,
    processed_document,
    run_all,
    taken_up,
    wires,
)

SERIAL = "https://id.gs1.org/01/10614141073464/21/2017"


def rejections(output: Any) -> list[Record]:
    return [envelope.decode(value) for _, _, value in output.rejected]


# ---- collect


def test_collect_makes_the_identity_and_keeps_the_bytes() -> None:
    event = object_event()
    (sent,) = collected(document(event))
    assert isinstance(sent.outcome, Item)
    item = from_wire(to_wire(sent.outcome))
    assert json.loads(item.record.part("event").content) == event
    assert item.facts.event_id == event["eventID"]
    assert item.facts.event_hash == event_hash(event, [CONTEXT])
    assert item.facts.time_us == 1_767_323_045_678_000
    assert item.facts.context == [CONTEXT]
    assert sent.key == event_key(1, event["eventID"])
    assert (item.record.sequence, item.record.capture_size, item.record.merchant) == (0, 1, 1)


def test_an_event_without_id_is_named_by_its_hash() -> None:
    facts = facts_of(object_event(eventID=None))
    assert facts.event_id == facts.event_hash
    assert facts.event_id.startswith("ni:///sha-256;")


def test_every_salt_and_id_is_its_own() -> None:
    records = wires(collected(document(*[object_event()] * 20), random=os.urandom))
    secrets = []
    for record in map(envelope.decode, records):
        secrets += [record.id, *(part.salt for part in record.parts)]
    assert len(set(secrets)) == 20 * 3
    assert {len(each) for each in secrets} == {16, 32}


def test_a_future_time_is_flagged_not_refused() -> None:
    assert facts_of(object_event(eventTime="2032-01-01T00:00:00Z")).flags == (Flag.FUTURE_TIME,)
    assert facts_of(object_event(eventTime="2027-01-15T08:04:59Z")).flags == ()


def test_the_contexts_of_document_and_event_are_joined() -> None:
    own = {"x": "https://example.org/"}
    assert facts_of(object_event(**{"@context": own, "x:y": "z"})).context == [CONTEXT, own]


def test_a_correction_has_a_digest_and_another_identity() -> None:
    declaration = {
        "reason": "urn:epcglobal:cbv:er:incorrect_data",
        "declarationTime": "2026-01-03T00:00:00Z",
        "correctiveEventIDs": ["urn:uuid:9"],
    }
    event = object_event()
    output = run_all(wires(collected(document(event, {**event, "errorDeclaration": declaration}))))
    first, second = (item.facts for item in items_of(output))
    assert first.event_hash == second.event_hash
    assert second.correction is not None
    canonical = json.dumps(declaration, sort_keys=True, separators=(",", ":")).encode()
    assert second.correction.digest == hashlib.sha256(canonical).hexdigest()
    assert (second.correction.reason, second.correction.corrective_ids) == ("incorrect_data", ("urn:uuid:9",))
    assert second.flags == ()  # the same content under the same ID: no conflict


def test_bad_events_are_values_with_their_place() -> None:
    large = object_event(**{"x:y": "z" * 2000})
    sent = collect(
        read(document(object_event(), object_event(action="X"), large), Limits()),
        Stamp(b"c" * 16, 1, NOW_MS),
        Rules(event_bytes=1000),
        counted(),
    )
    assert [type(each.outcome).__name__ for each in sent] == ["Item", "Rejected", "Rejected"]
    invalid, too_large = (envelope.decode(envelope.encode(each.outcome.record)) for each in sent[1:])
    assert invalid.rejection is not None
    assert too_large.rejection is not None
    assert (invalid.rejection.stage, invalid.rejection.reason) == ("collect", "INVALID")
    assert invalid.rejection.detail.startswith("/epcisBody/eventList/1/action: ")
    assert too_large.rejection.reason == "TOO_LARGE"
    assert json.loads(invalid.part("event").content)["action"] == "X"


# ---- summarise


def test_a_duplicate_is_refused_with_the_first_ones_id() -> None:
    random = counted()
    state = fresh_state()
    first = run_all(wires(collected(document(object_event()), random=random)), state)
    again = run_all(wires(collected(document(object_event()), random=random)), state)
    other_merchant = run_all(wires(collected(document(object_event()), random=random, merchant=2)), state)
    (refused,) = rejections(again)
    assert refused.rejection is not None
    assert (refused.rejection.reason, refused.rejection.first_id) == (
        Reason.DUPLICATE,
        items_of(first)[0].record.id,
    )
    assert len(refused.parts) == 2
    assert not items_of(again)
    assert len(items_of(other_merchant)) == 1


def test_the_same_id_with_other_content_is_flagged_and_passes() -> None:
    other = object_event(disposition="active")
    output = run_all(wires(collected(document(object_event(), other, object_event(), other))))
    assert [item.facts.flags for item in items_of(output)] == [(), (Flag.CONFLICTING_ID,)]
    assert len(output.rejected) == 2


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["active", "in_transit"])), max_size=30),
    st.integers(1, 6),
    st.data(),
)
def test_a_window_filled_again_goes_on_as_if_nothing_had_happened(
    names: list[tuple[int, str]], size: int, data: st.DataObject
) -> None:
    events = [object_event(eventID=f"urn:e:{number}", disposition=word) for number, word in names]
    values = wires(collected(document(*events)))
    cut = data.draw(st.integers(0, len(values)))
    whole = WHOLE.run(fresh_state(size), values)
    before = WHOLE.run(fresh_state(size), values[:cut])
    after = WHOLE.run(taken_up(before.passed[StageName.SUMMARISE], size), values[cut:])
    for stage in ORDER:
        assert before.passed[stage] + after.passed[stage] == whole.passed[stage]
    assert before.rejected + after.rejected == whole.rejected


def test_a_window_forgets_what_is_older_than_its_size() -> None:
    events = [object_event(eventID=f"urn:e:{number}") for number in (1, 2, 3, 1)]
    assert len(items_of(WHOLE.run(fresh_state(2), wires(collected(document(*events)))))) == 4
    assert len(items_of(WHOLE.run(fresh_state(3), wires(collected(document(*events)))))) == 3
    assert len(Window(3)) == 0


def filled(size: int, passed: list[tuple[bytes, bytes, bytes, bytes]]) -> Window:
    window = Window(size)
    for each in passed[-size:]:
        window.add(*each)
    return window


def test_a_larger_window_holds_what_a_smaller_one_let_pass_twice() -> None:
    first, again = b"first".ljust(16), b"again".ljust(16)
    others = [(bytes([number]), b"n", b"c", bytes([number])) for number in range(19)]
    window = filled(10, [(b"same", b"n", b"c", first), *others[:3], (b"same", b"n", b"c", again)])
    for each in others[3:9]:
        window.add(*each)
    assert window.first_of(b"same") == again  # the first has left, the other has not
    for each in others[9:]:
        window.add(*each)
    assert window.first_of(b"same") is None
    assert len(window) == 10


@given(st.lists(st.integers(0, 7), min_size=8, max_size=40), st.integers(1, 2), st.integers(1, 3), st.data())
def test_a_window_made_larger_depends_on_the_last_records_only(
    numbers: list[int], size: int, more: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(numbers) - 1))
    window, passed = Window(size), list[tuple[bytes, bytes, bytes, bytes]]()
    for place, number in enumerate(numbers):
        if place == cut:  # started again with a larger window
            window = filled(size + more, passed)
        same = bytes([number])
        if window.first_of(same) is None:
            passed.append((same, bytes([number % 2]), same, bytes([place])))
            window.add(*passed[-1])
    if cut < len(numbers):
        again = filled(size + more, passed)
        assert [window.first_of(bytes([n])) for n in range(6)] == [
            again.first_of(bytes([n])) for n in range(6)
        ]


# ---- record


def test_keys_by_role_are_canonical() -> None:
    facts = facts_of(
        object_event(
            epcList=[
                "urn:epc:id:sgtin:0614141.107346.2017",
                "https://example.com/01/10614141073464/10/L1/21/9",
            ],
            quantityList=[
                {"epcClass": "urn:epc:class:lgtin:4012345.012345.998877", "quantity": 200.50, "uom": "KGM"},
                {"epcClass": "https://id.gs1.org/01/10614141073464"},
            ],
            bizLocation={"id": "urn:epc:id:sgln:0614141.00888.0"},
            bizTransactionList=[{"type": "urn:epcglobal:cbv:btt:po", "bizTransaction": "urn:x:po:1"}],
            sourceList=[{"type": "owning_party", "source": "urn:epc:id:pgln:0614141.00001"}],
            destinationList=[{"type": "location", "destination": "urn:epc:id:sgln:0614141.00888.0"}],
        )
    )
    location = "https://id.gs1.org/414/0614141008889"
    assert facts.keys == {
        "class": ("https://id.gs1.org/01/10614141073464",),
        "epc": (SERIAL, "https://id.gs1.org/01/10614141073464/21/9"),
        "location": (location, "https://id.gs1.org/414/0614141073467/254/1234"),
        "lot": ("https://id.gs1.org/01/04012345123456/10/998877",),
        "party": ("https://id.gs1.org/417/0614141000012",),
        "transaction": ("urn:x:po:1",),
    }
    assert facts.lot_of == {
        "https://id.gs1.org/01/10614141073464/21/9": "https://id.gs1.org/01/10614141073464/10/L1"
    }
    assert facts.quantities == {
        "class": (Quantity("https://id.gs1.org/01/10614141073464"),),
        "lot": (Quantity("https://id.gs1.org/01/04012345123456/10/998877", "200.5", "KGM"),),
    }
    assert facts.transactions == (Typed("urn:x:po:1", "po"),)
    assert (facts.read_point, facts.business_location) == (
        "https://id.gs1.org/414/0614141073467/254/1234",
        location,
    )
    assert facts.flags == (Flag.NORMALISED_VOCABULARY,)


@pytest.mark.parametrize(
    "name", ["cbvmda:lotNumber", "gs1:hasBatchLotNumber", "urn:epcglobal:cbv:mda#lotNumber"]
)
def test_commissioning_says_the_lot_of_a_serial(name: str) -> None:
    facts = facts_of(object_event(action="ADD", bizStep="commissioning", ilmd={name: "A/1"}))
    assert facts.lot_of == {SERIAL: "https://id.gs1.org/01/10614141073464/10/A%2F1"}


def test_a_transformation_has_inputs_and_outputs() -> None:
    lot, serial = "urn:epc:class:lgtin:4012345.012345.1", "urn:epc:id:sgtin:0614141.107346.2017"
    facts = facts_of(
        object_event(
            type="TransformationEvent",
            action=None,
            epcList=None,
            inputQuantityList=[{"epcClass": lot, "quantity": 3}],
            outputEPCList=[serial],
            transformationID="urn:t:1",
            ilmd={"cbvmda:lotNumber": "7"},
        )
    )
    assert facts.keys["input"] == ("https://id.gs1.org/01/04012345123456/10/1",)
    assert facts.keys["output"] == (SERIAL,)
    assert facts.quantities == {"input": (Quantity("https://id.gs1.org/01/04012345123456/10/1", "3"),)}
    assert facts.lot_of == {SERIAL: "https://id.gs1.org/01/10614141073464/10/7"}
    assert facts.transformation == "urn:t:1"


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ("1", "1"),
        ("1.50", "1.5"),
        ("0.000", "0"),
        ("-2e3", "-2000"),
        ("1E-3", "0.001"),
        ("1e-99999", "0"),
        ("12345678901234567.25", "12345678901234567.25"),
    ],
)
def test_quantities_are_plain_decimals(literal: str, text: str) -> None:
    body = document(object_event(quantityList=[{"epcClass": "urn:a:b", "quantity": 77}])).replace(
        b"77", literal.encode()
    )
    (item,) = processed_document(body)
    assert item.facts.quantities["class"][0].quantity == text
    assert decimal_text(None) == ""


# ---- classify


@pytest.mark.parametrize(
    ("kind", "action", "step", "disposition", "expected"),
    [
        ("ObjectEvent", "OBSERVE", "shipping", "in_transit", "logistics"),
        ("ObjectEvent", "OBSERVE", "receiving", "returned", "return"),
        ("ObjectEvent", "OBSERVE", "retail_selling", "retail_sold", "sale"),
        ("ObjectEvent", "DELETE", "destroying", "destroyed", "disposal"),
        ("ObjectEvent", "OBSERVE", "storing", "", "storage"),
        ("ObjectEvent", "OBSERVE", "urn:gdst:bizStep:fishingEvent", "active", "procurement"),
        ("TransformationEvent", "", "", "", "production"),
        ("ObjectEvent", "OBSERVE", "", "", "other"),
        ("ObjectEvent", "ADD", "", "active", "production"),
        ("ObjectEvent", "DELETE", "", "", "disposal"),
        ("ObjectEvent", "DELETE", "", "in_progress", "disposal"),
        ("ObjectEvent", "OBSERVE", "", "in_progress", "logistics"),
        ("ObjectEvent", "OBSERVE", "other", "in_progress", "other"),
    ],
)
def test_steps(kind: str, action: str, step: str, disposition: str, expected: str) -> None:
    assert built_in(CURRENT.steps).step_of(kind, action, step, disposition) == expected


def test_the_table_is_versioned() -> None:
    facts = facts_of(object_event())
    assert (facts.step, facts.step_table) == ("logistics", CURRENT.steps)


@pytest.mark.parametrize(
    ("kind", "undecided"),
    [
        ("bizstep", {"other", "sensor_reporting"}),
        (
            "disp",
            {
                "active", "conformant", "damaged", "expired", "mismatch_class", "mismatch_instance", "mismatch_quantity",
                "needs_replacement", "no_pedigree_match", "non_conformant", "recalled", "stolen", "unavailable", "unknown",
            },
        ),
    ],
)  # fmt: skip
def test_every_standard_term_has_a_step_but_those_that_say_none(kind: Kind, undecided: set[str]) -> None:
    """What is left says in what state goods are, at whatever step."""
    table = built_in(CURRENT.steps)
    found = {
        word
        for word in words(kind)
        if table.step_of("ObjectEvent", "OBSERVE", *((word, "") if kind == "bizstep" else ("", word)))
        == "other"
    }
    assert found == undecided


# ---- store and the whole


def test_the_entry_commits_to_what_was_captured() -> None:
    (item,) = processed_document(document(object_event()))
    record = envelope.decode(to_wire(item))
    sealed = check(record)
    assert sealed.time == NOW_MS
    assert entry.tag(SECRET, entry.TagKind.KEY, SERIAL) in record.tags
    assert entry.tag(SECRET, entry.TagKind.EVENT_ID, item.facts.event_hash) in record.tags


def simulated() -> list[bytes]:
    documents = [each.to_bytes() for each in simulate(SimulationOptions(seed=5, events=150, corrections=0.1))]
    return [value for body in documents for value in wires(collected(body))]


def test_any_cut_into_spans_and_batches_gives_the_same_bytes() -> None:
    values = simulated()
    whole = run_all(values + values[:20])
    for cut in range(1, len(ORDER)):
        first, second = Span(ORDER[0], ORDER[cut - 1]), Span(ORDER[cut], ORDER[-1])
        state, later = fresh_state(), fresh_state()
        batches = [values[:70], values[70:], values[:20]]
        stored = []
        for batch in batches:
            output = first.run(state, batch)
            stored += second.run(later, output.passed[ORDER[cut - 1]]).passed[StageName.STORE]
        assert stored == whole.passed[StageName.STORE]
    assert len(whole.rejected) == 20


@pytest.mark.parametrize(
    ("name", "serials", "lot", "stage"),
    [
        ("lies below the limit", 16_000, "L", None),
        ("grows by its canonical keys", 24_000, "LOT-2026-000001", StageName.RECORD),
        ("grows by its tags", 20_000, "LOT-2026-000001", StageName.STORE),
    ],
)
def test_a_record_that_grows_over_what_kafka_takes_is_refused_whatever_the_cut(
    name: str, serials: int, lot: str, stage: StageName | None
) -> None:
    event = object_event(
        action="ADD",
        epcList=[f"urn:epc:id:sgtin:0614141.107346.{serial}" for serial in range(serials)],
        ilmd={"lotNumber": lot},
    )
    small = object_event(eventID="urn:e:small")
    values = wires(collected(document(event, small)))
    assert len(values) == 2, name
    whole = run_all(values)
    refused = [
        (record.rejection.stage, record.rejection.reason) for record in rejections(whole) if record.rejection
    ]
    assert refused == ([(stage, Reason.TOO_LARGE)] if stage else [])
    assert len(items_of(whole)) == 2 - len(refused)
    written = [value for passed in whole.passed.values() for value in passed]
    written += [value for _, _, value in whole.rejected]
    assert max(map(len, written)) < topics.MAX_MESSAGE_BYTES - 1024

    state, again = fresh_state(), list[bytes]()
    for each in ORDER:
        output = Span(each, each).run(state, values)
        again += [value for _, _, value in output.rejected]
        values = output.passed[each]
    assert again == [value for _, _, value in whole.rejected]
    assert values == whole.passed[StageName.STORE]


def test_every_stage_has_its_topic() -> None:
    assert set(OUTPUTS) == set(StageName)
    with pytest.raises(ValueError, match="comes after"):
        Span(StageName.STORE, StageName.SUMMARISE)
