"""The keys that sign access tokens: which one signs, which ones are published. Pure; `key_ring` reads and writes the files.

A new key is published PUBLISHED_MS before it signs: whoever verifies reads the key set every five minutes. The one before stays published
until the last token that it signed has ended.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec
from joserfc import jwt
from joserfc.jwk import OKPKey

from services.runtime.access.tokens import PINNED
from services.runtime.access.values import Role

PUBLISHED_MS: Final = 10 * 60_000
MARGIN_MS: Final = 2 * 60_000
"""How much longer than its last token a key stays published: clocks differ."""


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key at rest: a private JSON Web Key (Ed25519, RFC 8037) with two members of our own, in Unix ms."""

    kid: str
    x: str
    d: str
    made_ms: int
    signs_from_ms: int
    kty: str = "OKP"
    crv: str = "Ed25519"

    def __repr__(self) -> str:
        return f"SigningKey({self.kid!r})"

    def public(self) -> dict[str, str]:
        """Give the public JSON Web Key."""
        return {
            "kty": self.kty,
            "crv": self.crv,
            "x": self.x,
            "kid": self.kid,
            "use": "sig",
            "alg": "EdDSA",
        }


class State(StrEnum):
    """What a key is now."""

    NEXT = "next"
    SIGNING = "signing"
    ENDING = "ending"
    ENDED = "ended"


def new_key(now_ms: int, signs_from_ms: int) -> SigningKey:
    """Make a key; its ID is the thumbprint of RFC 7638, and none that a command line would take for an option."""
    made = OKPKey.generate_key("Ed25519", private=True, auto_kid=False)
    while made.thumbprint().startswith("-"):
        made = OKPKey.generate_key("Ed25519", private=True, auto_kid=False)
    parts = made.as_dict(private=True)
    return SigningKey(
        kid=made.thumbprint(),
        x=str(parts["x"]),
        d=str(parts["d"]),
        made_ms=now_ms,
        signs_from_ms=signs_from_ms,
    )


def states(keys: Sequence[SigningKey], now_ms: int, tokens_last_ms: int) -> dict[str, State]:
    """Tell what each key is now, by its ID, oldest first."""
    ordered = sorted(keys, key=lambda key: (key.signs_from_ms, key.kid))
    begun = [key for key in ordered if key.signs_from_ms <= now_ms]
    found: dict[str, State] = {}
    for number, key in enumerate(begun):
        if number == len(begun) - 1:
            found[key.kid] = State.SIGNING
        else:
            gone_ms = begun[number + 1].signs_from_ms + tokens_last_ms + MARGIN_MS
            found[key.kid] = State.ENDING if now_ms < gone_ms else State.ENDED
    return found | {key.kid: State.NEXT for key in ordered if key.signs_from_ms > now_ms}


def signing(keys: Sequence[SigningKey], now_ms: int) -> SigningKey | None:
    """Give the key that signs now; None where there is none."""
    begun = [key for key in keys if key.signs_from_ms <= now_ms]
    return max(begun, key=lambda key: (key.signs_from_ms, key.kid), default=None)


def key_set(keys: Sequence[SigningKey], now_ms: int, tokens_last_ms: int) -> bytes:
    """Give the key set to be published (RFC 7517 section 5)."""
    known = states(keys, now_ms, tokens_last_ms)
    shown = sorted((key for key in keys if known[key.kid] is not State.ENDED), key=lambda key: key.made_ms)
    return msgspec.json.encode({"keys": [key.public() for key in shown]})


def claims(
    *,
    issuer: str,
    account: str,
    name: str,
    roles: Sequence[Role],
    merchant: int,
    session: str,
    issued_ms: int,
    lasts_s: int,
    jti: str,
) -> dict[str, Any]:
    """Give what an access token says. `session` is empty for a program, `merchant` 0 for none."""
    said: dict[str, Any] = {
        "iss": issuer,
        "aud": issuer,
        "sub": account,
        "name": name,
        "roles": [str(role) for role in roles],
        "iat": issued_ms // 1000,
        "iat_ms": issued_ms,
        "exp": issued_ms // 1000 + lasts_s,
        "jti": jti,
    }
    if merchant:
        said["merchant"] = merchant
    if session:
        said["sid"] = session
    return said


def signed(key: SigningKey, said: Mapping[str, Any]) -> str:
    """Sign claims as an access token (RFC 9068)."""
    private = OKPKey.import_key({"kty": key.kty, "crv": key.crv, "x": key.x, "d": key.d, "kid": key.kid})
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": key.kid}
    return jwt.encode(header, dict(said), private, registry=PINNED)
