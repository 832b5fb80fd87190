"""Verifying JSON Web Tokens: our own, and those of the platform's identity provider. No I/O but by the key source.

Pinned: issuer, audience, algorithms EdDSA (also by its newer name Ed25519), ES256 and RS256, and keys of the kind their algorithm wants; no token without an end. Source:
RFC 7519; RFC 8725 (best current practices), sections 3.1 to 3.12.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from joserfc import jws, jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from services.runtime.merchants.errors import UnauthenticatedError

MAX_TOKEN_BYTES: Final = 8192
MIN_RSA_BITS: Final = 2048
_MIN_RSA_CHARACTERS: Final = 342
ALGORITHMS: Final = ("EdDSA", "Ed25519", "ES256", "RS256")
PublicKey = OKPKey | ECKey | RSAKey


class Pinned(jws.JWSRegistry):
    """The algorithms that count; `EdDSA` without the library's warning that it has a newer name (RFC 9864)."""

    def get_alg(self, name: str) -> Any:
        """Find an algorithm. Raises: UnsupportedAlgorithmError."""
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(f"{name} is not accepted")
        return self.algorithms[name]


PINNED: Final = Pinned(algorithms=list(ALGORITHMS))


class TokenRules(msgspec.Struct, frozen=True):
    """Which tokens count; clocks may differ by `skew_s` seconds.

    typ: the media type that the header must name, so that a token made for something else by the same issuer does not count; "" for any.
    Source: RFC 8725 section 3.11; RFC 9068 section 4.
    """

    issuer: str
    audience: str
    skew_s: int = 30
    typ: str = ""


class KeySource(Protocol):
    """Where the issuer's public keys come from."""

    async def find(self, kid: str) -> PublicKey | None:
        """Give the key of this ID, None where there is none. Raises: UnavailableError."""


class Tokens:
    """Verifies tokens."""

    def __init__(self, rules: TokenRules, keys: KeySource, now_ms: Callable[[], int]) -> None:
        """Verify by these rules."""
        self._rules = rules
        self._keys = keys
        self._now_ms = now_ms

    async def claims(self, token: str) -> Mapping[str, Any]:
        """Give what a token says.

        Raises: UnauthenticatedError, whatever the text; UnavailableError where the keys cannot be had.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise UnauthenticatedError("the token is too long")
        algorithm, kid, typ = _header(token)
        if self._rules.typ and typ.lower().removeprefix("application/") != self._rules.typ:
            raise UnauthenticatedError(f"a token of another kind than {self._rules.typ}")
        key = await self._keys.find(kid)
        if key is None or algorithm not in algorithms_of(key):
            raise UnauthenticatedError("the token is signed with a key that is not known here")
        return self._claims(token, key)

    def _claims(self, token: str, key: PublicKey) -> Mapping[str, Any]:
        rules = self._rules
        registry = jwt.JWTClaimsRegistry(
            now=self._now_ms() // 1000,
            leeway=rules.skew_s,
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "value": rules.audience},
            exp={"essential": True},
        )
        try:
            claims = jwt.decode(token, key, registry=PINNED).claims
            registry.validate(claims)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise UnauthenticatedError(f"the token does not count: {_said(error)}") from error
        return claims


def public_key(jwk: object) -> PublicKey | None:
    """Read a public key of a kind that is accepted; None for any other, also for one that is too short or secret.

    An algorithm is never taken from a token: each kind of key has one.
    """
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or "d" in jwk or "k" in jwk:
        return None
    if jwk.get("kty") == "RSA" and len(str(jwk.get("n", ""))) < _MIN_RSA_CHARACTERS:
        return None
    try:
        key = JWKRegistry.import_key(jwk)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if not isinstance(key, OKPKey | ECKey | RSAKey) or not algorithms_of(key):
        return None
    return key if jwk.get("alg", algorithms_of(key)[0]) in algorithms_of(key) else None


def algorithms_of(key: PublicKey) -> tuple[str, ...]:
    """Give the names of the one algorithm that a key is used with; none where it is of no use."""
    if isinstance(key, OKPKey):
        return ("EdDSA", "Ed25519") if key.curve_name == "Ed25519" else ()
    if isinstance(key, ECKey):
        return ("ES256",) if key.curve_name == "P-256" else ()
    return ("RS256",) if key.public_key.key_size >= MIN_RSA_BITS else ()


def _header(token: str) -> tuple[str, str, str]:
    try:
        protected = jws.extract_compact(token.encode()).headers()
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise UnauthenticatedError("neither an API key nor a signed token") from error
    algorithm, kid = protected.get("alg"), protected.get("kid")
    if algorithm not in ALGORITHMS or not isinstance(kid, str):
        raise UnauthenticatedError("a token must name its key (kid) and be signed by EdDSA, ES256 or RS256")
    return algorithm, kid, str(protected.get("typ", ""))


def _said(error: Exception) -> str:
    return str(error)[:200] if isinstance(error, JoseError) else "malformed"
