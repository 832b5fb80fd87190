"""The value of every Kafka record: one protobuf message, `goodstrace.record.v1.Record`, as a frozen value.

The only place that knows the wire form. No Kafka headers are used: `produce_batch` drops them silently
(docs/decisions/0002-kafka-envelope.md).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import msgspec
from google.protobuf.message import DecodeError

from goodstrace.entry import ID_BYTES, SALT_BYTES, Kind
from goodstrace.record.v1 import record_pb2 as wire
from services.runtime.errors import EnvelopeError

ENVELOPE_VERSION: Final = 1
_MEMORY_BYTES: Final = (32, 16, 16)
_KIND_TO_WIRE: Final = {kind: wire.Kind.Value(f"KIND_{kind.name}") for kind in Kind}
_VERSION: Final = bytes((0x08, ENVELOPE_VERSION))  # field 1
_SMALL_VARINTS: Final = tuple(bytes((number,)) for number in range(0x80))
_TRACED: Final = b"\x3a\x3700-"  # field 7 with the 55 bytes of a traceparent of version 00, of which ours are
_KIND_FROM_WIRE: Final = {number: kind for kind, number in _KIND_TO_WIRE.items()}


class Part(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Bytes an entry commits to, with the 32-byte salt of the commitment. In MessagePack it is an array of the three."""

    name: str
    salt: bytes
    content: bytes


def content_of(parts: Iterable[Part], name: str) -> bytes | None:
    """Give the content of the part of that name, None where there is none: it may be withheld, or erased."""
    for part in parts:
        if part.name == name:
            return part.content
    return None


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """Why a record was refused, for `goods.rejected`; see record.proto for the closed sets."""

    stage: str
    reason: str
    detail: str
    first_id: bytes = b""
    pointer: str = ""


class Committed(msgspec.Struct, frozen=True, gc=False):
    """What a record's entry is made of, and the entry: all of the record that matters to those who seal it."""

    id: bytes
    kind: Kind
    time_ms: int
    parts: tuple[Part, ...]
    merchant: int = 0
    entry: bytes = b""
    tags: tuple[bytes, ...] = ()

    def part(self, name: str) -> Part:
        """Find a part by name. Raises: EnvelopeError where there is none."""
        for part in self.parts:
            if part.name == name:
                return part
        raise EnvelopeError(f"record {self.id.hex()} has no part {name!r}")


class Record(Committed, frozen=True, kw_only=True, gc=False):
    """A record on its way from capture to seal; fields as in record.proto."""

    pipeline_version: str
    capture_id: bytes = b""
    sequence: int = 0
    capture_size: int = 0
    traceparent: str = ""
    rejection: Rejection | None = None


class Remembered(msgspec.Struct, frozen=True):
    """What is remembered of an event that was let pass; fields as in record.proto."""

    same: bytes
    name: bytes
    content: bytes
    record_id: bytes
    time_ms: int
    placed: int


class Memory(msgspec.Struct, frozen=True):
    """No event: what a partition must remember of events that came when there were fewer partitions, the oldest first."""

    remembered: tuple[Remembered, ...]


def encode(record: Record) -> bytes:
    """Encode a record; the same record always gives the same bytes.

    They are those of protobuf, fields by number one after the other. What records have in common is encoded once: half of the work.
    """
    fields = [
        _VERSION,
        _bytes_field(b"\x12", record.capture_id),
        _numbered(record.sequence),
        _in_common(
            record.capture_size,
            record.merchant,
            record.pipeline_version,
            record.traceparent,
            record.kind,
        ),
        _bytes_field(b"\x4a", record.id),
        _timed(record.time_ms),
        *[part_field(part) for part in record.parts],
        entry_fields(record.entry, record.tags),
    ]
    if record.rejection is not None:
        rejection = wire.Rejection(**msgspec.structs.asdict(record.rejection))
        fields.append(wire.Record(rejection=rejection).SerializeToString(deterministic=True))
    return b"".join(fields)


def _bytes_field(start: bytes, content: bytes) -> bytes:
    return start + _varint(len(content)) + content if content else b""


@lru_cache(maxsize=1024)
def _numbered(sequence: int) -> bytes:
    return bytes(wire.Record(sequence=sequence).SerializeToString(deterministic=True))


@lru_cache(maxsize=64)
def _in_common(
    capture_size: int, merchant: int, pipeline_version: str, traceparent: str, kind: Kind
) -> bytes:
    """Encode fields 4 to 8."""
    message = wire.Record(
        capture_size=capture_size,
        merchant=merchant,
        pipeline_version=pipeline_version,
        traceparent=traceparent,
        kind=_KIND_TO_WIRE[kind],
    )
    return bytes(message.SerializeToString(deterministic=True))


@lru_cache(maxsize=64)
def _timed(time_ms: int) -> bytes:
    return bytes(wire.Record(time_ms=time_ms).SerializeToString(deterministic=True))


def without_last_part(value: bytes, record: Record) -> bytes | None:
    """Give an encoded record up to its last part, to which `part_field` adds another: the bytes that `encode` makes of that record.

    Protobuf writes fields by number one after the other, so what stands before the part stays as it is and is not encoded
    again. None where `record`, which `value` encodes, has fields of after `parts`, or was encoded by others.
    """
    if record.entry or record.tags or record.rejection or not record.parts:
        return None
    last = part_field(record.parts[-1])
    return value[: -len(last)] if value.endswith(last) else None


def entry_fields(entry: bytes, tags: Sequence[bytes]) -> bytes:
    """Give what `encode` writes of entry and tags: it comes after all else where there is no rejection."""
    fields = b"".join([b"\x6a" + _varint(len(tag)) + tag for tag in tags])
    return b"\x62" + _varint(len(entry)) + entry + fields if entry else fields


def part_field(part: Part) -> bytes:
    """Encode a part, as field 11 of a record."""
    content = part.content
    tail = b"\x1a" + _varint(len(content)) + content if content else b""
    start = _part_start(part.name, len(part.salt))
    return b"\x5a" + _varint(len(start) + len(part.salt) + len(tail)) + start + part.salt + tail


@lru_cache(maxsize=64)
def _part_start(name: str, salt_bytes: int) -> bytes:
    """Encode what comes before a part's salt."""
    encoded = name.encode()
    named = b"\x0a" + _varint(len(encoded)) + encoded if encoded else b""
    return named + b"\x12" + _varint(salt_bytes) if salt_bytes else named


def _varint(number: int) -> bytes:
    """Encode a length. Source: protobuf encoding, base 128 varints."""
    if number < 0x80:
        return _SMALL_VARINTS[number]
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def encode_memory(memory: Memory) -> bytes:
    """Encode a memory; the same one always gives the same bytes."""
    message = wire.Record(
        version=ENVELOPE_VERSION,
        kind=wire.KIND_MEMORY,
        memory=[wire.Remembered(**msgspec.structs.asdict(each)) for each in memory.remembered],
    )
    return bytes(message.SerializeToString(deterministic=True))


def decode(data: bytes) -> Record:
    """Decode a record. Raises: EnvelopeError, whatever the bytes."""
    found = decode_any(data)
    if isinstance(found, Memory):
        raise EnvelopeError("not a record: a memory, which only the stages read")
    return found


def decode_any(data: bytes) -> Record | Memory:
    """Decode a record or a memory. Raises: EnvelopeError, whatever the bytes."""
    message = _message(data)
    if message.kind == wire.KIND_MEMORY:
        return _memory(message)
    kind = _checked_kind(message)
    return Record(
        id=message.id,
        kind=kind,
        time_ms=message.time_ms,
        pipeline_version=message.pipeline_version,
        parts=_parts(message),
        capture_id=message.capture_id,
        sequence=message.sequence,
        capture_size=message.capture_size,
        merchant=message.merchant,
        traceparent=message.traceparent,
        entry=message.entry,
        tags=tuple(message.tags[:]),
        rejection=_rejection(message),
    )


def decode_committed(data: bytes) -> Committed:
    """Decode of a record what its entry is made of: two thirds of the work. Raises: EnvelopeError, where `decode` does."""
    message = _message(data)
    kind = _checked_kind(message)
    return Committed(
        message.id,
        kind,
        message.time_ms,
        _parts(message),
        message.merchant,
        message.entry,
        tuple(message.tags[:]),
    )


def traceparent_of(data: bytes) -> str:
    """Give the trace context of an encoded record, empty where it has none; next to nothing for a record without one.

    Raises: EnvelopeError, where `decode` does not read it either.
    """
    return str(_message(data).traceparent) if _TRACED in data else ""


def _message(data: bytes) -> wire.Record:
    try:
        message = wire.Record.FromString(data)
    except DecodeError as error:
        raise EnvelopeError("not a record: malformed protobuf") from error
    if message.version != ENVELOPE_VERSION:
        raise EnvelopeError(f"not a record of version {ENVELOPE_VERSION}, but of {message.version}")
    return message


def _checked_kind(message: wire.Record) -> Kind:
    kind = _KIND_FROM_WIRE.get(message.kind)
    if kind is None or len(message.id) != ID_BYTES:
        raise EnvelopeError(f"not a record: its kind is {message.kind}, its ID has {len(message.id)} bytes")
    return kind


def _parts(message: wire.Record) -> tuple[Part, ...]:
    parts = tuple([Part(part.name, part.salt, part.content) for part in message.parts[:]])
    for part in parts:
        if len(part.salt) != SALT_BYTES:
            raise EnvelopeError(f"record {message.id.hex()} has a part without a salt")
    return parts


def _memory(message: wire.Record) -> Memory:
    remembered = tuple(
        Remembered(each.same, each.name, each.content, each.record_id, each.time_ms, each.placed)
        for each in message.memory
    )
    if any((len(each.same), len(each.name), len(each.content)) != _MEMORY_BYTES for each in remembered):
        raise EnvelopeError("not a memory: a digest has another length")
    return Memory(remembered)


def _rejection(message: wire.Record) -> Rejection | None:
    if not message.HasField("rejection"):
        return None
    reject = message.rejection
    return Rejection(reject.stage, reject.reason, reject.detail, reject.first_id, reject.pointer)
