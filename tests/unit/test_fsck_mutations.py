"""Whatever the documents are, `fsck` ends with faults, never with an exception."""

import asyncio
import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.sealing.documents import Document
from tests.memory_documents import MemoryDocuments, all_faults
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


@pytest.fixture(scope="module")
def sealed() -> MemoryDocuments:
    """A log of four blocks."""
    bench = Bench()
    bench.fill(4)
    asyncio.run(bench.run(entries=1))
    return MemoryDocuments.of(bench.store)


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
