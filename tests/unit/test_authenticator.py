"""Who calls, told by whatever they show: what counts, and everything that does not."""

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey
from structlog.testing import capture_logs

from services.runtime.access.authenticator import REFUSED, Authenticator
from services.runtime.access.tokens import PINNED
from services.runtime.access.values import (
    NOBODY,
    Account,
    AccountKind,
    AccountStatus,
    Means,
    Principal,
    Role,
)
from services.runtime.errors import UnavailableError
from services.runtime.merchants.api_keys import new_key
from services.runtime.merchants.directory import Directory, Staleness
from services.runtime.merchants.errors import ForbiddenError, UnauthenticatedError
from tests.memory_accounts import KEY, OPERATOR, MemoryAccounts, authenticator, claims_of, token_of
from tests.memory_registry import MemoryRegistry
from tests.unit.collector_builders import NOW_MS, counted
from tests.unit.registry_builders import registered

MERCHANT = 7
STRANGER = OKPKey.generate_key("Ed25519", {"kid": KEY.kid})


class World:
    """An authenticator over memory; `now_s` moves its clock."""

    def __init__(self, **more: Any) -> None:
        self.registry, self.accounts, self.now_s = MemoryRegistry(), MemoryAccounts(), 0.0
        registered(self.registry, MERCHANT)
        kept, self.key = new_key(MERCHANT, "", 0, counted())
        self.registry.rows[kept.id] = kept
        self.key_id = kept.id
        clock_s = lambda: self.now_s  # noqa: E731 - used three times, here alone
        now_ms = lambda: NOW_MS + int(self.now_s * 1000)  # noqa: E731
        directory = Directory(self.registry, Staleness(2, 0), clock_s, now_ms)  # type: ignore[arg-type]
        self.known: Authenticator = authenticator(directory, self.accounts, clock_s, now_ms, **more)

    async def who(self, credential: str = "", *names: str) -> Principal:
        headers = [("authorization", f"Bearer {credential}")] if credential else []
        return await self.known.principal(headers, names)

    async def refused(self, credential: str, *names: str) -> str:
        """See that it is refused in the words that all are; gives what the log says."""
        with capture_logs() as logs, pytest.raises(UnauthenticatedError) as raised:
            await self.who(credential, *names)
        assert str(raised.value) == REFUSED
        assert raised.value.invalid
        assert credential not in str(logs)
        return str(logs[-1]["why"])


@pytest.fixture
def world() -> World:
    return World()


async def test_who_shows_nothing_is_nobody(world: World) -> None:
    assert await world.who() == NOBODY
    assert await world.who("", "unknown.example") == NOBODY


async def test_an_api_key_is_its_merchant(world: World) -> None:
    who = await world.who(world.key)
    assert (who.means, who.name, who.roles, who.merchant) == (
        Means.API_KEY,
        "merchant:7",
        frozenset({Role.MERCHANT}),
        MERCHANT,
    )
    del world.registry.rows[world.key_id]
    assert await world.who(world.key) == who  # for two seconds
    world.now_s = 2.1
    await world.refused(world.key)


async def test_the_operators_token_is_an_operator(world: World) -> None:
    who = await world.who(OPERATOR)
    assert (who.means, who.name, who.roles) == (Means.OPERATOR_TOKEN, "operator", frozenset({Role.OPERATOR}))
    await world.refused(OPERATOR[:-1])
    without = World()
    without.known._operator_token = b""
    await without.refused(OPERATOR)


async def test_roles_and_merchant_count_as_the_account_has_them(world: World) -> None:
    ann = world.accounts.add("ann", Role.MERCHANT, merchant=MERCHANT)
    token = token_of(ann, NOW_MS, roles=["operator"], merchant=99, name="somebody")
    who = await world.who(token)
    assert (who.means, who.account, who.name, who.merchant) == (Means.TOKEN, ann.id, "ann", MERCHANT)
    assert (who.roles, who.session) == (frozenset({Role.MERCHANT}), "session of ann")
    world.accounts.add("ann", Role.SHOPPER, merchant=MERCHANT)
    world.now_s = 2.1
    who = await world.who(token)
    assert (who.roles, who.merchant) == (frozenset({Role.SHOPPER}), 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": AccountStatus.DISABLED}, "disabled"),
        ({"valid_from_ms": NOW_MS + 1}, "issued before"),
        (None, "not there"),
    ],
)
async def test_an_account_that_changed_is_out_within_seconds(
    world: World, change: dict[str, Any] | None, why: str
) -> None:
    ann = world.accounts.add("ann", Role.SHOPPER)
    known = await world.known.known([("authorization", f"Bearer {token_of(ann, NOW_MS)}")])
    if change is None:
        del world.accounts.accounts[ann.id]
    else:
        world.accounts.add("ann", Role.SHOPPER, **change)
    assert await known.again() == known.who
    world.now_s = 2.1
    assert why in await world.refused(token_of(ann, NOW_MS))
    with pytest.raises(UnauthenticatedError):
        await known.again()


async def test_a_token_issued_after_a_change_meets_it_at_once(world: World) -> None:
    ann = world.accounts.add("ann")  # with a password that is to be changed: no roles yet
    assert not (await world.who(token_of(ann, NOW_MS))).roles
    ann = world.accounts.add("ann", Role.SHOPPER)
    assert (await world.who(token_of(ann, NOW_MS + 1))).roles == {Role.SHOPPER}
    assert not (await world.who(token_of(ann, NOW_MS))).roles  # for two seconds


async def test_a_session_that_ended_is_out_within_seconds(world: World) -> None:
    ann = world.accounts.add("ann", Role.SHOPPER)
    token = token_of(ann, NOW_MS)
    await world.who(token)
    world.accounts.sessions.clear()
    world.now_s = 2.1
    assert "session" in await world.refused(token)
    assert "session" in await world.refused(token_of(ann, NOW_MS, sid=None))


async def test_what_goes_on_outlives_its_token_but_not_its_session(world: World) -> None:
    ann = world.accounts.add("ann", Role.SHOPPER)
    known = await world.known.known([("authorization", f"Bearer {token_of(ann, NOW_MS)}")])
    world.now_s = 400.0
    assert await known.again() == known.who
    await world.refused(token_of(ann, NOW_MS))
    world.accounts.sessions.clear()
    world.now_s = 403.0
    with pytest.raises(UnauthenticatedError, match=REFUSED):
        await known.again()


async def test_a_service_account_has_no_session(world: World) -> None:
    shop = world.accounts.add("shop", Role.PLATFORM, kind=AccountKind.SERVICE, certificate="shop.example")
    assert (await world.who(token_of(shop, NOW_MS))).roles == {Role.PLATFORM}
    who = await world.who("", "other.example", "shop.example")
    assert (who.means, who.account) == (Means.CERTIFICATE, shop.id)
    world.accounts.add("ann", Role.OPERATOR, certificate="ann.example")
    assert await world.who("", "ann.example") == NOBODY  # a person shows no certificate
    assert (await world.who(OPERATOR, "shop.example")).means is Means.OPERATOR_TOKEN
    await world.refused("nonsense", "shop.example")


async def test_a_certificate_that_is_taken_from_its_account_ends_what_goes_on(world: World) -> None:
    world.accounts.add("shop", Role.PLATFORM, kind=AccountKind.SERVICE, certificate="shop.example")
    known = await world.known.known([], ["shop.example"])
    assert known.who.name == "shop"
    world.accounts.add("shop", Role.PLATFORM, kind=AccountKind.SERVICE)
    world.now_s = 2.1
    with pytest.raises(UnauthenticatedError):
        await known.again()


async def test_a_suspended_merchant_is_told_so(world: World) -> None:
    ann = world.accounts.add("ann", Role.MERCHANT, merchant=MERCHANT)
    registered(world.registry, MERCHANT, suspended=True)
    for credential in (world.key, token_of(ann, NOW_MS)):
        with pytest.raises(ForbiddenError, match="suspended"):
            await world.who(credential)


async def test_where_the_store_is_away_nobody_new_is_known(world: World) -> None:
    ann = world.accounts.add("ann", Role.SHOPPER)
    world.accounts.away = True
    with pytest.raises(UnavailableError):
        await world.who(token_of(ann, NOW_MS))


def plain(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def confused(account: Account) -> str:
    """Signed by HMAC with the public key's text as its secret."""
    text = f"{plain({'alg': 'HS256', 'typ': 'at+jwt', 'kid': KEY.kid})}.{plain(claims_of(account, NOW_MS))}"
    mac = hmac.digest(KEY.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


FORGED: dict[str, Callable[[Account], str]] = {
    "alg none": lambda ann: f"{plain({'alg': 'none', 'kid': KEY.kid})}.{plain(claims_of(ann, NOW_MS))}.",
    "wrong key": lambda ann: token_of(ann, NOW_MS, key=STRANGER),
    "wrong audience": lambda ann: token_of(ann, NOW_MS, aud="somebody"),
    "wrong issuer": lambda ann: token_of(ann, NOW_MS, iss="https://evil.example"),
    "key confusion": confused,
    "expired": lambda ann: token_of(ann, NOW_MS, exp=NOW_MS // 1000 - 31),
    "no end": lambda ann: token_of(ann, NOW_MS, exp=None),
    "not yet": lambda ann: token_of(ann, NOW_MS, nbf=NOW_MS // 1000 + 31),
    "another kind": lambda ann: token_of(ann, NOW_MS, header={"typ": "JWT"}),
    "no kind": lambda ann: jwt.encode(
        {"alg": "EdDSA", "kid": KEY.kid}, claims_of(ann, NOW_MS), KEY, registry=PINNED
    ),
    "no subject": lambda ann: token_of(ann, NOW_MS, sub=None),
    "no time in milliseconds": lambda ann: token_of(ann, NOW_MS, iat_ms=None),
    "subject that is none": lambda ann: token_of(ann, NOW_MS, sub={"$ne": ""}),
    "other claims": lambda ann: ".".join(
        [
            token_of(ann, NOW_MS).split(".")[0],
            plain(claims_of(ann, NOW_MS, sub="0" * 32)),
            token_of(ann, NOW_MS).split(".")[2],
        ]
    ),
    "no API key": lambda _: "gst_",
    "a stranger's API key": lambda _: f"gst_{'0' * 16}_{'A' * 43}",
    "too long": lambda ann: token_of(ann, NOW_MS) + "A" * 9000,
    "text": lambda _: "a.b.c",
}
"""Ways to forge a credential, each of which must be refused in the same words."""


@pytest.mark.parametrize("name", FORGED)
async def test_what_is_forged_is_refused_in_the_same_words(world: World, name: str) -> None:
    ann = world.accounts.add("ann", Role.OPERATOR)
    await world.who(token_of(ann, NOW_MS))
    await world.refused(FORGED[name](ann))


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Basic YTpi")],
        [("authorization", f"Bearer {OPERATOR}"), ("x-api-key", OPERATOR)],
        [("authorization", f"Bearer {OPERATOR}"), ("authorization", f"Bearer {OPERATOR}")],
        [("authorization", "Bearer ")],
        [("x-api-key", "\u00e4")],
    ],
)
async def test_one_credential_is_shown_as_it_must_be(world: World, headers: list[tuple[str, str]]) -> None:
    with pytest.raises(UnauthenticatedError, match=REFUSED):
        await world.known.principal(headers)


class Provider:
    """An identity provider whose tokens all name the same."""

    issuer = "https://idp.example"

    async def principal(self, token: str) -> Principal:
        del token
        return Principal(means=Means.OIDC, name=f"ann@{self.issuer}", roles=frozenset({Role.AUDITOR}))


async def test_a_token_goes_to_the_issuer_that_it_names() -> None:
    world = World(oidc=Provider())
    ann = world.accounts.add("ann", Role.SHOPPER)
    assert (await world.who(token_of(ann, NOW_MS, iss=Provider.issuer))).means is Means.OIDC
    assert (await world.who(token_of(ann, NOW_MS))).means is Means.TOKEN
    await world.refused(token_of(ann, NOW_MS, iss="https://idp.example/"))
    for text in ("a.b.c", ".é.", f"a.{plain([])}.c", f"a.{plain({'iss': 1})}.c"):
        with pytest.raises(UnauthenticatedError):
            await world.who(text)
