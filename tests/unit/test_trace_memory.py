"""What an engine remembers between its runs: it spares work, and changes nothing in what comes out."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.tracing import Direction, Lookup, Query, SealedFacts, Trace, drive, trace
from goodstrace.tracing.engine import trace_levels
from goodstrace.tracing.model import NameKind
from goodstrace.tracing.pool import Pool
from goodstrace.tracing.walk import Walk
from tests.unit.tracing_builders import Chain, Source, key_of
from tests.unit.tracing_chains import ALL_ROOTS, chains

Result = TypeVar("Result")
limits = st.sampled_from([1, 2, 3, 5, 10_000])


def _levels(chain: Chain, query: Query) -> list[Trace]:
    source, found = Source(chain.sealed), list[Trace]()
    tracing = trace_levels(query)
    sent: Iterable[SealedFacts] | None = None
    while True:
        try:
            asked = tracing.send(sent)
        except StopIteration as stop:
            return [*found, stop.value]
        if isinstance(asked, Lookup):
            sent = source(asked)
        else:
            found.append(asked)
            sent = None


def _each_time(_pool: Pool, _task: object, compute: Callable[[], Result]) -> Result:
    return compute()


@given(chains(), st.sampled_from(ALL_ROOTS), st.sampled_from(Direction), limits)
def test_it_changes_nothing(chain: Chain, root: str, direction: Direction, most: int) -> None:
    query = Query(key_of(root), direction, 4, max_events=most)
    whole, levels = chain.trace(root, direction, max_events=most), _levels(chain, query)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pool, "settled", _each_time)
        assert chain.trace(root, direction, max_events=most) == whole
        assert _levels(chain, query) == levels


def test_a_trace_takes_one_run_more_than_it_has_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain()
    chain.make(1, ["lot:a"], ["lot:b"])
    chain.pack(2, "b1", "lot:b")
    runs = 0
    run = Walk.run

    def counted(walk: Walk) -> None:
        nonlocal runs
        runs += 1
        run(walk)

    monkeypatch.setattr(Walk, "run", counted)
    source = Source(chain.sealed)
    drive(trace(Query(key_of("lot:b"))), source)
    assert runs == source.rounds + 1


def test_more_events_of_a_name_than_its_limit_unsettle_what_went_by_the_first() -> None:
    chain = Chain()
    first, late = chain.see(1, "i1"), chain.see(2, "i1", id="late")
    pool = Pool(1)
    name = (NameKind.KEY, key_of("i1"))
    pool.add({name}, [first])
    assert pool.settled("how many", lambda: len(pool.naming(name[1]))) == 1
    pool.add({(NameKind.EVENT_ID, "late")}, [late])
    assert pool.settled("how many", lambda: len(pool.naming(name[1]))) == 2


def test_what_is_noted_on_the_way_is_noted_again_by_whoever_meets_it_settled() -> None:
    pool = Pool(10)

    def inner() -> int:
        pool.notes.add("inner")
        return 1

    def outer() -> int:
        pool.notes.add("outer")
        return pool.settled("inner", inner)

    for notes in ({"outer", "inner"}, {"outer", "inner"}):
        pool.begin()
        assert pool.settled("outer", outer) == 1
        assert pool.notes == notes
    pool.begin()
    assert pool.settled("inner", inner) == 1
    assert pool.notes == {"inner"}
