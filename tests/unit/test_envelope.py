"""The Kafka value: what is encoded comes back, the same record gives the same bytes, other bytes are refused."""

import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.entry import Kind
from goodstrace.record.v1 import record_pb2 as wire
from services.runtime import envelope
from services.runtime.envelope import Committed, Part, Record, Rejection
from services.runtime.errors import EnvelopeError
from tests.vector_files import vectors

VECTORS = vectors("envelopes")

texts = st.text(st.characters(codec="utf-8"), max_size=20)
parts = st.builds(Part, texts, st.binary(min_size=32, max_size=32), st.binary(max_size=50))
records = st.builds(
    Record,
    id=st.binary(min_size=16, max_size=16),
    kind=st.sampled_from(Kind),
    time_ms=st.integers(0, 2**53 - 1),
    pipeline_version=texts,
    parts=st.lists(parts, max_size=4).map(tuple),
    capture_id=st.binary(max_size=16),
    sequence=st.integers(0, 2**32 - 1),
    capture_size=st.integers(0, 2**32 - 1),
    merchant=st.integers(0, 2**53 - 1),
    traceparent=texts,
    entry=st.binary(max_size=100),
    tags=st.lists(st.binary(min_size=16, max_size=16), max_size=5).map(tuple),
    rejection=st.none() | st.builds(Rejection, texts, texts, texts, st.binary(max_size=16)),
)


@given(records)
def test_what_is_encoded_comes_back(record: Record) -> None:
    data = envelope.encode(record)
    assert envelope.decode(data) == record
    assert envelope.encode(envelope.decode(data)) == data


@given(records)
def test_the_bytes_are_those_of_protobuf(record: Record) -> None:
    fields = msgspec.to_builtins(msgspec.structs.replace(record, parts=()), builtin_types=(bytes,))
    rejection = fields.pop("rejection")
    message = wire.Record(version=1, **{**fields, "kind": f"KIND_{record.kind.name}"})
    for part in record.parts:
        message.parts.add(name=part.name, salt=part.salt, content=part.content)
    if rejection is not None:
        message.rejection.SetInParent()
        message.rejection.MergeFrom(wire.Rejection(**rejection))
    assert envelope.encode(record) == message.SerializeToString(deterministic=True)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_published_envelopes(vector: dict[str, str]) -> None:
    record = envelope.decode(bytes.fromhex(vector["bytes"]))
    assert envelope.encode(record).hex() == vector["bytes"]
    parts = [
        dict(zip(("name", "salt", "content"), msgspec.to_builtins(part), strict=True))
        for part in record.parts
    ]
    assert {**json.loads(msgspec.json.encode(record)), "parts": parts} == vector["record"]


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    for decode in (envelope.decode, envelope.decode_committed):
        try:
            decode(data)
        except EnvelopeError:
            continue


@given(records)
def test_what_is_decoded_to_be_sealed_is_the_same(record: Record) -> None:
    committed = envelope.decode_committed(envelope.encode(record))
    for field in Committed.__struct_fields__:
        assert getattr(committed, field) == getattr(record, field)


@given(records, st.data())
def test_changed_bytes_never_end_in_another_error(record: Record, data: st.DataObject) -> None:
    encoded = bytearray(envelope.encode(record))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    test_other_bytes_are_refused.hypothesis.inner_test(bytes(encoded))  # type: ignore[attr-defined]


@pytest.mark.parametrize("decode", [envelope.decode, envelope.decode_committed])
@pytest.mark.parametrize("field", ["version", "kind", "id", "salt"])
def test_a_field_out_of_its_limits_is_refused(field: str, decode: Callable[[bytes], Committed]) -> None:
    message = wire.Record()
    message.ParseFromString(bytes.fromhex(VECTORS[0]["bytes"]))
    if field == "salt":
        message.parts[0].salt = b"short"
    else:
        setattr(message, field, {"version": 2, "kind": 0, "id": b"short"}[field])
    with pytest.raises(EnvelopeError):
        decode(message.SerializeToString())


def test_parts_are_found_by_name() -> None:
    record = envelope.decode(bytes.fromhex(VECTORS[0]["bytes"]))
    assert record.part("event").name == "event"
    with pytest.raises(EnvelopeError, match="no part 'none'"):
        record.part("none")
    assert envelope.content_of(record.parts, "event") == record.part("event").content
    assert envelope.content_of(record.parts, "none") is None


@given(
    records, st.binary(max_size=300), st.binary(max_size=20), st.lists(st.binary(max_size=200), max_size=4)
)
def test_what_is_put_together_is_what_is_encoded(
    record: Record, content: bytes, entry: bytes, tags: list[bytes]
) -> None:
    bare = msgspec.structs.replace(record, entry=b"", tags=(), rejection=None)
    whole = msgspec.structs.replace(bare, entry=entry, tags=tuple(tags))
    assert envelope.encode(bare) + envelope.entry_fields(entry, whole.tags) == envelope.encode(whole)
    if not bare.parts:
        return
    last = msgspec.structs.replace(bare.parts[-1], content=content)
    changed = msgspec.structs.replace(bare, parts=(*bare.parts[:-1], last))
    head = envelope.without_last_part(envelope.encode(bare), bare)
    assert head is not None
    assert head + envelope.part_field(last) == envelope.encode(changed)
    assert envelope.without_last_part(envelope.encode(bare) + b"\x00", bare) is None
    if entry or tags:
        assert envelope.without_last_part(envelope.encode(whole), whole) is None
