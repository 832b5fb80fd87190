"""Refusals over a rate: none is lost, there is a bound on records, and no network hides what comes from another."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.sealing.crowd import APART, EACH_S, MAX_KINDS, NETWORK_S, NOBODY_S, OPERATIONS, Crowd, Kind

OUTCOMES = ("wrong-password", "challenged", "locked")
KINDS = st.builds(
    Kind,
    st.sampled_from(OUTCOMES),
    st.sampled_from([f"operation-{number}" for number in range(20)]),
    st.sampled_from(["", *(f"192.0.{number}.0/24" for number in range(40))]),
    st.booleans(),
)


def at_noon() -> float:
    return 43_200.0


@given(st.lists(KINDS, max_size=400))
def test_each_is_recorded_once_alone_or_joined_and_records_have_a_bound(kinds: list[Kind]) -> None:
    crowd = Crowd(at_noon)
    own = Counter[Kind]()
    for kind in kinds:
        if crowd.has_own(kind):
            own[kind] += 1
        else:
            crowd.join(kind)
    joined = crowd.taken()
    assert own.total() + sum(times for _, times in joined) == len(kinds)
    for outcome in OUTCOMES:
        told = sum(times for kind, times in (*own.items(), *joined) if kind.outcome == outcome)
        assert told == sum(kind.outcome == outcome for kind in kinds)
    assert own.total() <= EACH_S
    assert len(joined) <= 2 * APART + OPERATIONS + len(OUTCOMES)
    assert sum(times for kind, times in own.items() if not kind.names_somebody) <= NOBODY_S
    by_network = Counter[tuple[str, str]]()
    for kind, times in own.items():
        by_network[kind.network, kind.outcome] += times
    assert max(by_network.values(), default=0) <= NETWORK_S
    assert crowd.taken() == []


def test_another_second_has_records_of_its_own() -> None:
    now = [0.0]
    crowd = Crowd(lambda: now[0])
    kind = Kind("challenged", "SignIn", "192.0.2.0/24", names_somebody=False)
    assert sum(crowd.has_own(kind) for _ in range(50)) == NETWORK_S
    now[0] = 1.0
    assert crowd.has_own(kind)


def test_the_networks_with_most_are_told_and_cheap_refusals_take_no_place_of_those_that_cost() -> None:
    crowd = Crowd(at_noon)
    for number in range(100):
        crowd.join(Kind("challenged", "SignIn", f"192.0.{number}.0/24", names_somebody=False), 1000 + number)
    for number in range(APART):
        crowd.join(Kind("wrong-password", "SignIn", f"198.51.{number}.0/24", names_somebody=True))
    told = {kind.network for kind, _ in crowd.taken()}
    assert {f"198.51.{number}.0/24" for number in range(APART)} < told
    assert {f"192.0.{number}.0/24" for number in range(100 - APART, 100)} < told
    assert "" in told
    assert len(told) == 2 * APART + 1


def test_however_many_networks_there_are_no_more_are_held_apart() -> None:
    crowd = Crowd(at_noon)
    for number in range(3 * MAX_KINDS):
        crowd.join(Kind("challenged", "SignIn", f"{number}", names_somebody=False))
    assert sum(map(len, crowd._joined.values())) == MAX_KINDS + 1
    crowd.join(Kind("challenged", "SignIn", "1", names_somebody=False), 5)
    assert dict(crowd.taken())[Kind("challenged", "SignIn", "1", names_somebody=False)] == 6
