"""Which partition a record belongs to: an explicit murmur2, the same in every client and for ever.

The partition key of an event is (merchant, event ID), so that a duplicate always meets its first one in one partition.
"""

import struct
from typing import Final

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_R: Final = 24
_WORD: Final = struct.Struct("<I")
_MASK: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Hash bytes to 32 unsigned bits as Apache Kafka's `Utils.murmur2` does (there read as a signed number)."""
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for (word,) in _WORD.iter_unpack(data[:whole]):
        k = word * _M & _MASK
        h = (h * _M & _MASK) ^ ((k ^ (k >> _R)) * _M & _MASK)
    tail = data[whole:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


def event_key(merchant: int, event_id: str) -> bytes:
    """Build the Kafka key of an event: the merchant's number in decimal, a slash, the event ID in UTF-8."""
    return f"{merchant}/{event_id}".encode("utf-8", "surrogatepass")


def key_hash(key: bytes) -> int:
    """Hash a key to 31 bits; its remainder by the number of partitions is the partition."""
    return murmur2(key) & 0x7FFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """Choose the partition of a key among `partitions` (at least 1), as Kafka's default partitioner does."""
    return key_hash(key) % partitions
