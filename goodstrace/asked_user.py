"""The user whom a look asks for by name, as in a listing of that user's looks: encrypted apart from the part `what` that it stands in.

`what` is encrypted under a key of who looked, and has the member `asked`: the object of `goodstrace.encrypted_parts` with the clear content
`{"user": <name>}`, under the key K of that record and the part name "asked", which follows from the key of the user asked for. So the name goes with that user's key, and
the rest of the look stays readable to whoever may read it. Records of earlier versions have the name in clear, as the member `user`.
`tests/vectors/asked_users.json` holds published examples.
"""

from typing import Final

import msgspec

from goodstrace.encrypted_parts import decrypt, encrypt, record_key
from goodstrace.errors import EncryptedPartError

PART: Final = "what"
MEMBER: Final = "asked"
_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class _What(msgspec.Struct):
    asked: msgspec.Raw = msgspec.Raw()


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    user: str


def encrypted(user_key: bytes, record_id: bytes, name: str) -> bytes:
    """Encrypt the name of the user asked for: the value of the member `asked`.

    Args:
        user_key: of that user, 32 bytes.
        record_id: 16 bytes, of the record that asks.
        name: as records have it.
    """
    return encrypt(
        record_key(user_key, record_id, MEMBER), record_id, MEMBER, _ENCODER.encode({"user": name})
    )


def asked_in(what: bytes) -> bytes | None:
    """Give the encrypted name in the clear content of a part `what`, None where it has none. Raises: EncryptedPartError."""
    try:
        return bytes(msgspec.json.decode(what, type=_What).asked) or None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EncryptedPartError(f"what was looked at cannot be read: {error}") from error


def with_name(what: bytes, key: bytes, record_id: bytes) -> bytes:
    """Put the name in the place of its encrypted form: the member `user`, as records of earlier versions have it; the rest as it is.

    Args:
        what: the clear content of a part `what`.
        key: K, 32 bytes, of the record and the part name "asked".
        record_id: 16 bytes.
    Raises: EncryptedPartError where there is no such member, or it does not open.
    """
    asked = asked_in(what)
    if asked is None:
        raise EncryptedPartError("the key of a user asked for came with a look that names none")
    try:
        name = msgspec.json.decode(decrypt(key, record_id, MEMBER, asked), type=_Asked).user
        members = msgspec.json.decode(what, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise EncryptedPartError(f"the user asked for cannot be read: {error}") from error
    del members[MEMBER]
    return _ENCODER.encode(members | {"user": msgspec.Raw(_ENCODER.encode(name))})
