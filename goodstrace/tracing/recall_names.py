"""The names that lead on from what a recall has shown: by these alone it tells that something is withheld, and a client can check it."""

from typing import Final

from goodstrace.facts import Facts
from goodstrace.tracing.model import Name, NameKind
from goodstrace.tracing.recall_memory import Seen
from goodstrace.visibility import told_names


class NamesShown:
    """Names by their kinds: those of goods and containers, and of each event its goods, lots, IDs and transformation; one hash each."""

    def __init__(self, seen: Seen) -> None:
        """Keep them in `seen`, which may hold other texts that do not begin with "name "."""
        self._seen: Final = seen

    def add_key(self, key: str) -> None:
        """Add goods or a container."""
        self.add((NameKind.KEY, key))

    def add_event(self, facts: Facts) -> None:
        """Add what an event names."""
        for name in told_names(facts):
            self.add(name)

    def add(self, name: Name) -> None:
        """Add a name."""
        self._seen.add(_text(name))

    def __contains__(self, name: Name) -> bool:
        return _text(name) in self._seen


def _text(name: Name) -> str:
    return f"name {name[0].value} {name[1]}"
