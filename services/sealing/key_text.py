"""A private key as text: 32-byte Ed25519 seed as hex, or PKCS#8 PEM (RFC 5958), encrypted with a passphrase or not.

Nothing here says what the text or the passphrase was, in no error either: both are secrets, and errors are logged.
"""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from services.sealing.errors import LogKeyError

SEED_BYTES: Final = 32
MAX_TEXT_BYTES: Final = 16 * 1024
_PEM: Final = b"-----BEGIN "
_ENCRYPTED: Final = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def encode(seed: bytes, passphrase: bytes | None) -> str:
    """Write a seed as hex, or where there is a passphrase as PKCS#8 PEM encrypted with it."""
    if passphrase is None:
        return seed.hex() + "\n"
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase)).decode()


def is_encrypted(text: bytes) -> bool:
    """Tell whether a passphrase is needed to read it."""
    return text.lstrip().startswith(_ENCRYPTED)


def decode(text: bytes, passphrase: bytes | None, place: str) -> bytes:
    """Read the 32-byte seed. Raises: LogKeyError, which names `place` only."""
    if is_encrypted(text) and passphrase is None:
        raise LogKeyError(
            f"{place} is encrypted: set GOODSTRACE_KEY_PASSPHRASE_FILE to the passphrase's file"
        )
    if text.lstrip().startswith(_PEM):
        return _from_pem(text, passphrase if is_encrypted(text) else None, place)
    try:
        seed = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        # Not chained: the text is a secret, and an error's message may be logged.
        raise LogKeyError(f"{place} is not {SEED_BYTES} bytes as hex, nor a PKCS#8 PEM")
    return seed


def _from_pem(text: bytes, passphrase: bytes | None, place: str) -> bytes:
    wrong = f"{place} cannot be read" + (": it was encrypted with another passphrase" if passphrase else "")
    try:
        key = load_pem_private_key(text, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise LogKeyError(wrong) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise LogKeyError(f"{place} is a key of another kind than Ed25519")
    return key.private_bytes_raw()
