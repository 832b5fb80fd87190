"""What a client accepts and what it has already."""

import pytest

from services.query.http_headers import accepts_gzip, matches


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
