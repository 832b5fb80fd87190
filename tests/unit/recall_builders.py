"""Driving a recall over facts in memory."""

from collections.abc import Callable, Iterable

from goodstrace.tracing import Lookup, SealedFacts
from goodstrace.tracing.recall import Page
from goodstrace.tracing.recalling import Found, RecallQuery, Totals, recall
from tests.unit.tracing_builders import Source


def drive_recall(
    query: RecallQuery,
    sealed: Iterable[SealedFacts] | Source,
    tell: Callable[[Found], None] | None = None,
    page: int = 3,
) -> tuple[list[Found], Totals]:
    """Recall to the end, lots in pages of `page` events; what is found is told, or else returned."""
    source = sealed if isinstance(sealed, Source) else Source(sealed)
    shown: dict[object, int] = {}
    found: list[Found] = []
    recalling = recall(query, b"any")
    sent: list[SealedFacts] | None = None
    while True:
        try:
            asked = recalling.send(sent)
        except StopIteration as stop:
            return found, stop.value
        sent = None
        if isinstance(asked, Page):
            everything = source(Lookup(frozenset([asked.name]), 10**9))
            first = shown.get(asked.name, 0)
            sent = everything[first : first + min(page, asked.limit)]
            shown[asked.name] = first + len(sent)
        elif isinstance(asked, Lookup):
            sent = source(asked)
        elif tell is not None:
            tell(asked)
        else:
            found.append(asked)
