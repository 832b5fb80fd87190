"""The lists of values: the standard's vocabulary, and the identifiers that events name. Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from goodstrace.facts import Facts, Role
from goodstrace.vocabulary import words
from services.query.epcis_matching import instances
from services.query.epcis_parameters import EVENT_TYPES
from services.runtime.call_limits import MAX_KEY_CHARS

MAX_VALUES_CHARS: Final = 256 * 1024  # the browse record names them all
VOCABULARIES: Final[Mapping[str, tuple[str, ...]]] = {
    "eventTypes": EVENT_TYPES,
    "bizSteps": tuple(sorted(words("bizstep"))),
    "dispositions": tuple(sorted(words("disp"))),
}
"""Lists that show nothing of any record: what the standard knows."""
_EPC_ROLES: Final = (
    Role.EPC,
    Role.LOT,
    Role.CLASS,
    Role.PARENT,
    Role.CHILD,
    Role.INPUT,
    Role.OUTPUT,
)


def _epcs(facts: Facts) -> list[str]:
    return sorted({key for role in _EPC_ROLES for key in instances(facts, role)})


NAMED: Final[Mapping[str, Callable[[Facts], list[str]]]] = {
    "epcs": _epcs,
    "bizLocations": lambda facts: [facts.business_location] if facts.business_location else [],
    "readPoints": lambda facts: [facts.read_point] if facts.read_point else [],
}
"""Lists of what events name, and how to find it in their facts."""
PARAMETER_OF: Final[Mapping[str, str]] = {
    "eventTypes": "eventType",
    "epcs": "MATCH_anyEPC",
    "bizSteps": "EQ_bizStep",
    "bizLocations": "EQ_bizLocation",
    "readPoints": "EQ_readPoint",
    "dispositions": "EQ_disposition",
}
"""By list, the parameter that `.../{value}/events` stands for."""


class ValuePage:
    """The distinct values of one page, as they are found."""

    def __init__(self, most: int) -> None:
        """Hold at most `most` values, and a quarter of a million characters."""
        self.values: dict[str, None] = {}
        self.events = 0
        self._most, self._left = most, MAX_VALUES_CHARS

    def take(self, values: Iterable[str]) -> int:
        """Take the values that an event names, and tell how many it took: fewer where the page is full.

        Values longer than any key that can be asked for are passed over.
        """
        taken = 0
        before = len(self.values)
        for each in values:
            if each not in self.values and len(each) <= MAX_KEY_CHARS:
                if len(self.values) >= self._most or len(each) > self._left:
                    break
                self.values[each] = None
                self._left -= len(each)
            taken += 1
        self.events += len(self.values) > before
        return taken
