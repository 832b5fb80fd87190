"""From a sealed record to what tracing reads of it: the same for the server that found it and the client that verified it."""

from collections.abc import Mapping
from typing import Final

from goodstrace import facts as sealed_facts
from goodstrace import registration
from goodstrace.entry import Entry, Kind
from goodstrace.tracing.model import SealedFacts

FACTS: Final = "facts"


def facts_at(entry: Entry, log: str, index: int, parts: Mapping[str, bytes]) -> SealedFacts | None:
    """Read an event or a registration out of its parts.

    Returns: None for an entry of another kind, and where the parts that tracing reads are not there.
    Raises: EntryError where they are not what they should be; a registration's facts in an event are none.
    """
    if entry.kind not in (Kind.EVENT, Kind.REGISTRATION) or FACTS not in parts:
        return None
    facts = sealed_facts.decode(parts[FACTS])
    told = registration.of_parts(parts) if entry.kind is Kind.REGISTRATION else None
    is_registration = facts.type == registration.TYPE
    if is_registration != (told is not None):
        return None
    return SealedFacts(log, index, entry.merchant, entry.time, facts, told)
