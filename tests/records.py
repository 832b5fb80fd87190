"""Records for tests of sealing: provable, small, told apart by a number."""

import random

from goodstrace.entry import Kind, TagKind
from services.runtime import envelope
from services.runtime.envelope import Part, Record
from services.runtime.looks import Outcome
from services.sealing.browse import Browse, BrowseKind, browse_record
from services.sealing.entries import with_entry
from services.sealing.mark_records import mark_record

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


def make_value(number: int, *, partition: int = 0) -> bytes:
    """The record's bytes as they are on the topic."""
    return envelope.encode(make_record(number, partition=partition))


def make_mixed(number: int) -> Record:
    """A record of its own: in turn an event, a look, a mark of outcomes, and a refusal, so that a log holds what all logs hold."""
    rng = random.Random(number)
    kind, time_ms = number % 4, 1_700_000_000_000 + number
    if kind == 0:
        return make_record(number)
    if kind == 2:  # of the look before it, and of one that is nowhere
        marked = {make_mixed(number - 1).id: Outcome.ANSWERED, rng.randbytes(16): Outcome.FAILED}
        return mark_record(
            marked, record_id=rng.randbytes(16), time_ms=time_ms, salt=rng.randbytes(32), secret=SECRET
        )
    browse = Browse(
        user=f"user-{number}",
        method="Trace",
        keys=(f"key:{number}", "key:shared") if kind == 1 else (),
        sizes={"goods/0": number},
        purpose="",
        events=number,
        kind=BrowseKind.LOOK if kind == 1 else BrowseKind.REFUSAL,
        refused="" if kind == 1 else "role",
    )
    return browse_record(
        browse,
        secret=SECRET,
        user_key=rng.randbytes(32),
        record_id=rng.randbytes(16),
        time_ms=time_ms,
        salts=tuple(rng.randbytes(32) for _ in range(4)),
    )
