"""The headers of EPCIS by which clients and services agree: one table, which both edges are held to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from services.collector import headers as captures
from services.collector.headers import JSON_TYPES, RefusedHeaderError
from services.query import epcis_headers as queries
from services.query.epcis_problems import NotAcceptableError, QueryProblemError
from services.runtime.epcis_negotiation import VERSION_HEADERS, VERSIONS, media_type, unmet_version

JSON, JSON_LD = "application/json", "application/ld+json"
VERSION_TABLE = [
    ({}, 200),
    ({"GS1-EPCIS-Min": "1.2", "GS1-EPCIS-Max": "2.0.0"}, 200),
    ({"GS1-EPCIS-Min": "2.0.1"}, 200),
    ({"GS1-EPCIS-Min": "2"}, 200),
    ({"GS1-EPCIS-Max": "2.0.0.0"}, 200),
    ({"GS1-EPCIS-Max": "2.0"}, 200),
    ({"GS1-EPCIS-Version": "2.0"}, 200),
    ({"GS1-EPCIS-Version": "2.0.1"}, 200),
    ({"GS1-CBV-Min": "1.0", "GS1-CBV-Max": "3"}, 200),
    ({"GS1-EPCIS-Version": "2.1"}, 406),
    ({"GS1-CBV-Version": "3"}, 406),
    ({"GS1-EPCIS-Min": "2.1"}, 406),
    ({"GS1-EPCIS-Max": "1.2.0"}, 406),
    ({"GS1-CBV-Max": "1"}, 406),
    ({"GS1-EPCIS-Version": "nonsense"}, 400),
    ({"GS1-EPCIS-Min": "two"}, 400),
    ({"GS1-EPCIS-Max": ""}, 400),
    ({"GS1-CBV-Version": ">=1.0"}, 400),
    ({"GS1-CBV-Min": "2..0"}, 400),
    ({"GS1-CBV-Max": "٢.0"}, 400),
]
ACCEPTS = [
    ("", JSON, JSON),
    (" , ,", JSON, JSON),
    ("*/*", JSON, JSON),
    ("application/json", JSON, JSON),
    ("application/ld+json", None, JSON_LD),
    ("application/ld+json, application/json", JSON, JSON_LD),
    ("application/ld+json, */*", JSON, JSON_LD),
    ("application/ld+json;q=0.5, application/json", JSON, JSON),
    ("text/html, application/*;q=0.1", JSON, JSON),
    ("application/json;q=0, application/*", None, JSON_LD),
    ("application/json;q=0, */*", None, JSON_LD),
    ("application/*;q=0, application/json", JSON, JSON),
    ("application/*;q=0, */*", None, None),
    ("APPLICATION/JSON ; Q=0.001", JSON, JSON),
    ("application/json;q=0.000", None, None),
    ("application/json;charset=utf-8", JSON, JSON),
    ("*/*;q=0", None, None),
    ("application/xml", None, None),
    ("application/jsonp", None, None),
]


def headers_of(sent: dict[str, str]) -> Headers:
    return Headers(raw=[(name.lower().encode(), text.encode()) for name, text in sent.items()])


def captured(headers: Headers) -> tuple[int, str]:
    """Say what the capture edge makes of headers: a status and the header that it names."""
    try:
        captures.negotiate(headers, JSON_TYPES[1])
    except RefusedHeaderError as error:
        return error.status, error.header
    return 200, ""


def queried(headers: Headers) -> tuple[int, str]:
    """Say what the query edge makes of headers: a status and the header that it names."""
    try:
        queries.media_type(headers)
    except QueryProblemError as error:
        return error.status, error.field
    return 200, ""


@pytest.mark.parametrize(("sent", "status"), VERSION_TABLE)
def test_both_edges_answer_a_version_alike(sent: dict[str, str], status: int) -> None:
    headers = headers_of(sent)
    assert captured(headers) == queried(headers) == (status, "" if status == 200 else next(iter(sent)))


@pytest.mark.parametrize(("accept", "of_json", "of_both"), ACCEPTS)
def test_both_edges_choose_by_one_rule(accept: str, of_json: str | None, of_both: str | None) -> None:
    headers = headers_of({"accept": accept})
    assert media_type(headers, (JSON,)) == of_json
    assert captured(headers) == ((200, "") if of_json else (406, "Accept"))
    if of_both is None:
        with pytest.raises(NotAcceptableError):
            queries.media_type(headers)
    else:
        assert queries.media_type(headers) == of_both


def test_a_header_that_is_there_twice_is_to_be_met_each_time() -> None:
    twice = Headers(raw=[(b"gs1-epcis-min", b"1.2"), (b"gs1-epcis-min", b"2.1")])
    assert captured(twice) == queried(twice) == (406, "GS1-EPCIS-Min")
    both = Headers(raw=[(b"accept", b"text/html"), (b"accept", b"application/ld+json")])
    assert queries.media_type(both) == JSON_LD


def test_both_edges_tell_the_versions_that_they_heed() -> None:
    assert set(VERSIONS) == set(VERSION_HEADERS)
    for told in (captures.discovery("GET"), queries.DISCOVERY):
        assert VERSIONS.items() <= told.items()
        assert unmet_version(headers_of(dict(VERSIONS))) is None


def test_long_accept_headers_cost_no_more_than_their_length() -> None:
    assert media_type(headers_of({"accept": "a/b;" + " " * 60_000}), (JSON,)) is None
    assert media_type(headers_of({"accept": ",".join(["a/b"] * 15_000)}), (JSON,)) is None


RANGE = st.tuples(
    st.sampled_from([JSON, JSON_LD, "application/*", "*/*", "text/html", ""]),
    st.sampled_from(["", ";q=0", ";q=0.5", ";q=1", ";q=x", ";a=b;q=0.2"]),
).map("".join)


@given(st.lists(RANGE, max_size=5).map(",".join))
def test_what_is_chosen_is_offered_and_alone_would_be_too(accept: str) -> None:
    headers = headers_of({"accept": accept})
    chosen = media_type(headers, (JSON, JSON_LD))
    alone = [kind for kind in (JSON, JSON_LD) if media_type(headers, (kind,)) is not None]
    assert (chosen in alone) if alone else chosen is None


@given(st.dictionaries(st.sampled_from(VERSION_HEADERS), st.text(max_size=12), max_size=3))
def test_no_version_breaks_an_edge(sent: dict[str, str]) -> None:
    headers = headers_of(sent)
    assert captured(headers) == queried(headers)
