"""Records as a pack stores them: what is encoded comes back, all or one by one, and other bytes are refused."""

import contextlib
import zlib
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.entry import TAG_BYTES
from services.runtime.envelope import Part
from services.sealing import pack_format
from services.sealing.errors import CorruptError
from services.sealing.pack_format import Columns
from services.sealing.values import PackedRecord
from tests.packs import packed, unpacked

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
    stored = pack_format.encode([record, PackedRecord(b"", (), ())])
    plain = {
        "entries": encode([b"entry", b""]),
        "parts": encode([[["event", b"salt", b"{}"], ["facts", b"", b"[]"]], []]),
        "tags": encode([b"t" * 16 + b"u" * 16, b""]),
    }
    assert [name for name, data in stored.items() if data != plain[name]] == ["entries", "parts"]
    assert {name: data if data == plain[name] else unpacked(data) for name, data in stored.items()} == plain


@given(RECORDS)
def test_packs_of_before_any_was_compressed_are_read(records: list[PackedRecord]) -> None:
    encode = msgspec.msgpack.encode
    plain = {
        "entries": encode([record.entry for record in records]),
        "parts": encode([record.parts for record in records]),
        "tags": encode([b"".join(record.tags) for record in records]),
    }
    assert pack_format.decode(**plain) == tuple(records)
    opened = Columns(**plain)
    assert [opened.record(place) for place in range(len(opened))] == records
    assert pack_format.decode_entries(plain["entries"]) == [record.entry for record in records]


def test_records_that_are_alike_take_little() -> None:
    alike = [
        PackedRecord(b'{"id":"%032x"}' % n, (Part("event", b"", b'{"type":"ObjectEvent"}' * 40),), ())
        for n in range(30)
    ]
    stored, plain = pack_format.encode(alike), columns(alike).size_bytes
    assert sum(map(len, stored.values())) < plain / 10


def frames() -> st.SearchStrategy[bytes]:
    """Frames that lie about their size, are cut, changed, continued, or hold what is no list; all with their checksum."""
    good = zstandard.ZstdCompressor().compress(msgspec.msgpack.encode([b"entry"] * 9))
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(msgspec.msgpack.encode([b"entry"]))
    return st.one_of(
        st.integers(0, len(good) - 1).map(lambda end: good[:end]),
        st.binary(min_size=1, max_size=9).map(lambda more: good + more),
        st.tuples(st.integers(0, len(good) - 1), st.integers(1, 255)).map(
            lambda change: good[: change[0]] + bytes([good[change[0]] ^ change[1]]) + good[change[0] + 1 :]
        ),
        st.binary(max_size=40).map(lambda rest: zstandard.FRAME_HEADER + rest),
        st.just(unsized),
    )


@given(frames())
def test_a_frame_that_is_damaged_is_corrupt_or_records(frame: bytes) -> None:
    with contextlib.suppress(CorruptError):
        found = pack_format.decode_entries(b"\xc1" + zlib.crc32(frame).to_bytes(4, "big") + frame)
        assert all(isinstance(each, bytes) for each in found)


@given(st.data())
def test_no_bit_of_what_is_compressed_changes_unnoticed(data: st.DataObject) -> None:
    columns = pack_format.encode([PackedRecord(b"entry", (), ())] * 9)
    stored = columns[data.draw(st.sampled_from(["entries", "parts"]))]
    place, bit = data.draw(st.integers(0, len(stored) - 1)), 1 << data.draw(st.integers(0, 7))
    changed = stored[:place] + bytes([stored[place] ^ bit]) + stored[place + 1 :]
    with pytest.raises(CorruptError):
        pack_format.decode(**columns | {"entries": changed, "parts": changed})


def test_a_column_that_would_fill_the_memory_is_refused_unopened() -> None:
    bomb = packed(bytes(pack_format.MAX_COLUMN_BYTES + 1))
    assert len(bomb) < 2_000
    with pytest.raises(CorruptError, match="says it has 5242881 bytes"):
        pack_format.decode_entries(bomb)


def test_threads_that_pack_at_once_do_not_disturb_each_other() -> None:
    records = [[PackedRecord(bytes([n]) * 20_000, (), ())] * 20 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            stored = list(pool.map(pack_format.encode, records))
            back = pool.map(lambda each: pack_format.decode(**each), stored)
            assert [list(each) for each in back] == records


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
