"""Signatures of merchants over the exact bytes of their events: detached JWS with unencoded payload. Pure but for `load`.

`BASE64URL(header) "." "." BASE64URL(signature)`, the header {"alg", "b64": false, "crit": ["b64"], "kid"}; what is signed is
BASE64URL(header) "." event. `alg` is EdDSA (or Ed25519, its name in RFC 9864) or ES256; `kid` is the thumbprint of the key, so that a
signature names its key and nobody has to assign names. `tests/vectors/signatures.json` holds published examples.

Source: RFC 7515 appendix F (detached content), RFC 7797 (unencoded payload), RFC 7638 (thumbprint), RFC 8037 (Ed25519).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from goodstrace.errors import SignatureError, TrustFileError

PART: Final = "signature"
MEMBER: Final = "goodstrace:signatures"
NAMESPACE: Final = "urn:goodstrace:signatures"
"""Of the XML elements `signatures` and `signature`, which say in a document in XML what MEMBER says in one in JSON."""
HEADER: Final = "Goodstrace-Signature"
MAX_CHARACTERS: Final = 1024
_SIZE: Final = 64
_COORDINATE: Final = 32
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class MerchantKey:
    """A public key by which a merchant signs: Ed25519, or ECDSA on P-256. `kid` is its RFC 7638 thumbprint."""

    kid: str
    public: Ed25519PublicKey | EllipticCurvePublicKey
    jwk: Mapping[str, str]

    @classmethod
    def from_jwk(cls, jwk: object) -> Self:
        """Read a JSON Web Key; members that say nothing of the key itself are left out. Raises: SignatureError."""
        if not isinstance(jwk, dict) or "d" in jwk:
            raise SignatureError("a key must be a public JSON Web Key")
        try:
            if (jwk.get("kty"), jwk.get("crv")) == ("OKP", "Ed25519"):
                return cls.of(Ed25519PublicKey.from_public_bytes(_decode(jwk.get("x"))))
            if (jwk.get("kty"), jwk.get("crv")) == ("EC", "P-256"):
                x, y = (int.from_bytes(_coordinate(jwk.get(name))) for name in ("x", "y"))
                return cls.of(EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key())
        except ValueError as error:
            raise SignatureError(f"not a key: {error}") from error
        raise SignatureError("a key must be of type OKP on Ed25519, or EC on P-256")

    @classmethod
    def of(cls, public: Ed25519PublicKey | EllipticCurvePublicKey) -> Self:
        """Name a public key. Raises: SignatureError for another curve than P-256."""
        if isinstance(public, Ed25519PublicKey):
            jwk = {"crv": "Ed25519", "kty": "OKP", "x": _encode(public.public_bytes_raw())}
        elif isinstance(public.curve, SECP256R1):
            numbers = public.public_numbers()
            x, y = (_encode(number.to_bytes(_COORDINATE)) for number in (numbers.x, numbers.y))
            jwk = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        else:
            raise SignatureError("an elliptic curve must be P-256")
        canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
        return cls(_encode(sha256(canonical).digest()), public, jwk)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The names of the one algorithm that the key is for."""
        return ("EdDSA", "Ed25519") if isinstance(self.public, Ed25519PublicKey) else ("ES256",)


@dataclass(frozen=True, slots=True)
class Detached:
    """A signature as it was parsed: nothing in it is to be believed until `verify` returned."""

    header: str
    algorithm: str
    kid: str
    signature: bytes

    def verify(self, content: bytes, key: MerchantKey) -> None:
        """Check that `key` signed these exact bytes. Raises: SignatureError."""
        if self.kid != key.kid or self.algorithm not in key.algorithms:
            raise SignatureError("the signature is by another key, or by another algorithm than the key's")
        signed = self.header.encode() + b"." + content
        try:
            if isinstance(key.public, Ed25519PublicKey):
                key.public.verify(self.signature, signed)
            else:
                r, s = self.signature[:_COORDINATE], self.signature[_COORDINATE:]
                encoded = encode_dss_signature(int.from_bytes(r), int.from_bytes(s))
                key.public.verify(encoded, signed, ECDSA(SHA256()))
        except InvalidSignature as error:
            raise SignatureError("the signature does not hold over the event's exact bytes") from error


def parse(text: str) -> Detached:
    """Take a detached signature apart. Raises: SignatureError, whatever the text."""
    parts = text.split(".")
    if len(text) > MAX_CHARACTERS or len(parts) != 3 or parts[1]:
        raise SignatureError("not a detached JWS: header..signature")
    try:
        header = json.loads(_decode(parts[0]), object_pairs_hook=_distinct)
        signature = _decode(parts[2])
    except (ValueError, RecursionError) as error:
        raise SignatureError("not a detached JWS: malformed header or signature") from error
    if not isinstance(header, dict) or header.get("b64") is not False or header.get("crit") != ["b64"]:
        raise SignatureError('the header must say "b64": false, "crit": ["b64"]')
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in ("EdDSA", "Ed25519", "ES256") or not isinstance(kid, str):
        raise SignatureError("the header must name its key (kid) and EdDSA or ES256")
    if len(signature) != _SIZE:
        raise SignatureError(f"the signature must be {_SIZE} bytes")
    return Detached(parts[0], algorithm, kid, signature)


def sign(content: bytes, private: PrivateKey) -> str:
    """Sign the exact bytes of an event. Raises: SignatureError for another curve than P-256."""
    key = MerchantKey.of(private.public_key())
    told = {"alg": key.algorithms[0], "b64": False, "crit": ["b64"], "kid": key.kid}
    header = _encode(json.dumps(told, separators=(",", ":")).encode())
    signed = header.encode() + b"." + content
    if isinstance(private, Ed25519PrivateKey):
        return f"{header}..{_encode(private.sign(signed))}"
    r, s = decode_dss_signature(private.sign(signed, ECDSA(SHA256())))
    return f"{header}..{_encode(r.to_bytes(_COORDINATE) + s.to_bytes(_COORDINATE))}"


class MerchantKeys:
    """The keys that a client trusts merchants to sign with, by merchant's number and key ID."""

    def __init__(self, keys: Mapping[int, Mapping[str, MerchantKey]]) -> None:
        """Trust these."""
        self._keys = keys

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a JSON file {"<merchant's number>": [<JSON Web Key>, ...]}. Raises: TrustFileError."""
        try:
            told: Any = json.loads(path.read_bytes(), object_pairs_hook=_distinct)
            listed = {
                int(number): [MerchantKey.from_jwk(jwk) for jwk in jwks] for number, jwks in told.items()
            }
        except (OSError, ValueError, TypeError, AttributeError, RecursionError, SignatureError) as error:
            raise TrustFileError(f"{path} is no file of merchants' keys: {error}") from error
        return cls({number: {key.kid: key for key in keys} for number, keys in listed.items()})

    def verify(self, merchant: int, signature: bytes, content: bytes) -> str | None:
        """Check a sealed signature over an event of a merchant's.

        Returns: the ID of the key that signed it; None where that is not one of the keys trusted here.
        Raises: SignatureError where it does not hold.
        """
        try:
            detached = parse(signature.decode())
        except UnicodeDecodeError as error:
            raise SignatureError("not a detached JWS") from error
        key = self._keys.get(merchant, {}).get(detached.kid)
        if key is None:
            return None
        detached.verify(content, key)
        return key.kid


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is named twice")
    return found


def _coordinate(text: object) -> bytes:
    data = _decode(text)
    if len(data) != _COORDINATE:
        raise ValueError(f"a coordinate must be {_COORDINATE} bytes")
    return data


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: object) -> bytes:
    """Decode base64url without padding; only the one way in which bytes are written so. Raises: ValueError."""
    if not isinstance(text, str) or not _BASE64URL.fullmatch(text):
        raise ValueError("not base64url without padding")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url without padding") from error
    if _encode(data) != text:
        raise ValueError("not base64url in its only form")
    return data
