"""How far event time has come in one partition of `browse.observed`, and what is to be judged when it has come further. Pure.

The clock is the earliest of the times that the partitions of `browse.watched` have come to: however they are mixed, as in a replay that reads one of
them far ahead of another, no record is late because another partition was faster.
"""

from typing import Final

import msgspec

from services.audit.watch.values import Kind

MAX_WAITING: Final = 10_000


class Clock(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """By partition of `browse.watched` the latest record time that came from it, in Unix milliseconds."""

    times: dict[int, int] = {}

    def move(self, source: int, until_ms: int) -> None:
        """A partition has come so far; it never goes back."""
        self.times[source] = max(until_ms, self.times.get(source, 0))

    def now_ms(self, sources: int) -> int:
        """Give the time to which all of so many partitions have come; 0 where some has never told."""
        return min(self.times.values()) if len(self.times) >= sources else 0


class Waiting(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A window to be judged by a rule once the clock has come to `at_ms`."""

    at_ms: int
    kind: Kind
    subject: str
    rule: str
    start: int


def encode_clock(clock: Clock) -> bytes:
    """Encode a clock."""
    return _ENCODER.encode(clock)


def decode_clock(data: bytes | None) -> Clock:
    """Decode a clock, a new one of nothing. Raises: msgspec.DecodeError."""
    return Clock() if data is None else _CLOCKS.decode(data)


def encode_waiting(waiting: list[Waiting]) -> bytes:
    """Encode what waits."""
    return _ENCODER.encode(waiting)


def decode_waiting(data: bytes | None) -> list[Waiting]:
    """Decode what waits. Raises: msgspec.DecodeError."""
    return [] if data is None else _WAITING.decode(data)


_ENCODER: Final = msgspec.msgpack.Encoder()
_CLOCKS: Final = msgspec.msgpack.Decoder(Clock)
_WAITING: Final = msgspec.msgpack.Decoder(list[Waiting])
