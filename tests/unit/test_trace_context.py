"""The W3C trace context, whatever comes: a bad one is as if it was not there. Source: W3C Trace Context, section 3.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.entry import Kind
from services.runtime import envelope
from services.runtime.envelope import Part, Record
from services.runtime.tracing.context import TraceContext, read

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (GOOD, True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),  # flags that are not known yet
        (f"cc-{TRACE}-{SPAN}-01", True),  # a later version
        (f"cc-{TRACE}-{SPAN}-01-what-will-be", True),
    ],
)
def test_a_good_one_is_read(text: str, *, sampled: bool) -> None:
    assert read(text) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        GOOD.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{GOOD}-more",
        f"cc-{TRACE}-{SPAN}-01.more",
        f" {GOOD}",
        f"{GOOD}\n",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"cc-{TRACE}-{SPAN}-01-" + "x" * 300,
        "٠٠" + GOOD[2:],
        "\x00" * 55,
    ],
)
def test_a_bad_one_is_none(text: str) -> None:
    assert read(text) is None


@given(st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*", fullmatch=True))
def test_whatever_is_read_is_written_so_that_it_is_read_again(text: str) -> None:
    found = read(text)
    if found is not None:
        assert read(found.header) == found


@given(
    record_id=st.binary(min_size=16, max_size=16),
    content=st.binary(max_size=80) | st.just(f"\x3a\x37{GOOD}".encode()),
    traced=st.booleans(),
    merchant=st.integers(0, 2**40),
)
def test_a_record_tells_its_context_undecoded(
    record_id: bytes, content: bytes, *, traced: bool, merchant: int
) -> None:
    record = Record(
        id=record_id,
        kind=Kind.EVENT,
        time_ms=1,
        pipeline_version="1",
        parts=(Part("event", bytes(32), content),),
        merchant=merchant,
        traceparent=GOOD if traced else "",
    )
    assert envelope.traceparent_of(envelope.encode(record)) == record.traceparent
