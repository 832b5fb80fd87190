"""Records as a pack stores them: what is encoded comes back, in a form that never changes, and other bytes are refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.envelope import Part
from services.sealing import pack_format
from services.sealing.errors import CorruptError
from services.sealing.values import PackedRecord

records = st.builds(
    PackedRecord,
    entry=st.binary(max_size=20),
    parts=st.lists(st.builds(Part, st.text(max_size=5), st.binary(max_size=5), st.binary(max_size=9))).map(
        tuple
    ),
    tags=st.lists(st.binary(min_size=16, max_size=16)).map(tuple),
)


@given(st.lists(records, max_size=5))
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
