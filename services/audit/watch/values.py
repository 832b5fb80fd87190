"""What the watch counts, as values: observations of a look, and the batches in which they travel. Pure."""

from enum import StrEnum
from typing import Final

import msgspec

MAX_OBSERVATIONS: Final = 5_000
"""In one batch: about half a megabyte."""


class Kind(StrEnum):
    """What looks are counted by."""

    USER = "user"
    NETWORK = "network"
    MERCHANT = "merchant"
    KEY = "key"
    LOT = "lot"
    SERIES = "series"
    ANSWERS = "answers"
    ALL = "all"


class Measure(StrEnum):
    """What a rule compares with its threshold."""

    LOOKS = "looks"
    REFUSED = "refused"
    SIGN_INS_REFUSED = "sign-ins-refused"
    KEYS = "keys"
    USERS = "users"
    USERS_REFUSED = "users-refused"
    NETWORKS = "networks"
    RUN = "run"
    FIRST_SEEN = "first-seen"
    FAILED = "failed"
    WITHHELD = "withheld"


class Seen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One record of `browse.watched` as one subject is concerned by it.

    kind, subject: who or what is counted; a user is the pseudonym of a day. offset: of the record in its partition. time_ms: its record time. id: 16
    bytes of the browse record that it can be proved by, or none. looks, refused, sign_ins, sign_ins_refused: how many of each it stands for. shown: records
    shown. keys: hashes of the keys looked at. user, network: hashes; 0 where it is not told. numbers: of serials in their series. first_seen: 1 where the
    user was never seen before. answered, failed, withheld: how many answers it tells to have ended so.
    """

    kind: Kind
    subject: str
    offset: int
    time_ms: int
    id: bytes
    looks: int = 0
    refused: int = 0
    sign_ins: int = 0
    sign_ins_refused: int = 0
    shown: int = 0
    keys: tuple[int, ...] = ()
    user: int = 0
    network: int = 0
    numbers: tuple[int, ...] = ()
    first_seen: int = 0
    answered: int = 0
    failed: int = 0
    withheld: int = 0


class Batch(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Observations of records of one partition of `browse.watched`, in the order of their offsets, for one partition of `browse.observed`.

    source: that partition. until_ms: the latest record time in it so far; 0 where more of the same run follows in a
    batch of its own.
    """

    source: int
    until_ms: int
    seen: tuple[Seen, ...] = ()


def encode_batch(batch: Batch) -> bytes:
    """Encode a batch."""
    return _ENCODER.encode(batch)


def decode_batch(data: bytes) -> Batch:
    """Decode a batch. Raises: msgspec.DecodeError."""
    return _DECODER.decode(data)


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Batch)
