"""C2SP signed notes: text signed by one or more Ed25519 keys, and the keys' text form (vkey).

The parser is strict: it takes only what `Note.encode` would write, byte for byte. Source: c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Final, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from goodstrace.errors import NoteError

MAX_NOTE_BYTES: Final = 256 * 1024
"""The largest note that is read; room for 16 post-quantum signatures of 5 kB, which the specification asks for."""
MAX_SIGNATURES: Final = 100
MAX_NAME_BYTES: Final = 1024

_KEY_ID_SIZE: Final = 4
_KEY_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note.

    Attributes:
        name: the key's name.
        key_id: the key's ID, 4 bytes.
        signature: what follows the ID, at least 1 byte (64 for Ed25519).
    """

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line as it stands in a note, with its newline."""
        return f"— {self.name} {_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was parsed: nothing in it is to be believed until `open_note` returned it.

    Attributes:
        text: what is signed; ends with a newline.
        signatures: 1..MAX_SIGNATURES of them, in the order of the note.
    """

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> str:
        """Return the note's full text: the text, an empty line, the signature lines."""
        return f"{self.text}\n{''.join(signature.line() for signature in self.signatures)}"


@dataclass(frozen=True, slots=True)
class NoteKey(ABC):
    """A named Ed25519 public key of one signature type, and its text form; each type says what it signs of a note.

    Attributes:
        name: 1..MAX_NAME_BYTES of UTF-8, without spaces, control characters and "+".
        public_key: 32 bytes.

    Raises: NoteError, on any other name or key.
    """

    signature_type: ClassVar[bytes]
    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.public_key) != _KEY_SIZE:
            raise NoteError(f"an Ed25519 public key has 32 bytes, not {len(self.public_key)}")

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a key from its text form `<name>+<key ID in hex>+<base64(type || public key)>`. Raises: NoteError."""
        name, _, rest = vkey.partition("+")
        key = cls(name, _from_base64(rest.partition("+")[2])[1:])
        if key.vkey() != vkey:
            raise NoteError(
                f"the verifier key is malformed, not of type 0x{cls.signature_type.hex()}, or its key ID is not its own"
            )
        return key

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256(name || newline || type || public key)."""
        named = self.name.encode() + b"\n" + self.signature_type + self.public_key
        return sha256(named).digest()[:_KEY_ID_SIZE]

    def vkey(self) -> str:
        """Return the key's text form, which `parse` reads."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(self.signature_type + self.public_key)}"

    @abstractmethod
    def is_valid(self, signature: bytes, message: bytes) -> bool:
        """Tell whether `signature`, as it stands in a signature line after the key ID, is this key's of a note's text."""

    def has_signed(self, signature: bytes, message: bytes) -> bool:
        """Tell whether this is the key's plain Ed25519 signature (RFC 8032) of the message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Verifier(NoteKey):
    """A key that signs notes as they are (type 0x01); a log's is named after its origin."""

    __slots__ = ()
    signature_type = b"\x01"

    def is_valid(self, signature: bytes, message: bytes) -> bool:
        """Tell whether this is the key's Ed25519 signature (RFC 8032) of the message."""
        return self.has_signed(signature, message)


class SigningKey(Protocol):
    """Whatever signs for a named Ed25519 key, wherever the private key is: `Signer` has it in memory."""

    @property
    def name(self) -> str:
        """The key's name."""

    @property
    def verifier(self) -> Verifier:
        """The public key."""

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of any message. It may take time and fail where the key is elsewhere."""


class Signer:
    """A named Ed25519 private key in memory. It never shows its secret, not even in `repr`."""

    __slots__ = ("_key", "verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        """Make the signer from its name and the 32-byte seed of RFC 8032. Raises: NoteError."""
        if len(seed) != _KEY_SIZE:
            raise NoteError(f"an Ed25519 seed has 32 bytes, not {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier: Final = Verifier(name, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"Signer({self.verifier.vkey()!r})"

    @property
    def name(self) -> str:
        """The key's name."""
        return self.verifier.name

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of any message; the caller keeps its domain apart from notes' texts."""
        return self._key.sign(message)


def sign_note(text: str, signers: Iterable[SigningKey]) -> Note:
    """Sign a text with each key, in order.

    Args:
        text: valid UTF-8 ending with a newline, no other control characters below U+0020.
        signers: 1..MAX_SIGNATURES keys.
    Raises: NoteError, if the note would not be one that `parse_note` takes.
    """
    message = _utf8(text)
    lines = (Signature(signer.name, signer.verifier.key_id, signer.sign(message)) for signer in signers)
    note = Note(text, tuple(lines))
    if parse_note(note.encode()) != note:
        raise NoteError("the text does not end with a newline")
    return note


def parse_note(note: str | bytes) -> Note:
    """Take a note apart without verifying anything.

    Raises: NoteError, if it is over MAX_NOTE_BYTES or MAX_SIGNATURES, or not exactly in the specified form; nothing
        else, whatever the bytes.
    """
    encoded = note if isinstance(note, bytes) else _utf8(note)
    if len(encoded) > MAX_NOTE_BYTES:
        raise NoteError(f"the note is over {MAX_NOTE_BYTES} bytes")
    try:
        whole = encoded.decode()
    except UnicodeDecodeError as error:
        raise NoteError("the note is not UTF-8") from error
    if any(character < " " and character != "\n" for character in whole):
        raise NoteError("the note has a control character")
    split = whole.rfind("\n\n")  # the last empty line: the text may have others
    lines = whole[split + 2 :].split("\n")
    if split < 0 or len(lines) < 2 or lines.pop():
        raise NoteError("the note does not end with an empty line and signature lines")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"the note has over {MAX_SIGNATURES} signatures")
    parsed = Note(whole[: split + 1], tuple(_parse_line(line) for line in lines))
    if parsed.encode() != whole:
        raise NoteError("the note is not in canonical form")
    return parsed


def open_note(note: str | bytes, verifiers: Iterable[NoteKey]) -> Note:
    """Verify a note: return it with those signatures only that known keys made, at least one.

    Signatures of unknown keys (another name or key ID) are ignored; a wrong one of a known key refuses the whole note.

    Args:
        note: at most MAX_NOTE_BYTES.
        verifiers: the keys that are trusted, of any type, no two of the same name and key ID.
    Raises: NoteError.
    """
    known = _by_name_and_id(verifiers)
    parsed = parse_note(note)
    message = parsed.text.encode()
    verified: dict[tuple[str, bytes], Signature] = {}
    for signature in parsed.signatures:
        key = (signature.name, signature.key_id)
        verifier = known.get(key)
        if verifier is None:
            continue
        if not verifier.is_valid(signature.signature, message):
            raise NoteError(f"the signature of {signature.name!r} is wrong")
        verified.setdefault(key, signature)
    if not verified:
        raise NoteError("no known key has signed the note")
    return Note(parsed.text, tuple(verified.values()))


def _by_name_and_id(verifiers: Iterable[NoteKey]) -> dict[tuple[str, bytes], NoteKey]:
    known: dict[tuple[str, bytes], NoteKey] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise NoteError(f"two known keys named {verifier.name!r} have the same key ID")
    return known


def _parse_line(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "—":
        raise NoteError("a signature line does not begin with an em dash and a space")
    _check_name(name)
    content = _from_base64(encoded)
    if len(content) <= _KEY_ID_SIZE:
        raise NoteError("a signature line has no signature")
    return Signature(name, content[:_KEY_ID_SIZE], content[_KEY_ID_SIZE:])


def _check_name(name: str) -> None:
    # isspace() also covers the Unicode spaces, which would make a signature line ambiguous to the eye.
    if not name or any(c == "+" or c < " " or c.isspace() for c in name) or len(_utf8(name)) > MAX_NAME_BYTES:
        raise NoteError("a key name is empty, too long, or has a space, a control character or a plus")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise NoteError("the text has a lone surrogate") from error


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError("the base64 is malformed") from error
