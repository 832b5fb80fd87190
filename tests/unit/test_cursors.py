"""Cursors of subscriptions: those of earlier releases go on, and nobody who lacks the index secret makes one."""

import base64
import hashlib
import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query.cursors import Cursors
from services.runtime.call_errors import InvalidRequestError

SECRET = b"s" * 32
POSITIONS = st.dictionaries(st.text(max_size=20), st.integers(0, 2**62), max_size=5)
KEPT = "w4MUAMpvDIoANxU596Ci8nsicG9zaXRpb25zIjp7Imdvb2RzLzAiOjcsImdvb2RzLzEiOjEyfX0"  # made by the release before page tokens were encrypted


def of_before(positions: dict[str, int]) -> str:
    """Make a cursor as releases before this one made them, by hand."""
    key = SECRET
    for text in (b"goodstrace page token v1", b'"Subscribe"'):
        key = hmac.new(key, text, hashlib.sha256).digest()
    body = msgspec.json.encode({"positions": positions})
    mac = hmac.new(key, body, hashlib.sha256).digest()[:16]
    return base64.urlsafe_b64encode(mac + body).decode().rstrip("=")


def test_a_cursor_that_an_earlier_release_made_goes_on() -> None:
    assert Cursors(SECRET).open(KEPT) == {"goods/0": 7, "goods/1": 12}


@given(POSITIONS)
def test_what_is_sealed_opens_and_is_what_it_was_in_earlier_releases(positions: dict[str, int]) -> None:
    cursor = Cursors(SECRET).seal(positions)
    assert cursor == of_before(positions)
    assert Cursors(SECRET).open(cursor) == positions
    with pytest.raises(InvalidRequestError, match="another index secret"):
        Cursors(b"t" * 32).open(cursor)


@given(
    st.one_of(st.text(), st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")))
)
def test_any_other_text_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        Cursors(SECRET).open(text)
    assert refused.value.field == "cursor"


def test_who_has_the_secret_makes_no_cursor_that_is_none() -> None:
    with pytest.raises(InvalidRequestError):
        Cursors(SECRET).open(of_before({"goods/0": -1}))
