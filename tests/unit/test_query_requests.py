"""What TraceService's requests mean, and which are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.audit.v1 import audit_pb2
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import trace_pb2
from services.audit import core as audit
from services.audit.index_values import Row
from services.query import requests
from services.query.requests import EventQuery, TraceQuery
from services.runtime.call_errors import InvalidRequestError

URN = "urn:epc:id:sgtin:9521234.054321.1"
KEY = "https://id.gs1.org/01/09521234543213/21/1"


def test_the_key_is_canonical_and_zero_stands_for_the_default() -> None:
    query = requests.trace_query(trace_pb2.TraceRequest(key=URN))
    assert query == TraceQuery(KEY, trace_pb2.DIRECTION_BOTH, 10, {})
    assert requests.page_size_of(trace_pb2.TraceRequest()) == 200


@given(st.text(min_size=1, max_size=2048))
def test_any_text_is_a_key(text: str) -> None:
    assert requests.trace_query(trace_pb2.TraceRequest(key=text)).key


def test_a_token_belongs_to_key_direction_depth_and_sizes_but_not_to_page_size_and_purpose() -> None:
    def encoded(**fields: object) -> bytes:
        return requests.trace_query(trace_pb2.TraceRequest(**{"key": KEY, **fields})).encode()  # type: ignore[arg-type]

    same = encoded()
    assert encoded(key=URN) == same
    assert encoded(page_size=7, purpose="x", max_depth=10) == same
    others = [
        encoded(key="urn:other"),
        encoded(direction=trace_pb2.DIRECTION_UPSTREAM),
        encoded(max_depth=9),
        encoded(as_of=[log_pb2.LogSize(log="goods/0", size=1)]),
        EventQuery(KEY).encode(),
        audit.ListQuery(key=KEY).encode(),
        audit.ListQuery(user=KEY).encode(),
    ]
    assert len({same, *others}) == len(others) + 1


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("key", trace_pb2.TraceRequest()),
        ("key", trace_pb2.TraceRequest(key="k" * 2049)),
        ("purpose", trace_pb2.TraceRequest(key="k", purpose="p" * 257)),
        ("max_depth", trace_pb2.TraceRequest(key="k", max_depth=101)),
        (
            "as_of",
            trace_pb2.TraceRequest(key="k", as_of=[log_pb2.LogSize(log="a"), log_pb2.LogSize(log="a")]),
        ),
        ("as_of", trace_pb2.TraceRequest(key="k", as_of=[log_pb2.LogSize(log="a", size=2**63)])),
    ],
)
def test_what_is_over_a_limit_names_its_field(field: str, request_: trace_pb2.TraceRequest) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        requests.trace_query(request_)
    assert raised.value.field == field


def test_the_same_for_events_and_pages() -> None:
    for wrong in (trace_pb2.GetEventRequest(), trace_pb2.GetEventRequest(event_id="e" * 2049)):
        with pytest.raises(InvalidRequestError, match="event_id"):
            requests.event_query(wrong)
    with pytest.raises(InvalidRequestError, match="page_size"):
        requests.page_size_of(trace_pb2.GetEventRequest(page_size=1001))


def test_a_listing_is_by_what_is_given() -> None:
    asked = audit_pb2.ListBrowsesRequest
    assert audit.query_of(asked(key=URN)) == audit.ListQuery(key=KEY)
    assert audit.query_of(asked(user="ann", end_ms=5)) == audit.ListQuery(user="ann", end_ms=5)
    every = asked(
        key=URN, user="ann", merchant=4, start_ms=1, end_ms=2, outcome=audit_pb2.BROWSE_OUTCOME_FAILED
    )
    assert audit.query_of(every) == audit.ListQuery(
        key=KEY, user="ann", merchant=4, start_ms=1, end_ms=2, outcome="failed"
    )
    assert audit.query_of(every).told == "merchant=4 from=1 before=2 outcome=failed"
    for wrong in (
        asked(),
        asked(end_ms=1),
        asked(outcome=audit_pb2.BROWSE_OUTCOME_FAILED),
        asked(start_ms=-1),
        asked(start_ms=5, end_ms=4),
        asked(merchant=2**60),
        asked(key="k", outcome=77),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidRequestError):
            audit.query_of(wrong)


def test_a_token_of_a_listing_belongs_to_all_that_says_which_records() -> None:
    queries = [
        audit.ListQuery(key=KEY),
        audit.ListQuery(user=KEY),
        audit.ListQuery(key=KEY, merchant=1),
        audit.ListQuery(key=KEY, start_ms=1),
        audit.ListQuery(key=KEY, end_ms=1),
        audit.ListQuery(key=KEY, outcome="failed"),
        audit.ListQuery(key=KEY, outcome="unknown"),
    ]
    assert len({each.encode() for each in queries}) == len(queries)


SUBJECT = b"s" * 32
ROW = Row(
    record_id=b"r" * 16,
    subject=SUBJECT,
    merchant=4,
    time_ms=50,
    role="merchant",
    kind="look",
    method="Trace",
    outcome="granted",
    mark="answered",
)


@pytest.mark.parametrize(
    ("query", "subject", "row", "fits"),
    [
        (audit.ListQuery(key=KEY), None, ROW, True),
        (audit.ListQuery(key=KEY), None, None, True),
        (audit.ListQuery(key=KEY, start_ms=50, end_ms=51), None, None, True),
        (audit.ListQuery(key=KEY, start_ms=51), None, ROW, False),
        (audit.ListQuery(key=KEY, end_ms=50), None, ROW, False),
        (audit.ListQuery(key=KEY, user="ann"), SUBJECT, ROW, True),
        (audit.ListQuery(key=KEY, user="ann"), b"t" * 32, ROW, False),
        (audit.ListQuery(key=KEY, user="ann"), SUBJECT, None, False),
        (audit.ListQuery(key=KEY, merchant=4), None, ROW, True),
        (audit.ListQuery(key=KEY, merchant=5), None, ROW, False),
        (audit.ListQuery(key=KEY, merchant=4), None, None, False),
        (audit.ListQuery(key=KEY, outcome="answered"), None, ROW, True),
        (audit.ListQuery(key=KEY, outcome="unknown"), None, ROW, False),
        (audit.ListQuery(key=KEY, outcome="unknown"), None, None, True),
    ],
)
def test_what_names_the_key_must_fit_the_rest(
    query: audit.ListQuery, subject: bytes | None, row: Row | None, *, fits: bool
) -> None:
    assert query.fits(50, row, subject) is fits
