"""Rates, API keys, credentials and what is remembered: each by itself."""

import asyncio
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.collector.registry.contents import merged
from services.collector.registry.rates import MAX_BUCKETS, Rate, Rates
from services.runtime.errors import UnavailableError
from services.runtime.merchants.api_keys import is_of, new_key, parse
from services.runtime.merchants.credentials import credential_of
from services.runtime.merchants.directory import MAX_REMEMBERED, Remembered, Staleness
from services.runtime.merchants.errors import RateLimitedError, UnauthenticatedError
from tests.unit.registry_builders import ever_new

RATES = {"events": Rate(10, 100)}


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 300)), max_size=60))
def test_over_any_time_the_rate_holds_plus_a_burst_and_one_request(asked: list[tuple[float, int]]) -> None:
    now_s, taken = 0.0, 0
    rates = Rates(lambda: now_s)
    for wait_s, amount in asked:
        now_s += wait_s
        try:
            rates.take(1, RATES, {"events": amount})
        except RateLimitedError as error:
            now_s += error.retry_after_s + 1e-6
            rates.take(1, RATES, {"events": amount})  # after the wait that was told there is room
        taken += amount
        assert taken - amount <= 100 + 10 * now_s + 1e-6


def test_buckets_are_bounded_and_the_one_in_use_stays() -> None:
    rates = Rates(lambda: 0.0)
    rates.take(0, RATES, {"events": 200})
    for number in range(1, MAX_BUCKETS + 1):
        with pytest.raises(RateLimitedError):
            rates.check(0, RATES)
        rates.check(number, RATES)
    assert len(rates._buckets) == MAX_BUCKETS


def test_a_key_has_256_random_bits_and_is_kept_as_a_digest() -> None:
    kept, key = new_key(7, "till", 5, ever_new())
    parsed = parse(key)
    assert parsed is not None
    identifier, secret = parsed
    assert (identifier, kept.merchant, kept.created_ms) == (kept.id, 7, 5)
    assert kept.digest == hashlib.sha256(secret.encode()).digest()
    assert is_of(secret, kept)
    assert not is_of(secret[:-1] + "x", kept)
    assert not is_of(secret, None)
    assert new_key(7, "till", 5, ever_new())[1] == key
    random = ever_new()
    assert new_key(7, "", 5, random)[1] != new_key(7, "", 5, random)[1]


@given(st.text(max_size=80))
def test_any_text_is_a_key_or_none(text: str) -> None:
    parsed = parse(text)
    assert parsed is None or text == f"gst_{parsed[0]}_{parsed[1]}"


@given(
    st.lists(
        st.tuples(st.sampled_from(["authorization", "x-api-key", "accept"]), st.text(max_size=30)), max_size=3
    )
)
def test_any_headers_hold_one_credential_or_none_or_are_refused(headers: list[tuple[str, str]]) -> None:
    named = [each for each in headers if each[0] != "accept"]
    try:
        found = credential_of(headers)
    except UnauthenticatedError:
        assert named
        return
    assert (found is None) == (not named)
    assert found is None or (found.isascii() and found in named[0][1])


def test_a_merge_patch_is_that_of_its_standard() -> None:
    given = {"a": "b", "c": {"d": "e", "f": "g"}}
    assert merged(given, {"a": "z", "c": {"f": None}}) == {"a": "z", "c": {"d": "e"}}  # RFC 7396, section 1
    assert merged({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}) == {"a": {"b": "d"}}
    assert merged({"a": "foo"}, {"b": None, "a": {"bb": {"ccc": None}}}) == {"a": {"bb": {}}}
    assert merged({"a": [1]}, {"a": [2, None]}) == {"a": [2, None]}


class Asked:
    """Counts what is asked; answers when it is let."""

    def __init__(self) -> None:
        self.calls = 0
        self.value = "old"
        self.go, self.begun = asyncio.Event(), asyncio.Event()
        self.go.set()
        self.away = False

    async def load(self, _key: int) -> str:
        self.calls += 1
        self.begun.set()
        value = self.value
        await self.go.wait()
        if self.away:
            raise UnavailableError("away")
        return value


async def test_all_who_ask_at_once_ask_once() -> None:
    asked = Asked()
    asked.go.clear()
    remembered = Remembered(asked.load, Staleness(2, 10), lambda: 0.0)
    waiting = [asyncio.create_task(remembered.get(1)) for _ in range(10)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # one gives up: the others do not
    asked.go.set()
    assert await asyncio.gather(*waiting[1:]) == ["old"] * 9
    assert asked.calls == 1


async def test_an_answer_that_was_under_way_when_something_changed_does_not_stay() -> None:
    asked = Asked()
    asked.go.clear()
    remembered = Remembered(asked.load, Staleness(2, 10), lambda: 0.0)
    waiting = asyncio.create_task(remembered.get(1))
    await asked.begun.wait()
    asked.value = "new"
    remembered.forget(1)
    asked.go.set()
    assert await waiting == "old"
    assert await remembered.get(1) == "new"


async def test_what_is_remembered_is_bounded() -> None:
    asked = Asked()
    remembered = Remembered(asked.load, Staleness(2, 10), lambda: 0.0)
    for key in range(MAX_REMEMBERED + 5):
        await remembered.get(key)
    assert len(remembered._known) == MAX_REMEMBERED
    assert not remembered._loading


async def test_while_nothing_is_answered_what_is_known_counts_for_so_long() -> None:
    asked, now_s = Asked(), [0.0]
    remembered = Remembered(asked.load, Staleness(2, 10), lambda: now_s[0])
    assert await remembered.get(1) == "old"
    asked.away = True
    for at_s in (1.9, 2.0, 3.0, 11.9):
        now_s[0] = at_s
        assert await remembered.get(1) == "old"
    now_s[0] = 12.9  # the last attempt was a second ago
    with pytest.raises(UnavailableError):
        await remembered.get(1)
    with pytest.raises(UnavailableError):
        await remembered.get(2)
