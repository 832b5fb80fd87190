"""The names that a walk looks up, and by which tags they are found."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from goodstrace.entry import TagKind
from goodstrace.tracing.engine import drive, trace
from goodstrace.tracing.model import Lookup, Name, NameKind, Query, SealedFacts

TAG_KINDS: Final[Mapping[NameKind, TagKind]] = {
    NameKind.KEY: TagKind.KEY,
    NameKind.TRANSFORMATION: TagKind.TRANSFORMATION,
    NameKind.EVENT_ID: TagKind.EVENT_ID,
    NameKind.ORDER: TagKind.ORDER,
    NameKind.REGISTRATION: TagKind.REGISTRATION,
}


def names_asked(query: Query, sealed: Sequence[SealedFacts]) -> frozenset[Name]:
    """Give every name that a walk over all events of an answer looks up: they follow from these events alone."""
    names: set[Name] = set()

    def note(lookup: Lookup) -> Iterable[SealedFacts]:
        names.update(lookup.names)
        return sealed

    drive(trace(query), note)
    return frozenset(names)
