"""Read storms: a reader that reports the same things at the same place again and again. Pure.

A *repeat* is an event that says nothing but another time: an ObjectEvent, OBSERVE, of the same merchant, equal to an earlier one in
everything but its ID and its times (docs/decisions/0019). It goes on with a *run* where its event time lies at most `READ_GAP_US`
from that of the run's latest record. Times are the events' own: the clock has no say, and a replay finds the same runs.
"""

import hashlib
from typing import Any, Final

import msgspec

from goodstrace.facts import READ_GAP_US, Facts, Repeat

MAX_ID: Final = 256
"""Characters of the longest event ID in a run, so that a window of them stays small. Readers' own are of 45."""
_TIMES_AND_ID: Final = frozenset({"eventID", "eventTime", "eventTimeZoneOffset", "recordTime", "@context"})
_SAYS_MORE: Final = frozenset({"quantityList", "sensorElementList", "ilmd", "errorDeclaration"})
_KEY_BYTES: Final = 16
_SORTED: Final = msgspec.json.Encoder(order="sorted").encode


class Read(msgspec.Struct, frozen=True):
    """The latest record of a run.

    key: 16 bytes that all reads of the same have in common. first: event ID of the run's first. number: its place, from 1.
    """

    key: bytes
    first: str
    number: int
    time_us: int

    @property
    def repeats(self) -> Repeat | None:
        """What the facts say of it."""
        return Repeat(self.first, self.number) if self.number > 1 else None


def read_key(merchant: int, event: dict[str, Any], context: Any) -> bytes | None:
    """Give what reads of the same things at the same place have in common; None for an event that is no such read.

    Args:
        merchant: whose event it is.
        event: decoded from JSON, valid.
        context: the effective @context, which says what extensions mean.
    """
    things = event.get("epcList")
    if not things or event["type"] != "ObjectEvent" or event["action"] != "OBSERVE":
        return None
    if not _SAYS_MORE.isdisjoint(event) or not ("readPoint" in event or "bizLocation" in event):
        return None
    said = {name: value for name, value in event.items() if name not in _TIMES_AND_ID}
    said["epcList"] = sorted(set(things))
    return hashlib.sha256(_SORTED((merchant, context, said))).digest()[:_KEY_BYTES]


def next_read(latest: Read | None, key: bytes, facts: Facts) -> Read:
    """Give the read that an event is: the next of the run that `latest` (of the same key) belongs to, or the first of a new one."""
    if latest is None or abs(facts.time_us - latest.time_us) > READ_GAP_US:
        return Read(key, facts.event_id, 1, facts.time_us)
    return Read(key, latest.first, latest.number + 1, facts.time_us)
