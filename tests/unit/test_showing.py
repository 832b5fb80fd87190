"""What room a record takes in an answer is never underestimated: pages are cut by it."""

from hypothesis import given
from hypothesis import strategies as st

from goodstrace.log.v1 import log_pb2
from goodstrace.merkle import MAX_SIZE, inclusion_path
from services.runtime.envelope import Part
from services.sealing.showing import record_bytes
from services.sealing.values import SealedRecord


@given(
    st.binary(max_size=1023),
    st.lists(st.tuples(st.text("az09-", min_size=1, max_size=32), st.integers(0, 100_000)), max_size=4),
    st.integers(1, MAX_SIZE),
    st.data(),
)
def test_a_record_is_not_bigger_than_its_estimate(
    entry: bytes, contents: list[tuple[str, int]], size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    parts = tuple(Part(name, b"s" * 32, b"c" * length) for name, length in contents)
    record = SealedRecord("browse/1023", index, entry, parts, ())
    shown = log_pb2.SealedEntry(
        log=record.log,
        index=index,
        entry=entry,
        parts=[log_pb2.DisclosedPart(name=part.name, salt=part.salt, content=part.content) for part in parts],
        inclusion_proof=[b"h" * 32] * len(inclusion_path(index, size)),
    )
    whole = log_pb2.SealedEntry()
    whole.CopyFrom(shown)
    del whole.parts[:]
    assert shown.ByteSize() + 8 <= record_bytes(record, size)
    assert whole.ByteSize() + 8 <= record_bytes(record, size, with_parts=False)
