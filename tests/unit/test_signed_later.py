"""A signature that comes after the event: sealed once, never lost in silence, the same in each run."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.facts import Flag, Repeat
from goodstrace.signatures import MEMBER, PART, MerchantKey, sign
from services.collector.collect import Rules, Stamp, collect
from services.collector.documents import Limits, read
from services.collector.flow import StageName
from services.collector.jobs import verdict_on
from services.collector.stages import SpanOutput
from services.collector.summarise import held, memories
from services.runtime import envelope
from services.runtime.envelope import Memory
from tests.unit.collector_builders import (
    NOW_MS,
    WHOLE,
    counted,
    document,
    fresh_state,
    items_of,
    object_event,
    stamped,
    taken_up,
    wires,
)

ANN, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([each]) * 32) for each in (1, 2))
KEYS = {key.kid: key for key in (MerchantKey.of(each.public_key()) for each in (ANN, OTHER))}
Sent = tuple[dict[str, Any], Ed25519PrivateKey | None]


def captured(*sent: Sent) -> list[bytes]:
    """What `collect` makes of events, each signed or not."""
    body = json.loads(document(*(event for event, _ in sent)))
    signatures = [sign(json.dumps(event).encode(), private) if private else None for event, private in sent]
    whole = json.dumps({**body, MEMBER: signatures}).encode()
    found = wires(collect(read(whole, Limits()), Stamp(b"c" * 16, 1, NOW_MS, keys=KEYS), Rules(), counted()))
    assert len(found) == len(sent)
    return found


def flags(output: SpanOutput) -> list[tuple[str, ...]]:
    return [item.facts.flags for item in items_of(output)]


def details(output: SpanOutput) -> list[str]:
    told = [verdict_on(envelope.decode(value)) for _, _, value in output.rejected]
    assert {each.verdict for each in told} <= {"duplicate"}
    return [each.detail for each in told]


def test_a_signature_that_comes_later_is_sealed_once() -> None:
    event = object_event()
    output = WHOLE.run(
        fresh_state(),
        captured((event, None), (event, None), (event, ANN), (event, ANN), (event, OTHER), (event, None)),
    )
    assert flags(output) == [(), (Flag.SIGNED_LATER,)]
    first, signed = (item.record for item in items_of(output))
    assert [PART in {part.name for part in each.parts} for each in (first, signed)] == [False, True]
    unsigned, again, by_another, without = details(output)
    assert unsigned == f"the same event was captured before as record {first.id.hex()}"
    lost = f"the same event was captured before as record {signed.id.hex()}, whose signature counts: that of this one is not sealed"
    assert (again, by_another) == (lost, lost)
    assert without == f"the same event was captured before as record {signed.id.hex()}"


def test_a_signed_event_is_not_sealed_again_without_its_signature() -> None:
    event = object_event()
    output = WHOLE.run(fresh_state(), captured((event, ANN), (event, None), (event, ANN)))
    assert flags(output) == [()]
    assert len(details(output)) == 2


def test_versions_of_before_refuse_it_as_they_did() -> None:
    event = object_event()
    values = [stamped(each, "2") for each in captured((event, None), (event, ANN))]
    output = WHOLE.run(fresh_state(), values)
    assert flags(output) == [()]
    assert details(output) == [
        f"the same event was captured before as record {items_of(output)[0].record.id.hex()}"
    ]


def test_what_is_signed_later_and_conflicts_says_both() -> None:
    event, other = object_event(), object_event(disposition="in_progress")
    output = WHOLE.run(fresh_state(), captured((event, None), (other, None), (event, ANN)))
    assert flags(output) == [(), (Flag.CONFLICTING_ID,), (Flag.CONFLICTING_ID, Flag.SIGNED_LATER)]


def test_a_read_that_is_signed_later_is_no_further_read_of_its_run() -> None:
    reads = [object_event(eventID=f"urn:e:{n}", eventTime=f"2026-01-02T03:04:0{n}Z") for n in range(3)]
    output = WHOLE.run(
        fresh_state(), captured((reads[0], None), (reads[1], None), (reads[1], ANN), (reads[2], None))
    )
    assert [item.facts.repeats for item in items_of(output)] == [
        None,
        Repeat("urn:e:0", 2),
        None,
        Repeat("urn:e:0", 3),
    ]


def test_a_partition_that_only_remembers_the_event_refuses_its_signature_and_says_so() -> None:
    event = object_event()
    before = WHOLE.run(fresh_state(), captured((event, None)))
    memory = Memory(tuple(memories(before.passed[StageName.SUMMARISE][0])))
    state = fresh_state()
    for each in held(memory):
        state.window.add(*each)
    assert details(WHOLE.run(state, captured((event, ANN))))[0].endswith("is not sealed")


@pytest.mark.parametrize("size", [1, 3, 50])
@given(
    sent=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([None, ANN])), max_size=14),
    data=st.data(),
)
def test_a_restart_changes_nothing(
    size: int, sent: Sequence[tuple[int, Ed25519PrivateKey | None]], data: st.DataObject
) -> None:
    values = captured(*((object_event(eventID=f"urn:e:{number}"), private) for number, private in sent))
    cut = data.draw(st.integers(0, len(values)))
    whole = WHOLE.run(fresh_state(size), values)
    before = WHOLE.run(fresh_state(size), values[:cut])
    after = WHOLE.run(taken_up(before.passed[StageName.SUMMARISE], size), values[cut:])
    assert before.passed[StageName.STORE] + after.passed[StageName.STORE] == whole.passed[StageName.STORE]
    assert before.rejected + after.rejected == whole.rejected
    if size == 50:  # then each event is sealed once, and once more where its signature came later
        for number in range(3):
            came = [private is not None for each, private in sent if each == number]
            sealed = [item for item in items_of(whole) if item.facts.event_id == f"urn:e:{number}"]
            later = bool(came) and not came[0] and any(came)
            assert len(sealed) == bool(came) + later
