"""What a client accepts and has already; how this server may be called by clients."""

import pytest
from pydantic import ValidationError

from services.query.http_headers import accepts_gzip, matches
from services.query.settings import QuerySettings


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("identity", False),
        ("gzip", True),
        ("GZIP", True),
        ("br, gzip", True),
        ("br,gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip ;q=0.001", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("x-gzip", True),
        ("gzipped", False),
        ("identity;q=0", False),
        (";;;,,=", False),
    ],
)
def test_gzip_is_used_where_it_is_taken(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) == accepted


@pytest.mark.parametrize(
    ("header", "matched"),
    [
        ("", False),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
    ],
)
def test_an_entity_tag_is_known(header: str, matched: bool) -> None:
    assert matches(header, '"a"') == matched


@pytest.mark.parametrize(
    "url", ["", "https://logs.example.com", "http://[::1]:8081", "https://example.com/a/b"]
)
def test_a_public_url(url: str) -> None:
    assert QuerySettings(public_url=url).public_url == url  # type: ignore[call-arg]  # all have defaults


@pytest.mark.parametrize(
    "url", ["logs.example.com", "https://", "https://a/", "https://a/?b", "ftp://a", "https://a b"]
)
def test_what_no_public_url_is(url: str) -> None:
    with pytest.raises(ValidationError):
        QuerySettings(public_url=url)  # type: ignore[call-arg]
