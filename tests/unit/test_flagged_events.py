"""Which events are kept as flagged, and as what."""

from typing import Any

import msgspec

from goodstrace import facts as facts_format
from goodstrace.facts import Flag, Verdict
from goodstrace.identifiers import canonical_key
from services.collector.flagged import flagged
from services.collector.flow import FACTS_PART
from services.runtime.envelope import Record
from services.runtime.merchants.flagged import MAX_KEYS, MAX_NAMES, Finding, flagged_of, row_of
from tests.unit.collector_builders import events_of, sealed_by
from tests.web_world import EVENTS, SHOP, WORKS, place, storm


def with_facts(record: Record, **changes: Any) -> Record:
    parts = []
    for part in record.parts:
        if part.name == FACTS_PART:
            known = msgspec.structs.replace(facts_format.decode(part.content), **changes)
            part = msgspec.structs.replace(part, content=facts_format.encode(known))  # noqa: PLW2901
        parts.append(part)
    return msgspec.structs.replace(record, parts=tuple(parts))


def test_flags_and_verdicts_are_kept_and_spellings_are_not() -> None:
    plain = sealed_by(EVENTS[3][1], WORKS, 1)
    noticed = with_facts(
        plain,
        flags=(Flag.CONFLICTING_ID, Flag.NORMALISED_VOCABULARY),
        verdicts=(Verdict("cold/too-warm", "critical", "/sensorElementList/0", "9 °C"),),
        step="logistics",
    )
    spelled = with_facts(plain, flags=(Flag.NORMALISED_VOCABULARY,), verdicts=())
    [event] = flagged(events_of([with_facts(plain, flags=(), verdicts=()), noticed, spelled]))
    assert event.findings == (
        Finding(Flag.CONFLICTING_ID),
        Finding("cold/too-warm", "critical", "9 °C"),
    )
    assert (event.merchant, event.step, event.goods, len(event.keys)) == (WORKS, "logistics", 2, 2)
    row = row_of(event)
    assert row["names"] == ["cold/too-warm", Flag.CONFLICTING_ID]
    assert flagged_of(row) == event


def test_what_is_kept_of_an_event_is_bounded() -> None:
    rules = tuple(Verdict(f"r/{number}", "info", "", "x" * 9_000) for number in range(99))
    keys = {"epc": tuple(f"urn:x:{number}" for number in range(99))}
    [event] = flagged(events_of([with_facts(sealed_by(EVENTS[3][1], WORKS, 1), verdicts=rules, keys=keys)]))
    assert (len(event.findings), len(event.keys), event.goods) == (MAX_NAMES, MAX_KEYS, 99)
    assert all(len(each.detail) == 500 for each in event.findings if each.detail)


def test_of_a_read_it_is_kept_which_of_a_run_it_is() -> None:
    reads = storm(3)
    kept = list(
        flagged(
            events_of(
                with_facts(each, flags=(Flag.FUTURE_TIME,))
                for each in [*reads, sealed_by(EVENTS[3][1], WORKS, 1)]
            )
        )
    )
    assert [each.read for each in kept] == [1, 2, 3, 0]
    assert {each.place for each in kept[:3]} == {canonical_key(place(SHOP))}
    row = row_of(kept[1])
    assert flagged_of(row) == kept[1]
    del row["read"], row["place"]  # as it was written before these were kept
    assert flagged_of(row).read == 0
