"""Whatever the documents are, `fsck` ends with faults, never with an exception."""

import asyncio
import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.runtime import envelope
from services.sealing.browse import Browse, browse_record
from services.sealing.documents import Document
from services.sealing.mark_records import Outcome, mark_record
from tests.memory_documents import MemoryDocuments, all_faults
from tests.opened_browses import MemoryPeople
from tests.unit.sealing_bench import Bench
from tests.unit.test_fsck_bytes import values_of

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=True),
    st.text(max_size=20),
    st.binary(max_size=80),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@pytest.fixture(scope="module", params=["goods", "browse"])
def sealed(request: pytest.FixtureRequest) -> MemoryDocuments:
    """A log of four blocks: of goods, or of looks, whose parts are encrypted, with marks of their outcomes as the last."""
    bench = Bench(prefix=request.param)
    if request.param == "goods":
        bench.fill(4)
    else:
        for value in browse_values():
            bench.topic.append(0, value)
    asyncio.run(bench.run(entries=1))
    return MemoryDocuments.of(bench.store)


def browse_values() -> list[bytes]:
    """Three looks by two users, and what became of their answers."""
    people = MemoryPeople()
    made = [
        browse_record(
            Browse(
                user=f"user-{nth % 2}",
                keys=("https://id.gs1.org/01/09521234543213/21/1",),
                method="Trace",
                purpose="a test",
                sizes={"goods/0": 9},
                events=1,
            ),
            secret=bytes(32),
            user_key=people.key(f"user-{nth % 2}"),
            record_id=bytes([nth]) * 16,
            time_ms=1_700_000_000_000 + nth,
            salts=(bytes(32),) * 4,
        )
        for nth in range(1, 4)
    ]
    marks = mark_record(
        {each.id: Outcome.ANSWERED for each in made},
        record_id=bytes(16),
        time_ms=1_700_000_000_009,
        salt=bytes(32),
        secret=bytes(32),
    )
    return [envelope.encode(each) for each in (*made, marks)]


def mutated(document: Document, data: st.DataObject) -> Document:
    """A document with a value of another kind somewhere, a field less, or a field more."""
    changed = copy.deepcopy(document)
    path, _ = data.draw(st.sampled_from(list(values_of(document))))
    holder: Any = changed
    for step in path[:-1]:
        holder = holder[step]
    action = data.draw(st.sampled_from(["replace", "remove", "add", "near"]))
    if action == "remove" and path != ("_id",):
        del holder[path[-1]]
    elif action == "add":
        changed[data.draw(st.text(min_size=1, max_size=5))] = data.draw(VALUES)
    elif action == "near" and isinstance(holder[path[-1]], bytes):
        before = holder[path[-1]]
        cut = data.draw(st.integers(0, len(before)))
        holder[path[-1]] = (
            before[:cut] + data.draw(st.binary(max_size=4)) + before[cut:][data.draw(st.integers(0, 4)) :]
        )
    else:
        holder[path[-1]] = data.draw(SCALARS if path == ("_id",) else VALUES)
    return changed


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_document_is_too_odd(sealed: MemoryDocuments, data: st.DataObject) -> None:
    store = sealed.copy()
    for _ in range(data.draw(st.integers(1, 3))):
        collection = data.draw(st.sampled_from([name for name, rows in store.collections.items() if rows]))
        key = data.draw(st.sampled_from(sorted(store.collections[collection], key=repr)))
        changed = mutated(store.collections[collection].pop(key), data)
        if isinstance(changed["_id"], str | int):
            store.collections[collection][changed["_id"]] = changed
    faults = asyncio.run(all_faults(store))
    assert bool(faults) or exactly(store) == exactly(sealed)


def exactly(store: MemoryDocuments) -> dict[str, set[str]]:
    """All documents, with 1, 1.0 and True told apart."""
    return {name: {repr(row) for row in rows.values()} for name, rows in store.collections.items()}
