"""Which events a subscription is for. Pure, and the same for the service that sends them and the client that checks them."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from goodstrace.company import company_digits
from goodstrace.errors import FilterError
from goodstrace.facts import Facts
from goodstrace.identifiers import canonical_key
from goodstrace.merkle import MAX_SIZE

MAX_VALUES: Final = 64
MAX_KEY_CHARS: Final = 2048
MAX_STEP_CHARS: Final = 256
_PREFIX: Final = re.compile(r"[0-9]{4,12}", re.ASCII)


class EventFilter(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event is meant where each filter that is given has a value that matches; all are, where none is given.

    keys: canonical, which the event names. merchants: numbers of those who captured it. steps: its classified or business
    step. prefixes: GS1 company prefixes, 4 to 12 digits, under which a key lies that it names. Each sorted and distinct.
    """

    keys: tuple[str, ...] = ()
    merchants: tuple[int, ...] = ()
    steps: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    def matches(self, merchant: int, facts: Facts | None) -> bool:
        """Say whether an event is meant. Of one whose facts are not there any more, what only they tell is not asked.

        Who looks events up by key knows that without facts. Step and prefix are not known then: such an event is not meant.
        """
        if self.merchants and merchant not in self.merchants:
            return False
        if facts is None:
            return not self.steps and not self.prefixes
        if self.steps and facts.step not in self.steps and facts.business_step not in self.steps:
            return False
        if not self.keys and not self.prefixes:
            return True
        named = {key for keys in facts.keys.values() for key in keys}.union(facts.lot_of.values())
        if self.keys and named.isdisjoint(self.keys):
            return False
        return not self.prefixes or any(company_digits(key)[0].startswith(self.prefixes) for key in named)

    def text(self) -> str:
        """Write it down, for browse records and files: JSON, with what is not asked left out."""
        return msgspec.json.encode(self).decode()


def event_filter(
    keys: Iterable[str] = (),
    merchants: Iterable[int] = (),
    steps: Iterable[str] = (),
    prefixes: Iterable[str] = (),
) -> EventFilter:
    """Make a filter of values in any spelling and order.

    Raises: FilterError naming the field: a value is out of its limits, or there are over MAX_VALUES.
    """
    given: dict[str, list[object]] = {
        "keys": list(keys),
        "merchants": list(merchants),
        "steps": list(steps),
        "prefixes": list(prefixes),
    }
    for field, values in given.items():
        if len(values) > MAX_VALUES:
            raise FilterError(f"at most {MAX_VALUES} values", field)
    return EventFilter(
        keys=tuple(sorted({canonical_key(_text(each, "keys", MAX_KEY_CHARS)) for each in given["keys"]})),
        merchants=tuple(sorted({_number(each) for each in given["merchants"]})),
        steps=tuple(sorted({_text(each, "steps", MAX_STEP_CHARS) for each in given["steps"]})),
        prefixes=tuple(sorted({_prefix(each) for each in given["prefixes"]})),
    )


def _text(value: object, field: str, most: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise FilterError(f"texts of 1 to {most} characters, please", field)
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SIZE:
        raise FilterError("numbers of merchants, please", "merchants")
    return value


def _prefix(value: object) -> str:
    if not isinstance(value, str) or not _PREFIX.fullmatch(value):
        raise FilterError("GS1 company prefixes of 4 to 12 digits, please", "prefixes")
    return value
