"""Signing secrets of webhooks as the store keeps them: under the login secret alone, and what an earlier release has locked is locked anew."""

import asyncio
import hmac
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Receiver

from services.query.accounts.secret_keys import SecretKeys
from services.query.webhooks.locking import SecretLock
from services.query.webhooks.relocking import opened, relock
from services.query.webhooks.signing import secret_text
from services.query.webhooks.values import Locked, Sees, State, Under
from services.runtime.aead import Aead
from services.runtime.errors import UnavailableError
from services.sealing.errors import CorruptError
from tests.unit.collector_builders import SECRET
from tests.unit.visible_world import SHOP
from tests.unit.webhook_world import HOOK_SECRET, LOCK, NAME, Hooked

OF_EARLIER_RELEASE = Locked(
    bytes.fromhex(
        "000102030405060708090a0b6dc09d68cf98556023aba4215fa223a96b9c5fe38ca2e04f"
        "109f55aad266337db9eaf818a3ba1423b50f3ff0563ec0f6"
    ),
    Under.INDEX,
)
"""HOOK_SECRET of the webhook NAME as the release before has locked it, under the index secret SECRET."""
LOGIN, OTHER = b"l" * 32, b"o" * 32
LOG = structlog.get_logger()


def lock_of(login_secret: bytes, index_secret: bytes) -> SecretLock:
    return SecretLock(SecretKeys(login_secret), index_secret)


def hooked(kept: Locked) -> Hooked:
    """A webhook of the shop's, its secret kept as is said."""
    made = Hooked({})
    made.subscribe(made.key_of(SHOP), Sees.OWNER, locked=kept)
    return made


# ---- locked and unlocked


@given(st.binary(min_size=32, max_size=32), st.text(max_size=40), st.binary(min_size=24, max_size=64))
def test_what_is_locked_opens_for_that_webhook_under_that_login_secret_alone(
    login_secret: bytes, name: str, secret: bytes
) -> None:
    kept = lock_of(login_secret, SECRET).locked(name, secret)
    assert kept.under is Under.LOGIN
    assert secret not in kept.data
    assert lock_of(login_secret, OTHER).unlocked(name, kept) == secret, "the index secret has no part in it"
    flipped = bytes((kept.data[0] ^ 1,)) + kept.data[1:]
    for key, of, data in (
        (bytes(each ^ 1 for each in login_secret), name, kept.data),
        (login_secret, name + "2", kept.data),
        (login_secret, name, flipped),
        (login_secret, name, kept.data[:-1]),
        (login_secret, name, b""),
    ):
        with pytest.raises(CorruptError, match="another login secret; put that one back, or resume"):
            lock_of(key, SECRET).unlocked(of, Locked(data))


@given(st.binary(min_size=24, max_size=64))
def test_who_has_the_index_secret_opens_none(secret: bytes) -> None:
    kept = lock_of(LOGIN, SECRET).locked(NAME, secret)
    with pytest.raises(CorruptError):  # as the release before did it
        lock_of(OTHER, SECRET).unlocked(NAME, msgspec.structs.replace(kept, under=Under.INDEX))
    with pytest.raises(CorruptError):  # as we do it, the index secret taken for the login secret
        lock_of(SECRET, SECRET).unlocked(NAME, kept)
    for use in (b"goodstrace webhook secrets v1", b"goodstrace login v1: webhook secrets"):
        assert Aead(hmac.digest(SECRET, use, "sha256")).decrypted(kept.data, NAME.encode()) is None


def test_what_an_earlier_release_has_locked_opens_under_its_index_secret_alone() -> None:
    assert lock_of(OTHER, SECRET).unlocked(NAME, OF_EARLIER_RELEASE) == HOOK_SECRET
    with pytest.raises(CorruptError, match="another index secret; put that one back, or resume"):
        lock_of(OTHER, OTHER).unlocked(NAME, OF_EARLIER_RELEASE)
    with pytest.raises(CorruptError):
        lock_of(OTHER, SECRET).unlocked("cd" * 16, OF_EARLIER_RELEASE)
    with pytest.raises(CorruptError):
        lock_of(SECRET, SECRET).unlocked(NAME, Locked(OF_EARLIER_RELEASE.data))


@pytest.mark.parametrize("kept", [OF_EARLIER_RELEASE, LOCK.locked(NAME, HOOK_SECRET), Locked(b"nothing")])
def test_one_that_is_resumed_has_what_is_asked_for_else_its_own_else_a_new_one(kept: Locked) -> None:
    webhook, does_open = hooked(kept).store.webhook, kept.data != b"nothing"
    lock = lock_of(LOGIN, SECRET)
    for asked in (None, b"a" * 24):
        made, told = lock.signable(webhook, asked)
        assert made.locked.under is Under.LOGIN
        assert told == asked or not does_open, "its own is not told again"
        secret = HOOK_SECRET if told is None else told
        assert lock.unlocked(NAME, made.locked) == secret
        assert msgspec.structs.replace(made, locked=kept) == webhook
    assert does_open or lock.signable(webhook, None)[1] != lock.signable(webhook, None)[1]


# ---- locked anew


def test_it_is_locked_anew_at_the_start_and_once() -> None:
    shop = hooked(OF_EARLIER_RELEASE)
    store: Any = shop.store
    assert asyncio.run(relock(store, LOCK, LOG)) == 1
    anew = shop.store.webhook.locked
    assert anew.under is Under.LOGIN
    assert LOCK.unlocked(NAME, anew) == HOOK_SECRET
    assert asyncio.run(relock(store, LOCK, LOG)) == 0
    assert shop.store.webhook.locked == anew


def test_one_of_another_installation_stays_and_holds_up_nothing() -> None:
    shop = hooked(OF_EARLIER_RELEASE)
    store: Any = shop.store
    assert asyncio.run(relock(store, lock_of(LOGIN, OTHER), LOG)) == 0
    assert shop.store.webhook.locked == OF_EARLIER_RELEASE


def test_whoever_is_second_replaces_nothing() -> None:
    shop = hooked(OF_EARLIER_RELEASE)
    store: Any = shop.store
    assert asyncio.run(opened(store, LOCK, NAME, OF_EARLIER_RELEASE)) == HOOK_SECRET
    anew = shop.store.webhook.locked
    late = lock_of(LOGIN, SECRET)  # it had read the old one before
    assert asyncio.run(opened(store, late, NAME, OF_EARLIER_RELEASE)) == HOOK_SECRET
    assert shop.store.webhook.locked == anew


def test_a_delivery_signs_by_it_and_locks_it_anew() -> None:
    shop = hooked(OF_EARLIER_RELEASE)
    shop.store.away = True
    with pytest.raises(UnavailableError):
        asyncio.run(opened(shop.store, LOCK, NAME, OF_EARLIER_RELEASE))  # type: ignore[arg-type]
    assert shop.store.webhook.locked == OF_EARLIER_RELEASE
    shop.store.away = False
    shop.turn()
    assert shop.delivered
    [(_, body, _)], [headers] = shop.receiver.attempts, shop.receiver.headers
    Receiver(secret_text(HOOK_SECRET)).verify(body, headers, json_parse=False)
    assert shop.store.webhook.locked.under is Under.LOGIN
    assert LOCK.unlocked(NAME, shop.store.webhook.locked) == HOOK_SECRET


# ---- one that does not open


@pytest.mark.parametrize(
    "kept",
    [lock_of(OTHER, SECRET).locked(NAME, HOOK_SECRET), Locked(OF_EARLIER_RELEASE.data[:-1], Under.INDEX)],
)
def test_nothing_is_looked_at_for_one_that_does_not_open_and_it_goes_on_once_it_does(kept: Locked) -> None:
    shop = hooked(kept)
    shop.turn()
    assert not shop.receiver.attempts
    assert not shop.world.browses
    assert shop.progress.state is State.ACTIVE, "the right login secret may come back"
    assert shop.progress.failures == 1
    assert shop.progress.next_ms > 0, "not again at once"
    assert "resume the webhook" in shop.progress.last_error
    assert shop.store.webhook.locked == kept
    shop.store.webhook = msgspec.structs.replace(shop.store.webhook, locked=LOCK.locked(NAME, HOOK_SECRET))
    shop.turn()
    assert shop.delivered
    assert shop.progress.failures == 0
