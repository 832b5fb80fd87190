"""The names that a walk looks up, and by which tags they are found."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from goodstrace.entry import TagKind
from goodstrace.tracing.engine import drive, trace, walk_over
from goodstrace.tracing.model import Lookup, Name, NameKind, Query, SealedFacts
from goodstrace.tracing.pool import Check, WholePool, unchecked

TAG_KINDS: Final[Mapping[NameKind, TagKind]] = {
    NameKind.KEY: TagKind.KEY,
    NameKind.TRANSFORMATION: TagKind.TRANSFORMATION,
    NameKind.EVENT_ID: TagKind.EVENT_ID,
    NameKind.ORDER: TagKind.ORDER,
    NameKind.REGISTRATION: TagKind.REGISTRATION,
}


def names_asked(query: Query, sealed: Sequence[SealedFacts], check: Check = unchecked) -> frozenset[Name]:
    """Give every name that a walk over all events of an answer looks up: they follow from these events alone."""
    names: set[Name] = set()

    def note(lookup: Lookup) -> Iterable[SealedFacts]:
        names.update(lookup.names)
        return sealed

    drive(trace(query, check), note)
    return frozenset(names)


def names_walked(query: Query, sealed: Sequence[SealedFacts], check: Check = unchecked) -> frozenset[Name]:
    """Give the names of `names_asked` that the walk needed in the end, without those on ways that came to nothing.

    One walk tells them, where `names_asked` takes one for each round of look-ups. Of a trace up to a level they are among the names for
    which each deeper one asks.
    """
    pool = WholePool(sealed, check)
    walk_over(query, pool)
    return pool.asked
