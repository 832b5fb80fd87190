"""Records as a pack stores them: what is encoded comes back, all or one by one, and other bytes are refused."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.entry import TAG_BYTES
from services.runtime.envelope import Part
from services.sealing import pack_format
from services.sealing.errors import CorruptError
from services.sealing.pack_format import Columns
from services.sealing.values import PackedRecord

# Of two byte values only, so that tags are met across the bounds of others too.
TAGS = st.binary(min_size=TAG_BYTES, max_size=TAG_BYTES).map(lambda tag: bytes(each & 1 for each in tag))
PARTS = st.builds(Part, st.text(max_size=5), st.binary(max_size=5), st.binary(max_size=9))
RECORDS = st.lists(
    st.builds(
        PackedRecord,
        st.binary(max_size=9),
        st.lists(PARTS, max_size=3).map(tuple),
        st.lists(TAGS, max_size=5).map(tuple),
    ),
    max_size=5,
)


def columns(records: list[PackedRecord]) -> Columns:
    encoded = pack_format.encode(records)
    return Columns(encoded["entries"], encoded["parts"], encoded["tags"])


@given(RECORDS)
def test_each_record_is_what_was_encoded(records: list[PackedRecord]) -> None:
    opened = columns(records)
    assert [opened.record(place) for place in range(len(opened))] == records


@given(RECORDS, st.sets(TAGS, max_size=8))
def test_records_are_found_by_their_tags(records: list[PackedRecord], others: set[bytes]) -> None:
    for wanted in (others, others | {tag for record in records for tag in record.tags[:1]}):
        expected = [(place, wanted & set(record.tags)) for place, record in enumerate(records)]
        assert columns(records).places_of(wanted) == [each for each in expected if each[1]]


def test_a_tag_across_two_others_is_none() -> None:
    tags = (bytes(16), b"\1" * 16)
    across = bytes(8) + b"\1" * 8
    assert columns([PackedRecord(b"", (), tags)]).places_of({across}) == []
    found = columns([PackedRecord(b"", (), (*tags, across))]).places_of({across})
    assert found == [(0, {across})]


@given(st.binary(max_size=40))
def test_whatever_the_bytes_they_are_records_or_corrupt(data: bytes) -> None:
    one = msgspec.msgpack.encode([b""])
    for entries, parts, tags in ((data, one, one), (one, data, one), (one, one, data), (one, one, one)):
        with contextlib.suppress(CorruptError):
            assert all(isinstance(each, PackedRecord) for each in pack_format.decode(entries, parts, tags))


def test_lists_of_different_lengths_are_corrupt() -> None:
    encoded = pack_format.encode([PackedRecord(b"entry", (), ())] * 2)
    short = pack_format.encode([PackedRecord(b"entry", (), ())])
    for column in encoded:
        mixed = {**encoded, column: short[column]}
        with pytest.raises(CorruptError, match="different lengths"):
            Columns(mixed["entries"], mixed["parts"], mixed["tags"])


@given(RECORDS)
def test_what_is_encoded_comes_back(some: list[PackedRecord]) -> None:
    assert pack_format.decode(**pack_format.encode(some)) == tuple(some)


def test_the_stored_form() -> None:
    record = PackedRecord(
        b"entry", (Part("event", b"salt", b"{}"), Part("facts", b"", b"[]")), (b"t" * 16, b"u" * 16)
    )
    encode = msgspec.msgpack.encode
    assert pack_format.encode([record, PackedRecord(b"", (), ())]) == {
        "entries": encode([b"entry", b""]),
        "parts": encode([[["event", b"salt", b"{}"], ["facts", b"", b"[]"]], []]),
        "tags": encode([b"t" * 16 + b"u" * 16, b""]),
    }


@pytest.mark.parametrize(
    "part",
    [
        ["event", b"salt"],
        ["event", b"salt", b"{}", b"more"],
        ["event", b"salt", "{}"],
        {"name": "event"},
        None,
    ],
)
def test_a_part_of_another_form_is_refused(part: object) -> None:
    encode = msgspec.msgpack.encode
    with pytest.raises(CorruptError):
        pack_format.decode(encode([b"entry"]), encode([[part]]), encode([b""]))
