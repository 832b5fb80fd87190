"""Which elements of an XML event are about a person, by a table: their bytes. Pure.

An element goes as a whole, with its tags: also where it is an attribute of it that the table names. `finding.find` over the JSON form of
what is left says whether anything stayed (an event in which something did is refused, never sealed).
"""

from typing import Final
from xml.parsers import expat

from goodstrace.vocabulary import Kind, term
from goodstrace.xml_event import WRAPPERS
from goodstrace.xml_names import is_declaration
from goodstrace.xml_slices import element_end
from services.collector.personal.finding import LISTS, OF_GOODS, PLACES
from services.collector.personal.table import Table, folded

_ITEMS: Final = frozenset(LISTS.values())
_STEP: Final = "bizStep"
_DISPOSITION: Final = "disposition"


class _Open:
    """An element that is open: `top` says that it is the event, or one of EPCIS 1.x that wraps its members."""

    __slots__ = ("begin", "goes", "local", "pieces", "skipped", "top")

    def __init__(self, local: str, begin: int, *, goes: bool, skipped: bool, top: bool) -> None:
        self.local, self.begin = local, begin
        self.goes, self.skipped, self.top = goes, skipped, top
        self.pieces: list[str] = []


def spans(content: bytes, table: Table) -> list[tuple[int, int]]:
    """Find the elements that go: (begin, end) of each in bytes, in order, none within another.

    Args:
        content: an event element that was read before, so that it is well-formed.
        table: what goes.
    """
    words = _words(content)
    return _Finder(content, table, words.get(_STEP, ""), words.get(_DISPOSITION, "")).run()


def _words(content: bytes) -> dict[str, str]:
    """Read the event's business step and disposition, in bare words: they may stand behind what depends on them."""
    found: dict[str, list[str]] = {}
    way: list[str] = []
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True

    def start(name: str, _attributes: dict[str, str]) -> None:
        way.append(name)

    def end(_name: str) -> None:
        way.pop()

    def characters(text: str) -> None:
        if way[-1] in (_STEP, _DISPOSITION):
            found.setdefault(way[-1], []).append(text)

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    parser.Parse(content, True)
    kinds: dict[str, Kind] = {_STEP: "bizstep", _DISPOSITION: "disp"}
    texts = {name: "".join(pieces).strip() for name, pieces in found.items()}
    return {name: term(kinds[name], text) or text for name, text in texts.items()}


class _Finder:
    """One pass of expat."""

    def __init__(self, content: bytes, table: Table, business_step: str, disposition: str) -> None:
        self._content, self._table = content, table
        self._placed = [
            (part.places, pattern)
            for part, pattern in table.placed
            if part.counts(business_step, disposition)
        ]
        self._stack: list[_Open] = []
        self._found: list[tuple[int, int]] = []

    def run(self) -> list[tuple[int, int]]:
        parser = self._parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(self._content, True)
        del self._parser  # the two hold each other
        return sorted(self._found)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        parent = self._stack[-1] if self._stack else None
        local = name.rpartition(":")[2]
        skipped = parent is not None and (parent.skipped or (parent.top and local in OF_GOODS))
        top = parent is None or (parent.top and local in WRAPPERS)
        goes = parent is not None and not skipped and not top and self._names(local, attributes)
        self._stack.append(_Open(local, self._parser.CurrentByteIndex, goes=goes, skipped=skipped, top=top))

    def _characters(self, text: str) -> None:
        if not self._stack[-1].skipped:
            self._stack[-1].pieces.append(text)

    def _end(self, _name: str) -> None:
        opened = self._stack.pop()
        if not self._stack or opened.skipped or opened.top:
            return
        parent = self._stack[-1]
        text = "".join(opened.pieces)
        if self._says(opened.local, parent.local, text.strip()):
            if opened.local == "id" and parent.local in PLACES:
                parent.goes = True
            else:
                opened.goes = True
        if opened.goes:
            end = element_end(self._content, opened.begin, self._parser.CurrentByteIndex)
            while self._found and self._found[-1][0] > opened.begin:  # what lies in it: always the last ones
                self._found.pop()
            self._found.append((opened.begin, end))

    def _names(self, local: str, attributes: dict[str, str]) -> bool:
        """Say whether an element goes by its name, or by its attributes."""
        if folded(local) in self._table.members:
            return True
        return any(
            folded(name) in self._table.members or self._says(name, "", value)
            for name, value in attributes.items()
            if not is_declaration(name)
        )

    def _says(self, local: str, parent: str, text: str) -> bool:
        """Say whether an element or attribute goes by its text."""
        if not text:
            return False
        table = self._table
        if table.anywhere is not None and table.anywhere.fullmatch(text):
            return True
        wording = table.texts.get(folded(local))
        if wording is not None and wording.is_in(text):
            return True
        place = local if local in _ITEMS else parent if local == "id" and parent in PLACES else ""
        return bool(place) and any(
            (not places or place in places) and each.fullmatch(text) for places, each in self._placed
        )
