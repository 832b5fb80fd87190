"""GetEvent's walk: all events of an ID or hash, with the marks a trace would give them."""

from collections.abc import Iterable

from goodstrace.facts import Correction, Facts
from goodstrace.tracing.events import names
from goodstrace.tracing.model import Lookup, SealedFacts
from goodstrace.tracing.named import MAX_RECORDS, Named, named


def _sealed(index: int, event_id: str, event_hash: str, correction: Correction | None = None) -> SealedFacts:
    facts = Facts(
        event_id=event_id,
        event_hash=event_hash,
        type="ObjectEvent",
        time_us=index,
        offset="+00:00",
        pipeline="1",
        correction=correction,
    )
    return SealedFacts("goods/0", index, 1, index, facts)


def _find(event_id: str, log: Iterable[SealedFacts]) -> Named:
    walker = named(event_id)
    try:
        lookup: Lookup = next(walker)
        while True:
            found = [each for each in log if not lookup.names.isdisjoint(names(each.facts))]
            lookup = walker.send(found[: lookup.limit])
    except StopIteration as stop:
        answer: Named = stop.value
        return answer


def test_one_id_with_two_contents_shows_both_marked() -> None:
    found = _find(
        "urn:a", [_sealed(0, "urn:a", "ni:1"), _sealed(1, "urn:a", "ni:2"), _sealed(2, "urn:b", "ni:3")]
    )
    assert [(event.positions, event.marks) for event in found.events] == [
        ((("goods/0", 0),), ("conflicting-id",)),
        ((("goods/0", 1),), ("conflicting-id",)),
    ]


def test_a_hash_finds_the_event_and_a_correction_marks_it() -> None:
    log = [_sealed(0, "urn:a", "ni:1"), _sealed(1, "urn:a", "ni:1", Correction(digest="d", time_us=5))]
    found = _find("ni:1", log)
    assert [event.marks for event in found.events] == [("corrected",), ("correction",)]


def test_the_same_identity_shows_once_with_all_its_places() -> None:
    found = _find(
        "urn:a", [_sealed(0, "urn:a", "ni:1"), _sealed(0, "urn:a", "ni:1"), _sealed(7, "urn:a", "ni:1")]
    )
    assert [event.positions for event in found.events] == [(("goods/0", 0), ("goods/0", 7))]


def test_nothing_is_found_of_an_unknown_name() -> None:
    assert _find("urn:nobody", [_sealed(0, "urn:a", "ni:1")]) == Named((), truncated=False)


def test_more_records_than_are_looked_at_are_said() -> None:
    found = _find("urn:a", [_sealed(index, "urn:a", "ni:1") for index in range(MAX_RECORDS + 1)])
    assert found.truncated
