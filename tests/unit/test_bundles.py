"""Entry bundles: entries behind their lengths, and nothing else is one."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.bundles import MAX_ENTRY_BYTES, decode_bundle, encode_bundle
from goodstrace.errors import TreeError


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_a_bundle_is_read_as_it_was_written(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries


@settings(max_examples=200)
@given(st.binary(max_size=600))
def test_any_bytes_are_a_bundle_or_refused(data: bytes) -> None:
    with suppress(TreeError):
        assert encode_bundle(decode_bundle(data)) == data


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20), st.data())
def test_a_bundle_that_was_cut_off_is_shorter_or_refused(entries: list[bytes], data: st.DataObject) -> None:
    whole = encode_bundle(entries)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with suppress(TreeError):
        read = decode_bundle(part)
        assert read == entries[: len(read)] != entries


def test_lengths_are_big_endian_uint16() -> None:
    assert encode_bundle([b"ab", b"", b"c" * 258]) == b"\x00\x02ab" + b"\x00\x00" + b"\x01\x02" + b"c" * 258


def test_what_no_bundle_may_hold() -> None:
    assert decode_bundle(encode_bundle([b"x" * MAX_ENTRY_BYTES])) == [b"x" * MAX_ENTRY_BYTES]
    for entries in ([], [b""] * 257, [b"x" * (MAX_ENTRY_BYTES + 1)]):
        with pytest.raises(TreeError):
            encode_bundle(entries)
    assert len(decode_bundle(b"\x00\x00" * 256)) == 256
    with pytest.raises(TreeError):
        decode_bundle(b"\x00\x00" * 257)
