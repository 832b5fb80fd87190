"""Who signed the events of an answer, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from goodstrace.cli.display import moment
from goodstrace.verification import VerifiedEvent


def signers(events: Iterable[VerifiedEvent]) -> Iterator[str]:
    """Give a line for each key by which merchants signed events, with where it was registered."""
    found: Counter[tuple[int, str, str]] = Counter()
    for event in events:
        if event.signed_by is not None:
            found[event.position.entry.merchant, event.signed_by, _source(event)] += 1
    for (merchant, kid, source), count in sorted(found.items()):
        yield f"signed: {count} events by merchant {merchant} over their exact bytes, key {kid}, {source}"


def _source(event: VerifiedEvent) -> str:
    entry = event.registration
    if entry is None:
        return "which you were given"
    return f"registered in {entry.log}[{entry.index}] ({moment(entry.entry.time * 1000)})"
