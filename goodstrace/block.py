"""Block headers: the chain of commits that built a log.

A header is RFC 8785 JSON of strings and integers only, as entries are; the next header holds its hash, and the log's
key signs it in a domain of its own. `tests/vectors/blocks.json` holds published examples.
"""

import hashlib
import re
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from goodstrace.errors import BlockError

GENESIS_HASH: Final = "0" * 64
# A signed note is text without control characters: no header signature can be taken for a checkpoint's, nor the reverse.
SIGNATURE_DOMAIN: Final = b"\x03goodstrace block v1\x00"
HEADER_DOMAIN: Final = b"\x04goodstrace block v1\x00"
MAX_INTEGER: Final = 2**53 - 1
_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


class KafkaRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Kafka records a block covers: offsets from `first` up to, not including, `next`."""

    cluster: str
    first: int
    next: int
    partition: int
    topic: str
    topic_id: str


class BlockHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One commit to a log.

    `first` is the index of its first entry and `count` their number (at least 1); `root` and `size` are the RFC 6962 root
    (hex) and tree size after it; `previous` the hash of the header before (64 zeros for height 0); `time` Unix
    milliseconds, not before the previous header's.
    """

    count: int
    first: int
    height: int
    kafka: KafkaRange
    log: str
    previous: str
    root: str
    size: int
    time: int
    v: int = 1


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(BlockHeader)


def encode(header: BlockHeader) -> bytes:
    """Encode a header as RFC 8785 JSON. Raises: BlockError where a field is out of its limits."""
    _check(header)
    return _ENCODER.encode(header)


def decode(data: bytes) -> BlockHeader:
    """Decode a header's exact bytes. Raises: BlockError, whatever the bytes."""
    try:
        header = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BlockError(f"not a block header: {error}") from error
    if encode(header) != data:
        raise BlockError("block header is not in its canonical form")
    return header


def header_hash(data: bytes) -> str:
    """Hash a header's exact bytes, as the next header holds it: hex of SHA-256 over its domain and the bytes."""
    return hashlib.sha256(HEADER_DOMAIN + data).hexdigest()


def sign_header(data: bytes, key: Ed25519PrivateKey) -> bytes:
    """Sign a header's exact bytes with the log's key: 64 bytes."""
    return key.sign(SIGNATURE_DOMAIN + data)


def verify_header(data: bytes, signature: bytes, key: Ed25519PublicKey) -> BlockHeader:
    """Check a header's signature and decode it. Raises: BlockError."""
    try:
        key.verify(signature, SIGNATURE_DOMAIN + data)
    except InvalidSignature as error:
        raise BlockError("block header is not signed by the log's key") from error
    return decode(data)


def verify_link(previous: bytes | None, data: bytes) -> None:
    """Check that a header follows the one before it (None before height 0).

    Raises: BlockError naming the field that does not follow: previous, height, first, kafka or time.
    """
    header = decode(data)
    before = decode(previous) if previous is not None else None
    expected: dict[str, object] = {
        "log": before.log if before else header.log,
        "previous": header_hash(previous) if previous is not None else GENESIS_HASH,
        "height": before.height + 1 if before else 0,
        "first": before.size if before else 0,
    }
    for field, value in expected.items():
        if getattr(header, field) != value:
            raise BlockError(f"block {header.log}#{header.height}: {field} does not follow the block before")
    if before and header.time < before.time:
        raise BlockError(f"block {header.log}#{header.height}: time is before that of the block before")
    if before and not _follows(before.kafka, header.kafka):
        raise BlockError(f"block {header.log}#{header.height}: kafka offsets do not follow the block before")


def _follows(before: KafkaRange, after: KafkaRange) -> bool:
    same = (before.cluster, before.topic, before.topic_id, before.partition)
    return (
        same == (after.cluster, after.topic, after.topic_id, after.partition) and after.first == before.next
    )


def _check(header: BlockHeader) -> None:
    kafka = header.kafka
    numbers = (
        header.first,
        header.height,
        header.time,
        kafka.first,
        kafka.next,
        kafka.partition,
        header.size,
    )
    texts = (header.log, kafka.cluster, kafka.topic, kafka.topic_id)
    sound = (
        header.v == 1
        and all(0 <= number <= MAX_INTEGER for number in numbers)
        and header.count >= 1
        and header.size == header.first + header.count
        and kafka.next - kafka.first >= header.count
        and _HASH.match(header.previous) is not None
        and _HASH.match(header.root) is not None
        and all(
            text.isascii() and text.isprintable() and '"' not in text and "\\" not in text for text in texts
        )
    )
    if not sound:
        raise BlockError(f"block header {header.log!r}#{header.height} has a field out of its limits")
