"""Refresh tokens: one counts, one may come again, and a copy ends the session. A state machine against the rule in words."""

import os

import hypothesis.strategies as st
import msgspec
from hypothesis import given
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from services.query.accounts.sessions import (
    GRACE_MS,
    Session,
    Verdict,
    digest_of,
    judge,
    new_token,
    parse,
    turned,
)

KEY, ID = bytes(32), "ab" * 16
IDLE_MS, LASTS_MS = 10 * GRACE_MS, 60 * GRACE_MS


class Rotation(RuleBasedStateMachine):
    """Two people who have copies of tokens of one session show them in any order."""

    tokens = Bundle("tokens")

    @initialize(target=tokens)
    def begin(self) -> str:
        self.now = 10**12
        token, digest = new_token(KEY, ID, os.urandom)
        self.session = Session(
            id=ID,
            account="a",
            network="local",
            begun_ms=self.now,
            used_ms=self.now,
            ends_ms=self.now + LASTS_MS,
            digest=digest,
        )
        self.current, self.previous, self.previous_since = token, "", 0
        self.used = self.now
        self.ended = False
        return token

    @rule(by_ms=st.sampled_from([0, 1, GRACE_MS // 2, GRACE_MS, IDLE_MS - 1, IDLE_MS]))
    def wait(self, by_ms: int) -> None:
        self.now += by_ms

    @rule(target=tokens, token=tokens)
    def show(self, token: str) -> str:
        parsed = parse(KEY, token)
        assert parsed is not None
        verdict = judge(self.session, parsed[1], self.now, IDLE_MS)
        assert verdict is self.expected(token)
        if verdict is Verdict.REUSED:
            self.ended = True
            self.session = msgspec.structs.replace(self.session, ended_ms=self.now)
        if verdict not in (Verdict.TURN, Verdict.AGAIN):
            return token
        following, digest = new_token(KEY, ID, os.urandom)
        self.session = turned(self.session, verdict, digest, self.now)
        if verdict is Verdict.TURN:
            self.previous, self.previous_since = self.current, self.now
        self.current, self.used = following, self.now
        return following

    def expected(self, token: str) -> Verdict:
        if self.ended or self.now >= self.used + IDLE_MS or self.now >= 10**12 + LASTS_MS:
            return Verdict.OVER
        if token == self.current:
            return Verdict.TURN
        if token == self.previous and self.now < self.previous_since + GRACE_MS:
            return Verdict.AGAIN
        return Verdict.REUSED

    @invariant()
    def one_token_counts(self) -> None:
        if hasattr(self, "session"):
            parsed = parse(KEY, self.current)
            assert parsed is not None
            assert self.session.digest == parsed[1]


TestRotation = Rotation.TestCase


@given(st.text(max_size=120))
def test_what_we_did_not_give_out_is_none_of_ours(text: str) -> None:
    assert parse(KEY, text) is None


@given(st.integers(0, 104), st.characters(codec="ascii"))
def test_a_changed_token_is_none_of_ours(place: int, character: str) -> None:
    token, _ = new_token(KEY, ID, os.urandom)
    changed = token[:place] + character + token[place + 1 :]
    assert (parse(KEY, changed) is None) == (changed != token)


def test_a_token_is_kept_as_its_digest_alone() -> None:
    token, digest = new_token(KEY, ID, os.urandom)
    assert parse(KEY, token) == (ID, digest)
    assert digest == digest_of(token.split("_", 2)[2][:43])
    assert parse(bytes(31) + b"x", token) is None
