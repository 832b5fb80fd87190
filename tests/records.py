"""Records for tests of sealing: provable, small, told apart by a number."""

import random

from goodstrace.entry import Kind, TagKind
from services.runtime import envelope
from services.runtime.envelope import Part, Record
from services.sealing.entries import with_entry

SECRET = bytes(range(32))


def make_record(number: int, *, size_bytes: int = 40, partition: int = 0) -> Record:
    """A record of its own ID, salts and content; found by the key `key:<number>` and by `key:shared`."""
    rng = random.Random(number + 1_000_003 * partition)
    record = Record(
        id=rng.randbytes(16),
        kind=Kind.EVENT,
        time_ms=1_700_000_000_000 + number,
        pipeline_version="1",
        merchant=1,
        parts=(
            Part("event", rng.randbytes(32), rng.randbytes(size_bytes)),
            Part("facts", rng.randbytes(32), b'{"number":%d}' % number),
        ),
    )
    return with_entry(record, SECRET, {TagKind.KEY: [f"key:{number}", "key:shared"]})


def make_value(number: int, *, size_bytes: int = 40, partition: int = 0) -> bytes:
    """The record's bytes as they are on the topic."""
    return envelope.encode(make_record(number, size_bytes=size_bytes, partition=partition))
