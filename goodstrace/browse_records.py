"""Browse records as they are listed: who looked at what, each proved to be in its log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from goodstrace.entry import Kind
from goodstrace.errors import AnswerError
from goodstrace.receipts import Receipt
from goodstrace.verification import VerifiedCheckpoint, VerifiedEntry


@dataclass(frozen=True, slots=True)
class Browses:
    """Verified browse records, newest first, and the checkpoints they are proved under."""

    entries: tuple[VerifiedEntry, ...]
    checkpoints: Mapping[str, VerifiedCheckpoint]
    browse_ids: tuple[str, ...]
    receipts: tuple[Receipt, ...] = ()


def check_browses(browses: Sequence[VerifiedEntry], key: str, user: str) -> None:
    """Check that these are different look-ups of the key, or by the user; what is withheld of them cannot be told."""
    places = {(each.log, each.index) for each in browses}
    if len(places) != len(browses):
        raise AnswerError("the answer shows one look-up twice")
    for each in browses:
        place = f"{each.log}[{each.index}]"
        if each.entry.kind != Kind.BROWSE:
            raise AnswerError(f"{place}: an entry of kind {each.entry.kind} stands where a look-up should")
        if key and "what" in each.parts and key not in _member(each, "what", "keys"):
            raise AnswerError(f"{place}: asked for look-ups of {key} and got one of other goods")
        if user and "who" in each.parts and user != _member(each, "who", "user"):
            raise AnswerError(f"{place}: asked for look-ups by {user} and got one by somebody else")


def _member(entry: VerifiedEntry, part: str, name: str) -> Any:
    try:
        return json.loads(entry.parts[part])[name]
    except (ValueError, TypeError, LookupError) as error:
        raise AnswerError(f"{entry.log}[{entry.index}]: the part {part} of a look-up is malformed") from error
