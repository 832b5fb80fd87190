"""Finding what is about a person in an event's JSON form, by a table. Pure.

An event that came as XML is looked at in the JSON form that it is read into, so that one table says the same of both.
"""

from collections.abc import Mapping
from typing import Any, Final

from goodstrace.vocabulary import Kind, term
from services.collector.personal.table import Table, Wording, folded

Path = tuple[str | int, ...]
"""A place in a JSON value: member names and array indexes from the top."""

OF_GOODS: Final = frozenset({
    "@context", "type", "eventID", "eventTime", "recordTime", "eventTimeZoneOffset", "epcList", "childEPCs", "inputEPCList",
    "outputEPCList", "quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList", "parentID", "action",
    "bizStep", "disposition", "persistentDisposition", "transformationID", "certificationInfo",
})  # fmt: skip
"""Members of an event that can hold nothing but identifiers of goods, times and words: they are not looked into."""
LISTS: Final[Mapping[str, str]] = {
    "bizTransactionList": "bizTransaction",
    "sourceList": "source",
    "destinationList": "destination",
}
"""Lists whose items go as a whole, by the member that says what the item is."""
PLACES: Final = ("readPoint", "bizLocation")
"""Members that go as a whole where it is their `id` that says too much."""
_NONE: Final[frozenset[str]] = frozenset()


class Finder:
    """Finds what a table names in events that have the same context around them."""

    def __init__(self, context: object, table: Table) -> None:
        """Look for what `table` names; `context` is the @context of the events' document, of any shape."""
        self.table = table
        self._members = _with_aliases(table.members, context, table)

    def find(self, event: Mapping[str, Any]) -> tuple[Path, ...]:
        """Find what the table names.

        Args:
            event: the event's JSON form, as checked by `check_event`. Its own @context is looked at as well.
        Returns: the places in the order of the event; none lies in another.
        """
        members = self._members
        if "@context" in event:
            members = _with_aliases(members, event["@context"], self.table)
        walk = _Walk(self.table, members)
        for name, value in event.items():
            if name in OF_GOODS:
                continue
            if name in LISTS:
                walk.listed(event, name, value)
            elif name in PLACES:
                walk.place(event, name, value)
            else:
                walk.member(name, value, (name,))
        return tuple(walk.found)


def _with_aliases(members: frozenset[str], context: object, table: Table) -> frozenset[str]:
    aliases = _aliases(context, table)
    return members | aliases if aliases else members


def _aliases(context: object, table: Table) -> frozenset[str]:
    """Give the names that a context written out makes of those in the table."""
    if isinstance(context, list):
        return _NONE.union(*(_aliases(each, table) for each in context if type(each) is not str))
    if not isinstance(context, dict):
        return _NONE
    return frozenset(folded(name) for name, meant in context.items() if _meaning(meant) in table.members)


def _meaning(meant: object) -> str:
    uri = meant.get("@id") if isinstance(meant, dict) else meant
    return folded(uri) if isinstance(uri, str) else ""


class _Walk:
    """One pass over one event; depth is bounded, since documents are."""

    def __init__(self, table: Table, members: frozenset[str]) -> None:
        self._table, self._members = table, members
        self.found: list[Path] = []

    def listed(self, event: Mapping[str, Any], name: str, value: Any) -> None:
        """Look at bizTransactionList, sourceList or destinationList."""
        member = LISTS[name]
        for index, item in enumerate(value if isinstance(value, list) else ()):
            said = item.get(member) if isinstance(item, dict) else None
            if isinstance(said, str) and self._is_placed(event, member, said):
                self.found.append((name, index))
            else:
                self._inside(item, (name, index))

    def place(self, event: Mapping[str, Any], name: str, value: Any) -> None:
        """Look at readPoint or bizLocation."""
        said = value.get("id") if isinstance(value, dict) else None
        if isinstance(said, str) and self._is_placed(event, name, said):
            self.found.append((name,))
        else:
            self._inside(value, (name,))

    def member(self, name: str, value: Any, path: Path) -> None:
        """Look at a member that may have any name."""
        known = folded(name)
        wording = self._table.texts.get(known)
        if known in self._members or (wording is not None and _says(value, wording)):
            self.found.append(path)
        else:
            self._inside(value, path)

    def _inside(self, value: Any, path: Path) -> None:
        if type(value) is str:
            if self._table.anywhere is not None and self._table.anywhere.fullmatch(value):
                self.found.append(path)
        elif isinstance(value, dict):
            for name, each in value.items():
                self.member(name, each, (*path, name))
        elif isinstance(value, list):
            for index, each in enumerate(value):
                self._inside(each, (*path, index))

    def _is_placed(self, event: Mapping[str, Any], place: str, said: str) -> bool:
        if self._table.anywhere is not None and self._table.anywhere.fullmatch(said):
            return True
        return any(
            (not part.places or place in part.places)
            and pattern.fullmatch(said)
            and part.counts(_word("bizstep", event, "bizStep"), _word("disp", event, "disposition"))
            for part, pattern in self._table.placed
        )


def _says(value: Any, wording: Wording) -> bool:
    """Say whether a wording is in a text, or in one of a list of texts; a text may be a value object of JSON-LD."""
    if type(value) is str:
        return wording.is_in(value)
    texts = value if isinstance(value, list) else [value]
    plain = (each.get("@value") if isinstance(each, dict) else each for each in texts)
    return any(isinstance(each, str) and wording.is_in(each) for each in plain)


def _word(kind: Kind, event: Mapping[str, Any], name: str) -> str:
    said = event.get(name)
    return (term(kind, said) or said) if isinstance(said, str) else ""
