"""Tokens of the platform's identity provider: who counts as what, and every way to be taken for somebody else."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from services.runtime.access import jwks as jwks_module
from services.runtime.access.jwks import MAX_BYTES, Jwks
from services.runtime.access.oidc import OidcTokens
from services.runtime.access.settings import OidcSettings
from services.runtime.access.tokens import PINNED
from services.runtime.access.values import Means, Role
from services.runtime.errors import SettingsError, UnavailableError
from services.runtime.merchants.errors import UnauthenticatedError

ISSUER = "https://idp.example/realms/shop"
NOW_S = 1_750_000_000
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
EC = ECKey.generate_key("P-256", {"kid": "rsa"})  # of another kind, by the same ID
ALGORITHMS = {"RSA": "RS256", "OKP": "EdDSA", "EC": "ES256"}


class Provider:
    """An identity provider in memory, in the place of the network: its configuration, its keys, and whether it is there."""

    def __init__(self, *keys: Any) -> None:
        self.keys: list[Any] = list(keys)
        self.configuration: dict[str, Any] = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        self.answers: dict[str, Callable[[], httpx.Response]] = {
            f"{ISSUER}/.well-known/openid-configuration": lambda: httpx.Response(
                200, json=self.configuration
            ),
            f"{ISSUER}/keys": lambda: httpx.Response(
                200, json={"keys": [key.as_dict(private=False) for key in self.keys]}
            ),
        }
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        self.asked.append(url)
        if url not in self.answers:
            raise httpx.ConnectError("nobody is there", request=request)
        return self.answers[url]()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    made = Provider(RSA)
    ordinary = httpx.AsyncClient

    def client(**options: Any) -> httpx.AsyncClient:
        return ordinary(transport=httpx.MockTransport(made), **options)

    monkeypatch.setattr(jwks_module.httpx, "AsyncClient", client)
    return made


class World:
    """A verifier, and time."""

    def __init__(self, **settings: Any) -> None:
        self.now_s = 0.0
        told: dict[str, Any] = {"issuer": ISSUER, "audience": "goodstrace", **settings}
        self.tokens = OidcTokens(
            OidcSettings(**told), lambda: self.now_s, lambda: int((NOW_S + self.now_s) * 1000)
        )

    async def principal(self, token: str) -> Any:
        return await self.tokens.principal(token)


def token(key: Any = RSA, header: dict[str, Any] | None = None, **changes: Any) -> str:
    told = {
        "iss": ISSUER,
        "aud": "goodstrace",
        "sub": "u-1",
        "exp": NOW_S + 60,
        "groups": ["auditor"],
        **changes,
    }
    claims = {name: value for name, value in told.items() if value is not None}
    made = {"alg": ALGORITHMS[key.key_type], "kid": key.kid, **(header or {})}
    return jwt.encode(made, claims, key, registry=PINNED)


async def test_who_shows_a_token_is_known_by_its_claims(provider: Provider) -> None:
    who = await World().principal(token(preferred_username="ann"))
    assert (who.means, who.name, who.account, who.session) == (Means.OIDC, "ann@idp.example", "", "")
    assert who.roles == {Role.AUDITOR}
    assert (await World().principal(token(email="a@b.example"))).name == "a@b.example@idp.example"
    assert (
        await World().principal(token(email="a@b.example", email_verified=False))
    ).name == "u-1@idp.example"
    assert (await World().principal(token())).name == "u-1@idp.example"
    assert World().tokens.issuer == ISSUER
    assert who.credential_id == (await World().principal(token())).credential_id == "u-1@idp.example"
    for subject in (None, "", "x" * 256):  # what is no text is no token
        assert (await World().principal(token(preferred_username="ann", sub=subject))).credential_id == ""


@pytest.mark.parametrize(
    ("settings", "claims", "roles", "merchant"),
    [
        ({}, {"groups": "operator"}, {Role.OPERATOR}, 0),
        ({}, {"groups": ["auditor", "shopper", "nonsense", 7]}, {Role.AUDITOR, Role.SHOPPER}, 0),
        ({}, {"groups": None}, set(), 0),
        ({}, {"groups": {"auditor": True}}, set(), 0),
        ({"shoppers": True}, {"groups": []}, {Role.SHOPPER}, 0),
        ({}, {"groups": ["merchant"], "merchant": 7}, {Role.MERCHANT}, 7),
        ({}, {"groups": ["merchant"], "merchant": "7"}, {Role.MERCHANT}, 7),
        ({}, {"groups": ["merchant"]}, set(), 0),
        ({}, {"groups": ["merchant"], "merchant": True}, set(), 0),
        ({}, {"groups": ["merchant"], "merchant": -7}, set(), 0),
        ({}, {"groups": ["merchant"], "merchant": "\u0667"}, set(), 0),
        ({}, {"groups": ["merchant"], "merchant": "9" * 5000}, set(), 0),
        ({}, {"groups": ["auditor"], "merchant": 7}, {Role.AUDITOR}, 0),
        (
            {"roles_claim": "realm_access.roles", "merchant_claim": "shop.number"},
            {"realm_access": {"roles": ["merchant"]}, "shop": {"number": 3}},
            {Role.MERCHANT},
            3,
        ),
        (
            {"roles_claim": "https://a.example/roles"},
            {"https://a.example/roles": ["auditor"]},
            {Role.AUDITOR},
            0,
        ),
        ({"roles_claim": "realm_access.roles"}, {"realm_access": ["auditor"]}, set(), 0),
        ({"roles": "/shop/staff=auditor, a=b=operator"}, {"groups": ["/shop/staff"]}, {Role.AUDITOR}, 0),
        ({"roles": "/shop/staff=auditor, a=b=operator"}, {"groups": ["a=b", "auditor"]}, {Role.OPERATOR}, 0),
    ],
)
async def test_roles_by_claim(
    provider: Provider, settings: dict[str, Any], claims: dict[str, Any], roles: set[Role], merchant: int
) -> None:
    who = await World(**settings).principal(token(**claims))
    assert (who.roles, who.merchant) == (roles, merchant)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": ["account", "goodstrace"], "azp": "web"},
        {"header": {"typ": "at+jwt"}},
        {"header": {"typ": "application/at+JWT"}},
        {"header": {"typ": "JWT"}, "typ": "Bearer"},
        {"typ": "ID", "nonce": "n"},
    ],
)
async def test_access_tokens_and_id_tokens_count(provider: Provider, changes: dict[str, Any]) -> None:
    assert (await World().principal(token(**changes))).is_any(Role.AUDITOR)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW_S - 31},
        {"exp": None},
        {"nbf": NOW_S + 31},
        {"iss": "https://idp.example/realms/other"},
        {"iss": ISSUER + "/"},
        {"aud": "another"},
        {"aud": None},
        {"aud": []},
        {"sub": None},
        {"sub": 7},
        {"sub": "x" * 5000},
        {"sub": "a\nb"},
        {"header": {"typ": "logout+jwt"}},
        {"header": {"typ": "dpop+jwt"}},
        {"typ": "Refresh"},
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        {"cnf": {"jkt": "x"}},
        {"header": {"kid": "unknown"}},
        {"header": {"jwk": ED.as_dict(private=False), "kid": "ed"}, "key": ED},
        {"header": {"jku": "https://evil.example/keys", "kid": "ed"}, "key": ED},
        {"key": EC},
        {"key": RSAKey.generate_key(2048, {"kid": "rsa"})},
    ],
)
async def test_tokens_that_do_not_count(provider: Provider, changes: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        await World().principal(token(**changes))
    assert all(url.startswith(ISSUER) for url in provider.asked)


@pytest.mark.parametrize(
    ("claims", "counts"),
    [
        ({"azp": "web"}, True),
        ({"client_id": "web"}, True),
        ({"aud": "goodstrace"}, False),
        ({"azp": "evil", "client_id": "web"}, False),
        ({"azp": ["web"]}, False),
        ({"aud": ["goodstrace", "web"]}, False),
    ],
)
async def test_only_the_clients_that_are_set_count(
    provider: Provider, claims: dict[str, Any], counts: bool
) -> None:
    world = World(clients="cli, web")
    if counts:
        await world.principal(token(**claims))
    else:
        with pytest.raises(UnauthenticatedError, match="client"):
            await world.principal(token(**claims))
    await World(clients="goodstrace").principal(token())


async def test_keys_are_found_by_the_configuration_and_followed_when_they_change(provider: Provider) -> None:
    world = World()
    await world.principal(token())
    assert provider.asked == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]
    await world.principal(token())
    assert len(provider.asked) == 2
    provider.keys = [ED]
    world.now_s = 11
    await world.principal(token(ED))
    with pytest.raises(UnauthenticatedError):
        await world.principal(token())
    assert len(provider.asked) == 4  # and not once for each token by an unknown key


async def test_many_unknown_keys_at_once_ask_the_issuer_once(provider: Provider) -> None:
    world = World()
    tokens = [token(header={"kid": f"k{number}"}) for number in range(20)]
    refused = await asyncio.gather(*map(world.principal, tokens), return_exceptions=True)
    assert all(isinstance(each, UnauthenticatedError) for each in refused)
    assert len(provider.asked) == 2


@pytest.mark.parametrize(
    "configuration",
    [
        {"issuer": "https://evil.example", "jwks_uri": f"{ISSUER}/keys"},
        {"issuer": ISSUER + "/", "jwks_uri": f"{ISSUER}/keys"},
        {"issuer": ISSUER, "jwks_uri": "http://idp.example/keys"},
        {"issuer": ISSUER, "jwks_uri": "/etc/passwd"},
        {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"},
        {"issuer": ISSUER},
        {"issuer": ISSUER, "jwks_uri": ["x"]},
    ],
)
async def test_a_configuration_of_another_issuer_or_with_unsafe_keys_is_none(
    provider: Provider, configuration: dict[str, Any]
) -> None:
    provider.configuration = configuration
    with pytest.raises(UnavailableError):
        await World().principal(token())


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(200, content=b'{"keys": [' + b" " * MAX_BYTES + b"]}"),
        lambda: httpx.Response(200, content=b"[" * 100_000),
        lambda: httpx.Response(200, content=b"\xff"),
        lambda: httpx.Response(302, headers={"Location": "https://evil.example/keys"}),
        lambda: httpx.Response(500),
    ],
)
async def test_keys_that_are_too_many_or_none(
    provider: Provider, answer: Callable[[], httpx.Response]
) -> None:
    provider.answers[f"{ISSUER}/keys"] = answer
    with pytest.raises(UnavailableError):
        await World().principal(token())
    assert "https://evil.example/keys" not in provider.asked


async def test_while_the_issuer_is_away_its_keys_of_before_count_and_no_others(provider: Provider) -> None:
    world = World()
    await world.principal(token())
    provider.answers.clear()
    world.now_s = 400
    late = {"exp": NOW_S + 460}
    assert (await world.principal(token(**late))).is_any(Role.AUDITOR)
    with pytest.raises(UnauthenticatedError):
        await world.principal(token(ED, **late))
    with pytest.raises(UnavailableError):
        await World().principal(token())


async def test_keys_from_a_file_are_not_looked_for_elsewhere(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [ED.as_dict(private=False)]}))
    world = World(jwks=str(tmp_path / "jwks.json"))
    await world.principal(token(ED))
    assert provider.asked == []


async def test_an_issuer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip(place: str) -> bytes:
        await asyncio.sleep(60)
        return b""

    monkeypatch.setattr(jwks_module, "_read", drip)
    monkeypatch.setattr(jwks_module, "_TIMEOUT_S", 0.01)
    with pytest.raises(UnavailableError):
        await Jwks.of_issuer(ISSUER, lambda: 0.0).find("rsa")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"issuer": "http://idp.example"}, "ISSUER"),
        ({"issuer": "idp.example"}, "ISSUER"),
        ({"issuer": "https://idp.example?x"}, "ISSUER"),
        ({"audience": ""}, "AUDIENCE"),
        ({"jwks": "http://idp.example/keys"}, "JWKS"),
        ({"roles": "staff"}, "ROLES"),
        ({"roles": "staff=king"}, "ROLES"),
        ({"roles": "staff=anybody"}, "ROLES"),
        ({"roles": "staff=auditor,staff=operator"}, "ROLES"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingsError, match=f"GOODSTRACE_OIDC_{name}"):
        World(**settings)
