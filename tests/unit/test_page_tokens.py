"""Page tokens: read and made by nobody else, good for the query they were made for, and for nothing else."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.call_errors import InvalidRequestError
from services.runtime.page_tokens import MAX_TOKEN_CHARS, PageTokens, fixed_key


class State(msgspec.Struct, frozen=True):
    sizes: dict[str, int]
    offset: int


KEY = fixed_key(b"s" * 32)
TOKENS = PageTokens(KEY, State)
STATES = st.builds(
    State, st.dictionaries(st.text(max_size=12), st.integers(0, 2**53), max_size=5), st.integers(0, 2**53)
)


@given(st.binary(max_size=64), STATES)
async def test_a_token_gives_its_state_back(query: bytes, state: State) -> None:
    token = await TOKENS.seal(query, state)
    assert await TOKENS.open(query, token) == state
    assert token.isascii()
    assert "=" not in token


@given(st.binary(max_size=64), st.binary(max_size=64), STATES)
async def test_a_token_is_no_token_of_another_query(query: bytes, other: bytes, state: State) -> None:
    if query != other:
        with pytest.raises(InvalidRequestError):
            await TOKENS.open(other, await TOKENS.seal(query, state))


@given(STATES, st.data())
async def test_a_changed_token_is_refused(state: State, data: st.DataObject) -> None:
    token = await TOKENS.seal(b"query", state)
    place = data.draw(st.integers(0, len(token) - 1))
    changed = token[:place] + data.draw(st.characters(max_codepoint=126)) + token[place + 1 :]
    if changed != token:
        with pytest.raises(InvalidRequestError) as raised:
            await TOKENS.open(b"query", changed)
        assert raised.value.field == "page_token"


@given(st.text(max_size=200))
async def test_no_text_is_a_token(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        await TOKENS.open(b"query", text)


@given(STATES)
async def test_a_token_does_not_tell_its_state(state: State) -> None:
    named = msgspec.structs.replace(state, sizes={**state.sizes, "goods/a-log": 2})
    token = await TOKENS.seal(b"query", named)
    assert b"goods/a-log" not in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert token != await TOKENS.seal(b"query", named), "nor that two are of one place"


@given(st.integers(0, 2**53), st.integers(0, 2**53))
async def test_the_length_of_a_token_does_not_tell_how_far_in_it_is(one: int, other: int) -> None:
    first = await TOKENS.seal(b"query", State({"goods/1": 9}, one))
    second = await TOKENS.seal(b"query", State({"goods/1": 9}, other))
    assert len(first) == len(second)


async def test_another_key_gives_other_tokens() -> None:
    token = await TOKENS.seal(b"query", State({}, 1))
    with pytest.raises(InvalidRequestError, match="begin again"):
        await PageTokens(fixed_key(b"t" * 32), State).open(b"query", token)


async def test_a_token_of_the_release_before_is_refused_and_says_to_begin_again() -> None:
    before = base64.urlsafe_b64encode(bytes(16) + b'{"sizes":{},"offset":1}').rstrip(b"=").decode()
    with pytest.raises(InvalidRequestError, match="begin again"):
        await TOKENS.open(b"query", before)


async def test_a_token_over_the_limit_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="over"):
        await TOKENS.open(b"query", "A" * (MAX_TOKEN_CHARS + 1))


async def test_a_state_of_another_version_is_refused() -> None:
    class Other(msgspec.Struct, frozen=True):
        place: str

    token = await PageTokens(KEY, Other).seal(b"query", Other("here"))
    with pytest.raises(InvalidRequestError, match="version"):
        await TOKENS.open(b"query", token)
