"""The value of every Kafka record: one protobuf message, `goodstrace.record.v1.Record`, as a frozen value.

The only place that knows the wire form. No Kafka headers are used: `produce_batch` drops them silently
(docs/decisions/0002-kafka-envelope.md).
"""

from typing import Final

import msgspec
from google.protobuf.message import DecodeError

from goodstrace.entry import ID_BYTES, SALT_BYTES, Kind
from goodstrace.record.v1 import record_pb2 as wire
from services.runtime.errors import EnvelopeError

ENVELOPE_VERSION: Final = 1
_KIND_TO_WIRE: Final = {kind: wire.Kind.Value(f"KIND_{kind.name}") for kind in Kind}
_KIND_FROM_WIRE: Final = {number: kind for kind, number in _KIND_TO_WIRE.items()}


class Part(msgspec.Struct, frozen=True):
    """Bytes an entry commits to, with the 32-byte salt of the commitment."""

    name: str
    salt: bytes
    content: bytes


class Rejection(msgspec.Struct, frozen=True):
    """Why a record was refused, for `goods.rejected`; see record.proto for the closed sets."""

    stage: str
    reason: str
    detail: str
    first_id: bytes = b""
    pointer: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A record on its way from capture to seal; fields as in record.proto."""

    id: bytes
    kind: Kind
    time_ms: int
    pipeline_version: str
    parts: tuple[Part, ...]
    capture_id: bytes = b""
    sequence: int = 0
    capture_size: int = 0
    merchant: int = 0
    traceparent: str = ""
    entry: bytes = b""
    tags: tuple[bytes, ...] = ()
    rejection: Rejection | None = None

    def part(self, name: str) -> Part:
        """Find a part by name. Raises: EnvelopeError where there is none."""
        for part in self.parts:
            if part.name == name:
                return part
        raise EnvelopeError(f"record {self.id.hex()} has no part {name!r}")


def encode(record: Record) -> bytes:
    """Encode a record; the same record always gives the same bytes."""
    message = wire.Record(
        version=ENVELOPE_VERSION,
        capture_id=record.capture_id,
        sequence=record.sequence,
        capture_size=record.capture_size,
        merchant=record.merchant,
        pipeline_version=record.pipeline_version,
        traceparent=record.traceparent,
        kind=_KIND_TO_WIRE[record.kind],
        id=record.id,
        time_ms=record.time_ms,
        parts=[wire.Part(name=part.name, salt=part.salt, content=part.content) for part in record.parts],
        entry=record.entry,
        tags=record.tags,
    )
    if record.rejection is not None:
        reject = record.rejection
        message.rejection.stage = reject.stage
        message.rejection.reason = reject.reason
        message.rejection.detail = reject.detail
        message.rejection.first_id = reject.first_id
        message.rejection.pointer = reject.pointer
    return bytes(message.SerializeToString(deterministic=True))


def decode(data: bytes) -> Record:
    """Decode a record. Raises: EnvelopeError, whatever the bytes."""
    try:
        message = wire.Record.FromString(data)
    except DecodeError as error:
        raise EnvelopeError("not a record: malformed protobuf") from error
    kind = _KIND_FROM_WIRE.get(message.kind)
    if message.version != ENVELOPE_VERSION or kind is None or len(message.id) != ID_BYTES:
        raise EnvelopeError(
            f"not a record of version {ENVELOPE_VERSION}: version {message.version}, kind {message.kind}"
        )
    parts = tuple([Part(part.name, part.salt, part.content) for part in message.parts])
    for part in parts:
        if len(part.salt) != SALT_BYTES:
            raise EnvelopeError(f"record {message.id.hex()} has a part without a salt")
    return Record(
        id=message.id,
        kind=kind,
        time_ms=message.time_ms,
        pipeline_version=message.pipeline_version,
        parts=parts,
        capture_id=message.capture_id,
        sequence=message.sequence,
        capture_size=message.capture_size,
        merchant=message.merchant,
        traceparent=message.traceparent,
        entry=message.entry,
        tags=tuple(message.tags),
        rejection=_rejection(message),
    )


def _rejection(message: wire.Record) -> Rejection | None:
    if not message.HasField("rejection"):
        return None
    reject = message.rejection
    return Rejection(reject.stage, reject.reason, reject.detail, reject.first_id, reject.pointer)
