"""JSON Web Tokens: which count, and every known way to forge one."""

import base64
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from services.runtime.access.jwks import Jwks
from services.runtime.access.tokens import PINNED, PublicKey, TokenRules, Tokens, public_key
from services.runtime.access.values import Role
from services.runtime.errors import UnavailableError
from services.runtime.merchants.errors import UnauthenticatedError
from tests.memory_accounts import token_of
from tests.unit.collector_builders import NOW_MS, document, object_event
from tests.unit.registry_builders import registry

NOW_S = NOW_MS // 1000
RULES = TokenRules("https://idp.example", "goodstrace", skew_s=30)
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
STRANGER = OKPKey.generate_key("Ed25519", {"kid": "ed"})
ALGORITHMS = {"ed": "EdDSA", "ec": "ES256", "rsa": "RS256"}


def claims(**changes: Any) -> dict[str, Any]:
    told = {"iss": RULES.issuer, "aud": RULES.audience, "sub": "7", "exp": NOW_S + 60, **changes}
    return {name: value for name, value in told.items() if value is not None}


def signed(key: Any = ED, header: dict[str, Any] | None = None, **changes: Any) -> str:
    told = {"alg": ALGORITHMS[key.kid], "kid": key.kid, **(header or {})}
    return jwt.encode(told, claims(**changes), key, registry=PINNED)


class Keys:
    async def find(self, kid: str) -> PublicKey | None:
        return {key.kid: public_key(key.as_dict(private=False)) for key in (ED, EC, RSA)}.get(kid)


TOKENS = Tokens(RULES, Keys(), lambda: NOW_MS)


@pytest.mark.parametrize("key", [ED, EC, RSA], ids=lambda key: key.kid)
async def test_each_kind_of_key_counts(key: Any) -> None:
    assert (await TOKENS.claims(signed(key)))["sub"] == "7"
    assert (await TOKENS.claims(signed(key, sub="12", aud=["other", "goodstrace"])))["sub"] == "12"


async def test_ed25519_counts_by_its_newer_name() -> None:
    assert (await TOKENS.claims(signed(header={"alg": "Ed25519"})))["sub"] == "7"


async def test_a_token_counts_within_the_skew_and_no_longer() -> None:
    assert (await TOKENS.claims(signed(exp=NOW_S - 29, nbf=NOW_S + 30, iat=NOW_S + 30)))["sub"] == "7"


def plain(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def confused() -> str:
    """Signed by HMAC with the public key's text as its secret."""
    signed = f"{plain({'alg': 'HS256', 'kid': 'rsa'})}.{plain(claims())}"
    mac = hmac.digest(RSA.as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


FORGED = {
    "expired": lambda: signed(exp=NOW_S - 30),
    "no end": lambda: signed(exp=None),
    "not yet": lambda: signed(nbf=NOW_S + 31),
    "issued later": lambda: signed(iat=NOW_S + 31),
    "other issuer": lambda: signed(iss="https://evil.example"),
    "no issuer": lambda: signed(iss=None),
    "other audience": lambda: signed(aud="somebody"),
    "no audience": lambda: signed(aud=None),
    "alg none": lambda: f"{plain({'alg': 'none', 'kid': 'ed'})}.{plain(claims())}.",
    "alg none, signed": lambda: ".".join([plain({"alg": "none", "kid": "ed"}), *signed().split(".")[1:]]),
    "key confusion": confused,
    "unknown kid": lambda: signed(header={"kid": "nobody"}),
    "no kid": lambda: ".".join([plain({"alg": "EdDSA"}), *signed().split(".")[1:]]),
    "other key": lambda: signed(STRANGER),
    "other kind of key": lambda: ".".join([plain({"alg": "ES256", "kid": "ed"}), *signed().split(".")[1:]]),
    "critical extension": lambda: ".".join(
        [plain({"alg": "EdDSA", "kid": "ed", "crit": ["x"], "x": 1}), *signed().split(".")[1:]]
    ),
    "other claims": lambda: ".".join(
        [signed().split(".")[0], plain(claims(sub="8")), signed().split(".")[2]]
    ),
    "no signature": lambda: signed().rpartition(".")[0] + ".",
    "no claims": lambda: jwt.encode({"alg": "EdDSA", "kid": "ed"}, {}, ED, registry=PINNED),
    "encrypted": lambda: "a.b.c.d.e",
    "too long": lambda: signed() + "A" * 9000,
}


@pytest.mark.parametrize("name", list(FORGED))
async def test_forged_tokens_do_not_count(name: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await TOKENS.claims(FORGED[name]())


@given(
    st.one_of(st.text(max_size=60), st.binary(max_size=60).map(lambda data: f"{plain(data.hex())}.e30.e30"))
)
async def test_any_text_is_a_token_or_refused(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await TOKENS.claims(text)


def test_keys_that_are_weak_or_secret_or_for_something_else_are_not_taken() -> None:
    good = ED.as_dict(private=False)
    assert public_key(good) is not None
    for bad in (
        {**good, "use": "enc"},
        {**good, "alg": "HS256"},
        ED.as_dict(private=True),
        {"kty": "oct", "k": "AAAA", "kid": "x"},
        ECKey.generate_key("P-384").as_dict(private=False),
        {"kty": "RSA", "n": plain("n" * 60), "e": "AQAB"},
        {"kty": "OKP"},
        "text",
    ):
        assert public_key(bad) is None


async def test_a_merchant_captures_with_a_token() -> None:
    async with registry() as here:
        number, _ = await here.merchant()
        body = document(object_event())
        ann = here.accounts.add("ann", Role.MERCHANT, merchant=number)
        lost = here.accounts.add("lost", Role.MERCHANT, merchant=99)
        assert (await here.capture(body, token_of(ann, NOW_MS))).status_code == 202
        assert (await here.capture(body, token_of(lost, NOW_MS))).status_code == 401
        assert (await here.capture(body, token_of(ann, NOW_MS, exp=NOW_S - 31))).status_code == 401


async def test_a_token_for_something_else_does_not_count() -> None:
    tokens = Tokens(TokenRules(RULES.issuer, RULES.audience, typ="at+jwt"), Keys(), lambda: NOW_MS)
    for typ in ("at+jwt", "AT+JWT", "application/at+jwt"):
        assert (await tokens.claims(signed(header={"typ": typ})))["sub"] == "7"
    for other in ({}, {"typ": "JWT"}, {"typ": "refresh+jwt"}):
        with pytest.raises(UnauthenticatedError):
            await tokens.claims(signed(header=other))


async def test_keys_are_read_again_when_one_is_unknown_and_the_place_is_left_alone_meanwhile(
    tmp_path: Path,
) -> None:
    now_s, place = [0.0], tmp_path / "jwks.json"
    jwks = Jwks(str(place), lambda: now_s[0])
    with pytest.raises(UnavailableError):
        await jwks.find("ed")
    place.write_text(json.dumps({"keys": [ED.as_dict(private=False), {"kty": "oct", "k": "AA", "kid": "x"}]}))
    with pytest.raises(UnavailableError):
        await jwks.find("ed")  # asked within ten seconds
    now_s[0] = 10.0
    assert await jwks.find("ed") is not None
    assert await jwks.find("x") is None
    place.write_text(json.dumps({"keys": [EC.as_dict(private=False)]}))
    assert await jwks.find("ec") is None
    now_s[0] = 20.0
    assert await jwks.find("ec") is not None
    assert await jwks.find("ed") is None  # taken back by the issuer
    place.unlink()
    now_s[0] = 1000.0
    assert await jwks.find("ec") is not None  # what was read counts while nothing can be read
