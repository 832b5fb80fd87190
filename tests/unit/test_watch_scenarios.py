"""Each rule speaks in its scenario and is silent in the honest twin; a replay says the same, however it is read."""

import random

import msgspec
import pytest

from services.audit.watch import state as states
from services.audit.watch.alerts import message
from services.audit.watch.rules import Severity
from services.audit.watch.values import Kind
from tests.unit.watch_world import BOOK, SOURCES, World, batches, mixed, watched
from tests.watch_scenarios import (
    BEGIN_MS,
    DAY_MS,
    MINUTE_MS,
    SCENARIOS,
    Look,
    background,
    look,
    marks,
    pseudonym,
    records,
    serial,
    sign_in,
)

MEASURES = {rule.id: rule.measure for rule in BOOK.rules}


def test_every_rule_has_a_scenario() -> None:
    assert set(SCENARIOS) == {rule.id for rule in BOOK.rules}


@pytest.mark.parametrize("rule", SCENARIOS)
def test_a_rule_speaks_in_its_scenario(rule: str) -> None:
    attack, _ = SCENARIOS[rule]
    world = watched(records([*background(), *attack()]))
    found = [alert for alert in world.alerts if alert.rule == rule]
    assert found
    assert len({alert.subject for alert in found}) == 1
    for alert in found:
        told = message(alert)
        assert told.start_ms < told.end_ms
        assert 0 < len(told.evidence) <= 32
        figures = {each.name: each.value for each in told.figures}
        assert figures[str(MEASURES[rule])] >= figures["at-least"]
    assert world.late == 0


@pytest.mark.parametrize("rule", SCENARIOS)
def test_every_rule_is_silent_in_the_honest_twin(rule: str) -> None:
    _, twin = SCENARIOS[rule]
    world = watched(records([*background(), *twin()]))
    assert [(alert.rule, alert.subject) for alert in world.alerts] == []
    assert world.late == 0


@pytest.mark.parametrize("rule", SCENARIOS)
def test_the_evidence_is_of_the_subject_and_in_the_window(rule: str) -> None:
    attack, _ = SCENARIOS[rule]
    made = records([*background(), *attack()])
    by_id = {each: record for record in made for each in (record.record_id, *record.failed, *record.withheld)}
    for alert in watched(made).alerts:
        for record_id in alert.evidence:
            assert alert.start_ms <= by_id[record_id].time_ms < alert.end_ms
            if alert.about in {Kind.USER, Kind.SERIES}:
                assert alert.subject == by_id[record_id].pseudonym


def test_a_replay_gives_the_same_alerts_whatever_is_read_first() -> None:
    made = records([*background(), *(each for attack, _ in SCENARIOS.values() for each in attack())])
    first = watched(made, seed=1)
    assert {alert.rule for alert in first.alerts} >= set(SCENARIOS)
    one_after_the_other = World()
    for source in batches(made, size=500):
        for sent in source:
            one_after_the_other.take(sent)
    one_after_the_other.end(max(record.time_ms for record in made) + 3_600_000)
    for again in (watched(made, seed=2), watched(made, seed=3), one_after_the_other):
        assert again.ids() == first.ids()
        assert again.late == 0
        assert again.activities == first.activities
        assert again.first_seen == first.first_seen


def test_counts_are_exact_through_crashes_at_any_write() -> None:
    """A batch is counted, some of its writes are lost, and all since some earlier batch comes again, cut otherwise."""
    made = records([*background(), *(each for attack, _ in SCENARIOS.values() for each in attack())][:3000])
    whole, drawn = watched(made), random.Random(5)
    world, sent = World(), mixed(batches(made), 0)
    for place, batch in enumerate(sent):
        if drawn.random() < 0.05:
            world.take(batch, crash_after=drawn.randrange(200))
            # What was not committed comes again; each partition of `goods.browsed` in its own order.
            for again in sent[max(0, place - 6) : place]:
                world.take(again)
        world.take(batch)
    world.end(max(record.time_ms for record in made) + 3_600_000)
    assert world.skipped > 0
    assert world.activities == whole.activities
    assert world.ids() == whole.ids()


def test_every_look_is_counted_once_by_everybody() -> None:
    made = records(background())
    world = watched(made)
    looks = sum(record.kind == "look" for record in made)
    assert world.looks(Kind.ALL) == world.looks(Kind.USER) == world.looks(Kind.NETWORK) == looks
    assert world.first_seen == 40
    for kind in (Kind.ALL, Kind.USER, Kind.NETWORK):
        assert sum(row.first_seen for row in world.activities.values() if row.kind is kind) == 40


def test_who_is_exempt_is_counted_and_never_told_of() -> None:
    exempt = msgspec.structs.replace(BOOK, exempt=("network:192.0.2.0",))
    made = records(list(SCENARIOS["scraping-network"][0]()))
    world = watched(made, book=exempt)
    assert not world.alerts
    assert world.looks(Kind.NETWORK) == len(made)


def test_a_window_tells_once_and_hopping_windows_overlap() -> None:
    made = records([look(n * 500, "scraper", serial(n * 3)) for n in range(400)])
    alerts = [alert for alert in watched(made).alerts if alert.rule == "scraping"]
    assert len(alerts) == len({alert.id for alert in alerts}) == 2  # of both windows that hold these minutes
    assert {alert.severity for alert in alerts} == {Severity.WARNING}
    assert {alert.start_ms for alert in alerts} == {BEGIN_MS - 300_000, BEGIN_MS}


def test_states_go_when_they_are_over() -> None:
    made = records(background())
    world = watched(made)
    day = 86_400_000
    later = BEGIN_MS + 2 * day
    for partition in range(SOURCES):
        for key, value in world.stored[partition].items():
            if not key.startswith(b"("):
                continue
            kind = Kind(key.split(b"'")[1].decode())
            assert world.counter.is_over(kind, states.decode(value), later) is (kind is not Kind.LOT)
            assert world.counter.is_over(kind, states.decode(value), later + 31 * day)


def _around_midnight(user: str, network: str, looks: int, away: int = 0) -> list[Look]:
    """So many looks at different goods within four minutes, half of them before midnight and half after."""
    return [
        look(
            DAY_MS + (nth - looks // 2) * 240_000 // looks, user, serial((away + nth) * 7919), network=network
        )
        for nth in range(looks)
    ]


def test_whoever_goes_on_after_midnight_is_counted_anew() -> None:
    """What a pseudonym of the day costs: once a day, twice the threshold."""
    half, whole = BOOK.rules[0].at_least // 2 + 40, BOOK.rules[0].at_least + 20
    assert BOOK.rules[0].id == "scraping"
    unseen = watched(records(_around_midnight("scraper", "192.0.2.0", 2 * half)))
    assert not unseen.alerts
    assert {row.subject for row in unseen.activities.values() if row.kind is Kind.USER} == {
        pseudonym("scraper", BEGIN_MS),
        pseudonym("scraper", BEGIN_MS + DAY_MS),
    }
    seen = watched(records(_around_midnight("scraper", "192.0.2.0", 2 * whole)))
    told = {alert.subject for alert in seen.alerts if alert.rule == "scraping"}
    assert told == {pseudonym("scraper", BEGIN_MS), pseudonym("scraper", BEGIN_MS + DAY_MS)}


def test_what_is_not_counted_by_user_does_not_mind_midnight() -> None:
    network = [
        each for n in range(14) for each in _around_midnight(f"bot-{n}", "203.0.113.0", 190, away=n * 190)
    ]
    told = watched(records(network)).alerts
    assert {alert.rule for alert in told} == {"scraping-network"}
    assert {alert.subject for alert in told} == {"203.0.113.0"}
    copied = [
        look(DAY_MS + (n - 6) * MINUTE_MS, f"shopper-{n}", serial(77), network=f"203.0.{n}.0")
        for n in range(12)
    ]
    assert {alert.rule for alert in watched(records(copied)).alerts} == {"copied-serial"}


@pytest.mark.parametrize(("users", "is_told"), [(14, False), (15, True)])
def test_in_a_window_over_midnight_nobody_is_counted_twice(users: int, is_told: bool) -> None:
    """An office of fourteen who all mistype before and after midnight is no attack of twenty-eight."""
    tries = [
        sign_in(DAY_MS + side * 60_000 + n * 1_000, f"clerk-{n}", "203.0.113.0")
        for side in (-1, 1)
        for n in range(users)
    ]
    world = watched(records(tries))
    assert ("sprayed-passwords" in {alert.rule for alert in world.alerts}) is is_told
    for alert in world.alerts:
        assert alert.figures.get("users-refused", 15) == 15


def test_how_answers_end_is_counted_once_and_is_no_look() -> None:
    made = records([marks(nth * 1000, 3, failed=2, withheld=1) for nth in range(50)])
    world = watched(made)
    rows = [row for row in world.activities.values() if row.kind is Kind.ALL]
    assert {row.subject for row in rows} == {"answers"}
    sums = [sum(getattr(row, name) for row in rows) for name in ("answered", "failed", "withheld", "looks")]
    assert sums == [150, 100, 50, 0]
    [found] = {alert.id: alert for alert in world.alerts if alert.start_ms == BEGIN_MS}.values()
    assert found.rule == "failed-answers"
    assert found.figures["percent"] == 33
