"""Near misses: a name without a prefix that the standard does not know, and which known member it is meant to be. Pure.

`bizStpe` would pass as an extension, and the event would have no step. Only read where there is a name that is not known.
Source: the optimal string alignment distance of 1 (Damerau 1964: one letter missing, too many, another, or two neighbours swapped).
"""

from collections.abc import Collection, Container, Iterable, Mapping
from typing import Any, Final

LEAST_LETTERS: Final = 5
"""Shorter known names have near misses that are words of their own: `type` and `types`, `time` and `tile`."""
_END: Final = 2


class Defined(str):
    """A member's name that the @context at hand defines: it means what that says, and is no misspelling."""

    __slots__ = ()


class Spelling:
    """The members that the standard knows at one place."""

    def __init__(self, known: Iterable[str]) -> None:
        """Keep them by what a near miss leaves of them.

        One edit cannot change both the first two and the last two of five letters: so few are compared with an unknown name.
        """
        self._by_case: dict[str, list[str]] = {}
        self._by_start: dict[str, list[str]] = {}
        self._by_end: dict[str, list[str]] = {}
        for name in known:
            self._by_case.setdefault(name.lower(), []).append(name)
            if len(name) >= LEAST_LETTERS:
                self._by_start.setdefault(name[:_END], []).append(name)
                self._by_end.setdefault(name[-_END:], []).append(name)

    def meant(self, name: str, present: Container[str]) -> tuple[str, ...]:
        """Say what a name that is not known is a near miss of: it differs in case only, or by one edit.

        Args:
            name: without a prefix.
            present: the members of the object in which it is; one that is there has not been misspelt.
        Returns: each that may be meant; empty for a `Defined` name, and for one that is like none.
        """
        if type(name) is Defined:
            return ()
        folded = name.lower()
        alike = (
            *self._by_case.get(folded, ()),
            *self._by_start.get(name[:_END], ()),
            *self._by_end.get(name[-_END:], ()),
        )
        if not alike:  # most names: an event may have very many
            return ()
        absent = (each for each in dict.fromkeys(alike) if each not in present)
        return tuple(each for each in absent if each.lower() == folded or _is_one_edit(name, each))


def _is_one_edit(name: str, known: str) -> bool:
    """Say whether two names differ by one letter at the most, or by two neighbours in the other order."""
    if abs(len(name) - len(known)) > 1:
        return False
    shorter = min(len(name), len(known))
    same = next((place for place in range(shorter) if name[place] != known[place]), shorter)
    ours, theirs = name[same:], known[same:]
    return (
        ours[1:] == theirs[1:]
        or ours[1:] == theirs
        or ours == theirs[1:]
        or (ours[:2] == theirs[:2][::-1] and ours[2:] == theirs[2:])
    )


def defined_terms(*contexts: object) -> frozenset[str]:
    """Give the terms that contexts define where they are written out: of those that are URIs nothing is known, and nothing is fetched.

    Args:
        contexts: of any shape, from the outermost one in. What a later one says of a term counts, and null takes it away.
    """
    meanings: dict[str, object] = {}
    for context in contexts:
        for each in context if isinstance(context, list) else [context]:
            meanings.update(each if isinstance(each, Mapping) else {})
    return frozenset(
        term for term, meaning in meanings.items() if meaning is not None and not term.startswith("@")
    )


def with_defined(value: Any, terms: Collection[str]) -> Any:
    """Give a decoded JSON value in which the members' names that are among the `terms` are `Defined`."""
    if isinstance(value, dict):
        return {
            Defined(name) if name in terms else name: with_defined(each, terms)
            for name, each in value.items()
        }
    return [with_defined(each, terms) for each in value] if isinstance(value, list) else value
