"""The W3C trace context: which trace something belongs to, as callers and Kafka records say it. Pure.

Source: W3C Trace Context, section 3.2 (traceparent). `tracestate` and baggage are free text: they are never read.
"""

import re
from typing import Final

import msgspec

_MAX_CHARACTERS: Final = 256
_TRACEPARENT: Final = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL
)
_NO_VERSION: Final = "ff"
_SAMPLED: Final = 1


class TraceContext(msgspec.Struct, frozen=True):
    """A span's name in the world: `trace_id` are 32 hex digits, `span_id` 16, neither all zeros. `sampled`: it is kept."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def header(self) -> str:
        """The `traceparent` of version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


def read(text: str) -> TraceContext | None:
    """Read a `traceparent`; None where it is none, whatever it is: a bad one is no error, it is as if it was not there."""
    match = _TRACEPARENT.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == _NO_VERSION or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(trace_id, span_id, sampled=bool(int(flags, 16) & _SAMPLED))
