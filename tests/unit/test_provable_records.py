"""The quick check of a record before it is sealed lets through exactly what the thorough one does."""

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.entry import ENTRY_VERSION, MAX_INTEGER, Kind, TagKind
from goodstrace.errors import EntryError
from services.runtime.envelope import Part, Record
from services.sealing.entries import _domain, _written, check, is_provable, with_entry
from tests.records import SECRET, make_record

PARTS = st.lists(
    st.builds(
        Part,
        name=st.from_regex(r"[a-z0-9-]{1,12}", fullmatch=True),
        salt=st.binary(min_size=32, max_size=32),
        content=st.binary(max_size=60),
    ),
    max_size=4,
    unique_by=lambda part: part.name,
).map(tuple)
RECORDS = st.builds(
    Record,
    id=st.binary(min_size=16, max_size=16),
    kind=st.sampled_from(Kind),
    time_ms=st.integers(0, MAX_INTEGER),
    merchant=st.integers(0, MAX_INTEGER),
    pipeline_version=st.just("1"),
    parts=PARTS,
)


@settings(max_examples=100)
@given(RECORDS, st.lists(st.text(max_size=5), max_size=9))
def test_what_was_given_its_entry_is_provable(record: Record, keys: list[str]) -> None:
    made = with_entry(record, SECRET, {TagKind.KEY: keys})
    assert is_provable(made)
    check(made)


ONE = make_record(1)
EVENT, FACTS = ONE.parts
CHANGES: dict[str, dict[str, object]] = {
    "id": {"id": b"x" * 16},
    "short id": {"id": b"x" * 15},
    "kind": {"kind": Kind.BROWSE},
    "time": {"time_ms": ONE.time_ms + 1},
    "merchant": {"merchant": 2},
    "part gone": {"parts": (EVENT,)},
    "part twice": {"parts": (EVENT, FACTS, FACTS)},
    "parts exchanged": {"parts": (FACTS, EVENT)},
    "content": {"parts": (EVENT, msgspec.structs.replace(FACTS, content=b"{}"))},
    "salt": {"parts": (EVENT, msgspec.structs.replace(FACTS, salt=b"s" * 32))},
    "short salt": {"parts": (EVENT, msgspec.structs.replace(FACTS, salt=b"s" * 31))},
    "name": {"parts": (EVENT, msgspec.structs.replace(FACTS, name="fact"))},
    "name of another form": {"parts": (EVENT, msgspec.structs.replace(FACTS, name='a","b'))},
    "tag gone": {"tags": ONE.tags[:1]},
    "tags exchanged": {"tags": ONE.tags[::-1]},
    "tag twice": {"tags": (ONE.tags[0], *ONE.tags)},
    "short tag": {"tags": (ONE.tags[0], ONE.tags[1][:15])},
    "no entry": {"entry": b""},
    "space in the entry": {"entry": ONE.entry.replace(b",", b", ", 1)},
    "version": {"entry": ONE.entry.replace(b'"v":%d' % ENTRY_VERSION, b'"v":2')},
    "bytes after the entry": {"entry": ONE.entry + b"\n"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_changed_is_neither(change: dict[str, object]) -> None:
    changed = msgspec.structs.replace(ONE, **change)
    assert not is_provable(changed)
    with pytest.raises(EntryError):
        check(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"merchant": MAX_INTEGER + 1},
        {"time_ms": MAX_INTEGER + 1},
        {"time_ms": -1},
        {"id": b"x" * 17},
        {"parts": (EVENT, EVENT)},
        {"parts": tuple(msgspec.structs.replace(EVENT, name=f"p{n}") for n in range(5))},
        {"parts": tuple(msgspec.structs.replace(EVENT, name="p" * 32 + str(n)) for n in range(2))},
    ],
)
def test_limits_hold_where_the_entry_repeats_what_breaks_them(change: dict[str, object]) -> None:
    record = msgspec.structs.replace(ONE, **change)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("goodstrace.entry._PART_NAME", re.compile(""))
        broken = msgspec.structs.replace(record, entry=_written(record, ONE.tags))
    _domain.cache_clear()
    with pytest.raises(EntryError):
        with_entry(record, SECRET, {TagKind.KEY: ["key:1", "key:shared"]})
    assert not is_provable(broken)
    with pytest.raises(EntryError):
        check(broken)
