"""Near misses: a name without a prefix that the standard does not know, and which known member it is meant to be. Pure.

`bizStpe` would pass as an extension, and the event would have no step. Only read where there is a name that is not known.
Source: the optimal string alignment distance of 1 (Damerau 1964: one letter missing, too many, another, or two neighbours swapped).
"""

from collections.abc import Container, Iterable, Mapping
from typing import Any, Final

LEAST_LETTERS: Final = 5
"""Shorter known names have near misses that are words of their own: `type` and `types`, `time` and `tile`."""
_END: Final = 2
_CONTEXT: Final = "@context"


class Defined(str):
    """A member's name that an @context around it defines: it means what that says, and is no misspelling."""

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


def with_defined(value: Any, context: object) -> Any:
    """Give a decoded JSON value in which the members' names that a context around them defines are `Defined`; itself where there are none.

    Args:
        value: an event. Each object in it may have an `@context` of its own, which holds for its members and for all within.
        context: what holds around it, of any shape.
    """
    marking = _Marking(context)
    marked = marking.of(value)
    return marked if marking.count else value


def told_terms(context: object) -> dict[str, bool]:
    """Say of each term that a context names where it is written out whether it defines it: null takes a term away, and the last of several counts.

    Of contexts that are URIs nothing is known, and nothing is fetched; `@vocab` and other keywords are no terms.
    """
    return {
        term: meaning is not None
        for each in (context if isinstance(context, list) else [context])
        if isinstance(each, Mapping)
        for term, meaning in each.items()
        if not term.startswith("@")
    }


class _Marking:
    """A walk over a value with the terms that are defined where it is.

    They are one set, changed on the way into an object with a context and changed back on the way out: an event may have as many contexts as it
    has objects, each inside long ones, and a copy for each would cost the product.
    """

    def __init__(self, context: object) -> None:
        self.count = 0
        self._terms = {term for term, is_defined in told_terms(context).items() if is_defined}

    def of(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.of(each) for each in value]
        if not isinstance(value, dict):
            return value
        told = told_terms(value.get(_CONTEXT))
        changed = {term for term, is_defined in told.items() if is_defined is not (term in self._terms)}
        self._terms ^= changed
        marked = {
            self._name(name): each if name == _CONTEXT else self.of(each) for name, each in value.items()
        }
        self._terms ^= changed
        return marked

    def _name(self, name: str) -> str:
        if name not in self._terms:
            return name
        self.count += 1
        return Defined(name)
