"""C2SP cosignatures: what a witness signs of a checkpoint, with the time at which it did (Ed25519, version 1).

Signatures of other types, such as ML-DSA-44 (0x06), have other key IDs and so are ignored as those of unknown keys.
Source: c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from goodstrace.errors import NoteError
from goodstrace.note import NoteKey, Signature

MAX_TIMESTAMP: Final = 2**63 - 1

_SEED_SIZE: Final = 32
_TIME_SIZE: Final = 8
_SIGNATURE_SIZE: Final = 64


class CosignatureVerifier(NoteKey):
    """A witness's public key (type 0x04). Its signature in a note is an 8-byte big-endian time and 64 bytes of Ed25519."""

    __slots__ = ()
    signature_type = b"\x04"

    def is_valid(self, signature: bytes, message: bytes) -> bool:
        """Tell whether this is the key's timestamped signature of a checkpoint's text, whatever its time."""
        if len(signature) != _TIME_SIZE + _SIGNATURE_SIZE:
            return False
        time = int.from_bytes(signature[:_TIME_SIZE])
        return time <= MAX_TIMESTAMP and self.has_signed(signature[_TIME_SIZE:], _cosigned(message, time))

    def verify(self, signature: Signature, text: str) -> int:
        """Check a cosignature and tell when it was made, in Unix seconds, 0..MAX_TIMESTAMP: a time the witness claims.

        Args:
            signature: a signature line of the note.
            text: the note's text, the whole of it with its last newline.
        Raises: NoteError, if another key made it (by name or key ID) or it does not hold.
        """
        if (signature.name, signature.key_id) != (self.name, self.key_id):
            raise NoteError(f"the signature is not one of {self.name!r}")
        if not self.is_valid(signature.signature, text.encode()):
            raise NoteError(f"the cosignature of {self.name!r} is wrong")
        return int.from_bytes(signature.signature[:_TIME_SIZE])


class Cosigner:
    """A witness's private key. It never shows its secret, not even in `repr`."""

    __slots__ = ("_key", "verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        """Make the cosigner from the witness's name and the 32-byte seed of RFC 8032. Raises: NoteError.

        The seed must serve nothing else: the signed message does not commit to the name.
        """
        if len(seed) != _SEED_SIZE:
            raise NoteError(f"an Ed25519 seed has 32 bytes, not {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier: Final = CosignatureVerifier(name, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"Cosigner({self.verifier.vkey()!r})"

    def cosign(self, text: str, unix_s: int) -> Signature:
        """Sign a checkpoint's text. The caller has made sure that it is consistent with all it has cosigned of the log.

        Args:
            text: the note's text, the whole of it with its last newline.
            unix_s: now, 1..MAX_TIMESTAMP (a cosignature without its time is none). Raises: NoteError, on any other.
        """
        if not 0 < unix_s <= MAX_TIMESTAMP:
            raise NoteError(f"the time {unix_s} is not in 1..2**63-1")
        signed = self._key.sign(_cosigned(text.encode(), unix_s))
        return Signature(self.verifier.name, self.verifier.key_id, unix_s.to_bytes(_TIME_SIZE) + signed)


def _cosigned(text: bytes, time: int) -> bytes:
    return b"cosignature/v1\ntime %d\n%b" % (time, text)
