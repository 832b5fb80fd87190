"""Checking what an answer withholds: each entry is sealed, shows no part, and is about the name by which it was found. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from goodstrace.entry import Position, tag
from goodstrace.errors import AnswerError
from goodstrace.tag_paths import verify_tag
from goodstrace.tracing.model import Name, NameKind
from goodstrace.tracing.names import TAG_KINDS
from goodstrace.verification import VerifiedCheckpoint, VerifiedEntry, verify_entry

if TYPE_CHECKING:
    from goodstrace.log.v1 import log_pb2
    from goodstrace.query.v1 import withheld_pb2


@dataclass(frozen=True, slots=True)
class Withheld:
    """An entry that is in its log and whose content the caller may not see.

    kind, name: by which it was found. That the entry has the tag given is proved; that the tag is that name's only to who has the index
    secret (`tag_checked`).
    """

    entry: VerifiedEntry
    kind: NameKind
    name: str
    tag: bytes
    tag_checked: bool

    @property
    def place(self) -> Position:
        """Name of the log, index in it."""
        return self.entry.log, self.entry.index


def verify_found_by(
    sealed: log_pb2.SealedEntry,
    found_by: withheld_pb2.FoundBy,
    checkpoints: Mapping[str, VerifiedCheckpoint],
    secret: bytes | None = None,
) -> Withheld:
    """Check one entry that is withheld; with the index secret also that it is the name's tag by which it was found.

    Raises: AnswerError, ProofError, EntryError.
    """
    entry = verify_entry(sealed, checkpoints)
    place = f"{entry.log}[{entry.index}]"
    if entry.parts:
        raise AnswerError(f"{place}: it is said to be withheld, and shows a part")
    try:
        kind = NameKind(found_by.kind)
    except ValueError as error:
        raise AnswerError(f"{place}: {found_by.kind!r} is no kind of name") from error
    verify_tag(entry.entry, found_by.tag, found_by.index, found_by.path)
    if secret is not None and found_by.tag != tag(secret, TAG_KINDS[kind], found_by.name):
        raise AnswerError(f"{place}: the tag by which it was found is not that of {found_by.name}")
    return Withheld(entry, kind, found_by.name, found_by.tag, secret is not None)


def check_withheld(
    messages: Iterable[withheld_pb2.WithheldEntry],
    checkpoints: Mapping[str, VerifiedCheckpoint],
    *,
    count: int,
    shown: Collection[Position],
    secret: bytes | None = None,
) -> tuple[Withheld, ...]:
    """Check all that a whole answer withholds.

    Args:
        messages: of all pages, in order.
        checkpoints: of the answer, verified.
        count: how many the answer says there are.
        shown: the places of what it shows: nothing is both.
        secret: the index secret, where the caller has it.
    Raises: AnswerError, ProofError, EntryError.
    """
    found = tuple(verify_found_by(each.sealed, each.found_by, checkpoints, secret) for each in messages)
    places = [each.place for each in found]
    if places != sorted(set(places)):
        raise AnswerError("what is withheld is not in the order of logs and indexes, or named twice")
    check_total(places, count=count, shown=shown)
    return found


def check_total(places: Collection[Position], *, count: int, shown: Collection[Position]) -> None:
    """Check that as many records are withheld as an answer says, and none that it shows; arguments as above. Raises: AnswerError."""
    if len(places) != count:
        raise AnswerError(f"the answer says that {count} records are withheld, and names {len(places)}")
    if not set(places).isdisjoint(shown):
        raise AnswerError("the answer shows a record that it says is withheld")


def check_names(withheld: Sequence[Withheld], asked: Collection[Name]) -> None:
    """Check that each was found by a name that the answer had to look up. Raises: AnswerError."""
    for each in withheld:
        if (each.kind, each.name) not in asked:
            raise not_asked(each)


def not_asked(withheld: Withheld) -> AnswerError:
    """Say that something was found by a name for which its answer does not ask."""
    log, index = withheld.place
    return AnswerError(f"{log}[{index}]: it was found by {withheld.name}, for which this answer does not ask")
