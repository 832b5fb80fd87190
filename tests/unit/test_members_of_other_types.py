"""Members that are none of the event's type: checked all the same, since the stages read them; and records over which a stage fails."""

import itertools
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import facts as sealed_facts
from goodstrace.errors import EntryError
from services.collector.flow import FACTS_PART, Item, Reason, StageName, from_wire, to_wire
from services.collector.registry.claims import Policy, Speech
from services.collector.registry.origin import foreign
from services.collector.stages import INPUTS, ORDER, Span
from services.collector.validation import check_event
from services.replay.through import Through
from services.runtime import envelope
from services.runtime.envelope import Part
from services.sealing.core import Fetched
from tests.unit.collector_builders import (
    SECRET,
    collected,
    document,
    fresh_state,
    items_of,
    object_event,
    poisoned,
    run_all,
    wires,
)

EPC: Final = "urn:epc:id:sgtin:0614141.107346.2017"
LOT: Final = "urn:epc:class:lgtin:4012345.012345.998877"
OWN: Final[dict[str, dict[str, Any]]] = {
    "ObjectEvent": {"action": "OBSERVE", "epcList": [EPC]},
    "AggregationEvent": {"action": "ADD", "parentID": "urn:a:b", "childEPCs": [EPC]},
    "TransactionEvent": {"action": "ADD", "epcList": [EPC], "bizTransactionList": [{"bizTransaction": "urn:a:b"}]},
    "TransformationEvent": {"inputEPCList": [EPC], "outputEPCList": [EPC]},
    "AssociationEvent": {"action": "ADD", "parentID": "urn:a:b", "childEPCs": [EPC]},
}  # fmt: skip
SOUND: Final[dict[str, Any]] = {
    "action": "ADD",
    "epcList": [EPC],
    "quantityList": [{"epcClass": LOT, "quantity": 2, "uom": "KGM"}],
    "parentID": "urn:a:b",
    "childEPCs": [EPC],
    "childQuantityList": [{"epcClass": LOT}],
    "inputEPCList": [EPC],
    "inputQuantityList": [{"epcClass": LOT}],
    "outputEPCList": [EPC],
    "outputQuantityList": [{"epcClass": LOT}],
    "transformationID": "urn:a:b",
}
UNSOUND: Final[dict[str, tuple[Any, ...]]] = {
    "action": (5, None, ["ADD"], "add"),
    "parentID": (7, None, "parent"),
    "transformationID": (5, None, "one"),
    **dict.fromkeys(("epcList", "childEPCs", "inputEPCList", "outputEPCList"), (None, 7, [[1]], EPC)),
    **dict.fromkeys(
        ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList"),
        (None, [{}], [{"epcClass": LOT, "uom": 5}], [{"epcClass": LOT, "quantity": "2"}]),
    ),
}
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([EPC, LOT, "ADD"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["epcClass", "quantity", "uom", "id"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def event(kind: str, **members: Any) -> dict[str, Any]:
    """A sound event of a type with these members."""
    head = {name: value for name, value in object_event().items() if name not in SOUND}
    return {**head, "type": kind, **OWN[kind], **members}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("name", SOUND)
def test_a_member_of_another_type_is_checked_as_there(kind: str, name: str) -> None:
    if name in OWN[kind]:
        return
    assert check_event(event(kind, **{name: SOUND[name]})) is None
    for value in UNSOUND[name]:
        fault = check_event(event(kind, **{name: value}))
        assert fault is not None
        assert fault.pointer.startswith(f"/{name}")


@given(st.sampled_from(sorted(OWN)), st.dictionaries(st.sampled_from(sorted(SOUND)), JSON, max_size=3))
def test_whatever_collect_lets_pass_is_sealed_with_facts_that_can_be_read(
    kind: str, members: dict[str, Any]
) -> None:
    (sent,) = collected(document(event(kind, **members)))
    output = run_all(wires([sent]))
    assert output.faults == []
    assert len(items_of(output)) == (sent.fault is None)


@pytest.mark.parametrize(
    "members",
    [
        {"parentID": 7},
        {"childEPCs": None},
        {"childQuantityList": [{}]},
    ],
)
def test_a_record_over_which_a_stage_fails_is_refused_and_the_next_goes_on(members: dict[str, Any]) -> None:
    (good,) = wires(collected(document(object_event(eventID="urn:e:good"))))
    value = poisoned(members)
    output = run_all([value, good])
    assert [item.facts.event_id for item in items_of(output)] == ["urn:e:good"]
    ((stage, reason, refused),) = output.rejected
    assert (stage, reason) == (StageName.RECORD, Reason.FAULT)
    record = envelope.decode(refused)
    assert record.part("event") == envelope.decode(value).part("event")
    assert record.part(FACTS_PART)
    (fault,) = output.faults
    assert (fault.stage, fault.record) == (StageName.RECORD, record.id.hex())
    assert "record.py" in fault.told
    assert run_all([value, good]).rejected == output.rejected


UNREAD: Final[tuple[dict[str, Any], ...]] = (
    {"childQuantityList": [{"epcClass": LOT, "uom": 5}, {"epcClass": LOT, "quantity": 2, "uom": "KGM"}]},
    {"childQuantityList": [{"epcClass": LOT, "uom": None}]},
    {"childQuantityList": [{"epcClass": LOT, "uom": {"b": [1.50], "a": 1}}]},
    {"transformationID": None},
    {"transformationID": {}},
    {"action": 5},
    {"action": None, "transformationID": False},
)


@pytest.mark.parametrize("members", UNREAD)
def test_what_was_let_pass_once_is_sealed_as_it_was_and_read_as_nothing(members: dict[str, Any]) -> None:
    """Replay must give the entries that there are."""
    output = run_all([poisoned(members)])
    assert output.faults == []
    (item,) = items_of(output)
    assert item.facts.event_id == "urn:e:poisoned"
    content = item.record.part(FACTS_PART).content
    assert sealed_facts.encode(item.facts) == content
    read = sealed_facts.decode(content)
    assert sealed_facts.encode(read) != content
    assert all(type(each) is str for each in (read.action, read.transformation))
    assert all(type(each.unit) is str for listed in read.quantities.values() for each in listed)


def assert_the_same_from_every_topic(value: bytes) -> None:
    """See that what a record becomes does not depend on which stages are run again."""
    whole = run_all([value])
    for before, stage in itertools.pairwise(whole.passed):
        again = Span(stage, StageName.STORE).run(fresh_state(), whole.passed[before])
        assert again.passed == {each: whole.passed[each] for each in again.passed}
        assert again.rejected == [each for each in whole.rejected if each[0] in again.passed]


@pytest.mark.parametrize(
    "members",
    [*UNREAD, {"action": 1.5}, {"action": [5]}, {"transformationID": 1.50}, {"transformationID": 5}],
)
def test_what_was_let_pass_once_becomes_the_same_from_every_topic(members: dict[str, Any]) -> None:
    assert_the_same_from_every_topic(poisoned(members))


@given(
    JSON | st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["action", "transformationID", "uom"]),
)
def test_whatever_was_let_pass_once_becomes_the_same_from_every_topic(value: Any, name: str) -> None:
    members = {"childQuantityList": [{"epcClass": LOT, "uom": value}]} if name == "uom" else {name: value}
    assert_the_same_from_every_topic(poisoned(members))


@pytest.mark.parametrize("stage", ORDER)
def test_a_replay_from_any_topic_gives_what_was_sealed(stage: StageName) -> None:
    for members in UNREAD:
        value = poisoned(members)
        whole = run_all([value])
        read = [value, *(passed[0] for passed in whole.passed.values())][ORDER.index(stage)]
        (made,) = Through(INPUTS[stage], 1000, SECRET)(0, [Fetched(7, read)])
        assert [made.value] == whole.passed[StageName.STORE]


def test_what_is_no_record_of_ours_still_ends_the_span() -> None:
    """It is never skipped: see `Span.run`."""
    (value,) = wires(collected(document(object_event())))
    item = from_wire(value)
    assert isinstance(item, Item)
    parts = tuple(
        Part(part.name, part.salt, b"[]") if part.name == "event" else part for part in item.record.parts
    )
    with pytest.raises(EntryError):
        run_all([to_wire(Item(msgspec.structs.replace(item.record, parts=parts), item.facts))])


@pytest.mark.parametrize("kind", OWN)
def test_whoever_puts_goods_out_must_have_the_right_to_whatever_the_type_of_the_event(kind: str) -> None:
    nobodys = Speech(Policy.ORIGIN)
    fault = foreign(event(kind, outputEPCList=["urn:epc:id:sgtin:4012345.012345.1"]), nobodys)
    assert fault is not None
    assert fault.pointer == "/outputEPCList/0"
