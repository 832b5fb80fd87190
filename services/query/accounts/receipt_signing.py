"""Signing receipts of looks by the login key ring, so that a look that is denied later is the service's broken word.

A receipt is a JWS (RFC 7515) of type `browse-receipt+jwt`. It has neither audience nor end, and another type than access tokens: nobody takes it for one (RFC 8725
section 3.11). It names nobody, and nothing that was looked at.
"""

import base64
from functools import lru_cache
from typing import Final

from joserfc import jwt
from joserfc.jwk import OKPKey

from services.query.accounts.key_ring import KeyRing
from services.query.accounts.signing_keys import SigningKey
from services.runtime.access.tokens import PINNED
from services.runtime.looks import Look

RECEIPT: Final = "browse-receipt+jwt"


class ReceiptSigner:
    """Signs by the key that signs access tokens now."""

    def __init__(self, ring: KeyRing, issuer: str) -> None:
        """Sign in the name of `issuer`."""
        self._ring, self._issuer = ring, issuer

    def __call__(self, look: Look) -> str:
        """Sign the receipt of a look."""
        return signed_receipt(self._ring.current(), self._issuer, look)


def signed_receipt(key: SigningKey, issuer: str, look: Look) -> str:
    """Sign what a receipt says: `jti` the record ID (hex), `leaf` the leaf hash (base64url), `log`, `iat` and `iat_ms` the record's time."""
    claims = {
        "iss": issuer,
        "jti": look.record_id.hex(),
        "leaf": base64.urlsafe_b64encode(look.leaf_hash).decode().rstrip("="),
        "log": look.log,
        "iat": look.time_ms // 1000,
        "iat_ms": look.time_ms,
    }
    return jwt.encode(
        {"alg": "EdDSA", "typ": RECEIPT, "kid": key.kid}, claims, _private(key), registry=PINNED
    )


@lru_cache(maxsize=4)
def _private(key: SigningKey) -> OKPKey:
    """Read a key once: that takes as long as signing by it."""
    return OKPKey.import_key({"kty": key.kty, "crv": key.crv, "x": key.x, "d": key.d, "kid": key.kid})
