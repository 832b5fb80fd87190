"""Page tokens: good for the query they were made for, and for nothing else."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.call_errors import InvalidRequestError
from services.runtime.page_tokens import MAX_TOKEN_CHARS, PageTokens


class State(msgspec.Struct, frozen=True):
    sizes: dict[str, int]
    offset: int


TOKENS = PageTokens(b"s" * 32, State)
STATES = st.builds(
    State, st.dictionaries(st.text(max_size=12), st.integers(0, 2**53), max_size=5), st.integers(0, 2**53)
)


@given(st.binary(max_size=64), STATES)
def test_a_token_gives_its_state_back(query: bytes, state: State) -> None:
    token = TOKENS.seal(query, state)
    assert TOKENS.open(query, token) == state
    assert token.isascii()
    assert "=" not in token


@given(st.binary(max_size=64), st.binary(max_size=64), STATES)
def test_a_token_is_no_token_of_another_query(query: bytes, other: bytes, state: State) -> None:
    if query != other:
        with pytest.raises(InvalidRequestError):
            TOKENS.open(other, TOKENS.seal(query, state))


@given(STATES, st.data())
def test_a_changed_token_is_refused(state: State, data: st.DataObject) -> None:
    token = TOKENS.seal(b"query", state)
    place = data.draw(st.integers(0, len(token) - 1))
    changed = token[:place] + data.draw(st.characters(max_codepoint=126)) + token[place + 1 :]
    if changed != token:
        with pytest.raises(InvalidRequestError) as raised:
            TOKENS.open(b"query", changed)
        assert raised.value.field == "page_token"


@given(st.text(max_size=200))
def test_no_text_is_a_token(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        TOKENS.open(b"query", text)


def test_another_secret_gives_other_tokens() -> None:
    with pytest.raises(InvalidRequestError):
        PageTokens(b"t" * 32, State).open(b"query", TOKENS.seal(b"query", State({}, 1)))


def test_a_token_over_the_limit_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="over"):
        TOKENS.open(b"query", "A" * (MAX_TOKEN_CHARS + 1))


def test_a_state_of_another_version_is_refused() -> None:
    class Other(msgspec.Struct, frozen=True):
        place: str

    token = PageTokens(b"s" * 32, Other).seal(b"query", Other("here"))
    with pytest.raises(InvalidRequestError, match="version"):
        TOKENS.open(b"query", token)
