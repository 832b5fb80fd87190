"""What a client derives again of an answer about one event ID: each event once, and the marks that follow from all."""

import dataclasses

import pytest

from goodstrace import entry as entries
from goodstrace import facts as sealed_facts
from goodstrace.errors import AnswerError
from goodstrace.retrace import ShownEvent, check_named, check_tree, names_of, query_of
from goodstrace.tracing.model import NameKind
from goodstrace.verification import VerifiedEntry, VerifiedEvent
from tests.handmade import event

ID = "urn:uuid:named"
SECRET = bytes(32)


def shown(number: int, *marks: str, event_id: str = ID, event_hash: str = "ni:///a") -> ShownEvent:
    record = event(number, "urn:key", secret=SECRET, event_id=event_id, event_hash=event_hash)
    parts = {part.name: part.content for part in record.parts}
    place = VerifiedEntry("goods/0", number, entries.decode(record.entry), parts, ())
    facts = place.facts()
    assert facts is not None
    identity = sealed_facts.identity(record.merchant, facts)
    return ShownEvent(VerifiedEvent(identity, place, (), facts, parts["event"]), marks, ())


def conflicting() -> list[ShownEvent]:
    return [shown(1, "conflicting-id"), shown(2, "conflicting-id", event_hash="ni:///b")]


def test_two_contents_under_one_id_are_marked() -> None:
    check_named(ID, conflicting(), truncated=False)
    check_named(ID, [], truncated=False)


@pytest.mark.parametrize("place", [0, 1])
def test_a_mark_that_is_missing_is_noticed(place: int) -> None:
    events = conflicting()
    events[place] = dataclasses.replace(events[place], marks=())
    with pytest.raises(AnswerError, match="does not follow"):
        check_named(ID, events, truncated=False)


def test_a_mark_that_is_invented_is_noticed() -> None:
    with pytest.raises(AnswerError, match="does not follow"):
        check_named(ID, [shown(1, "corrected")], truncated=False)


def test_an_event_shown_twice_and_one_of_another_name_are_noticed() -> None:
    with pytest.raises(AnswerError, match="twice"):
        check_named(ID, [shown(1), shown(1)], truncated=False)
    with pytest.raises(AnswerError, match="asked for"):
        check_named(ID, [shown(1, event_id="urn:uuid:other")], truncated=False)


def test_what_cannot_be_told_is_not_judged() -> None:
    by_hash = [shown(1, "conflicting-id", event_id="urn:uuid:other")]
    check_named("ni:///a", by_hash, truncated=False)
    check_named(ID, [shown(1, "conflicting-id")], truncated=True)


def also(number: int, *, told: bool) -> VerifiedEntry:
    place = shown(number).event.position
    return place if told else dataclasses.replace(place, parts={})


def test_what_is_said_of_an_event_is_not_judged_where_another_place_shows_no_facts() -> None:
    query = query_of("urn:key", "history", 1)
    wrong = shown(1, "corrected")
    told, bare = (
        dataclasses.replace(wrong, event=dataclasses.replace(wrong.event, also_at=(also(2, told=told),)))
        for told in (True, False)
    )
    with pytest.raises(AnswerError, match="does not follow"):
        check_named(ID, [told], truncated=False)
    check_named(ID, [bare], truncated=False)
    assert not check_tree(query, [], [bare])
    assert (NameKind.KEY, "urn:key") in names_of(query, [bare])
