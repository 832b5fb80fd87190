"""Encrypted content of a record's part: the entry commits to ciphertext, and a key that can be destroyed makes it readable.

The format is sealed. One user key (32 bytes, kept in a vault) gives a key of its own to each part of each record:
K = HKDF-SHA-256(user key, salt = the record's 16-byte ID, info = "goodstrace/browse/v1 " + part name), so that whoever is shown one part learns nothing of another. The content
is RFC 8785 JSON `{"alg":"A256GCM","data":<base64>,"key":<hex SHA-256 of K>,"v":1}`: AES-256-GCM under K with a nonce of 12 zero
bytes, as K is used once, and record ID || part name as associated data. `key` commits to K: GCM alone would let somebody find two
keys that read two texts from the same bytes. Clear content never has a member "alg".
`tests/vectors/encrypted_parts.json` holds published examples.
Sources: RFC 5869 (HKDF), NIST SP 800-38D (GCM), RFC 8785, RFC 4648 section 4 (base64).
"""

import base64
import hashlib
import hmac
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from goodstrace.entry import ID_BYTES
from goodstrace.errors import EncryptedPartError

VERSION: Final = 1
ALGORITHM: Final = "A256GCM"
KEY_BYTES: Final = 32
_INFO: Final = "goodstrace/browse/v1 "
_NONCE: Final = bytes(12)
_BEGINS: Final = b'{"alg":"A256GCM","data":"'  # of canonical JSON "alg" is the first member


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: str
    data: str
    key: str
    v: int


_DECODER: Final = msgspec.json.Decoder(_Content)


def record_key(user_key: bytes, record_id: bytes, part: str) -> bytes:
    """Derive the key K of one part of one record, 32 bytes.

    Args:
        user_key: 32 bytes.
        record_id: 16 bytes.
        part: the part's name.
    Raises: ValueError where a size is another.
    """
    if len(user_key) != KEY_BYTES or len(record_id) != ID_BYTES:
        raise ValueError(f"a user key of {KEY_BYTES} and a record ID of {ID_BYTES} bytes, please")
    return HKDF(SHA256(), KEY_BYTES, record_id, (_INFO + part).encode()).derive(user_key)


def encrypt(key: bytes, record_id: bytes, part: str, content: bytes) -> bytes:
    """Encrypt a part's content under its own key K (`record_key`), which must never encrypt anything else."""
    data = AESGCM(key).encrypt(_NONCE, content, record_id + part.encode())
    return _written(data, hashlib.sha256(key).hexdigest())


def decrypt(key: bytes, record_id: bytes, part: str, content: bytes) -> bytes:
    """Give the clear content of an encrypted part.

    Raises: EncryptedPartError, whatever the bytes: where the content is not canonical, is not encrypted under this key, or
    belongs to another record or part.
    """
    try:
        read = _DECODER.decode(content)
        data = base64.b64decode(read.data, validate=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise EncryptedPartError(f"part {part!r} is not encrypted content: {error}") from error
    if _written(data, read.key) != content:
        raise EncryptedPartError(f"part {part!r} is not encrypted content in its canonical form")
    if len(key) != KEY_BYTES or not hmac.compare_digest(hashlib.sha256(key).hexdigest(), read.key):
        raise EncryptedPartError(f"part {part!r} is not encrypted under the key that came with it")
    try:
        return AESGCM(key).decrypt(_NONCE, data, record_id + part.encode())
    except InvalidTag as error:
        raise EncryptedPartError(f"part {part!r} was altered, or is of another record") from error


def is_encrypted(content: bytes) -> bool:
    """Say whether a part's content is encrypted; clear content is never taken for it."""
    return content.startswith(_BEGINS)


def _written(data: bytes, key_hash: str) -> bytes:
    """Write the content: RFC 8785 as all strings are of ASCII without escapes."""
    encoded = base64.b64encode(data).decode()
    return f'{{"alg":"{ALGORITHM}","data":"{encoded}","key":"{key_hash}","v":{VERSION}}}'.encode()
