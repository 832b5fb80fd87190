"""Where the events of an XML document lie in it, for who signs them: byte slices, and where something can be added behind them. Pure.

The collector cuts documents by rules of its own, with all their checks (services/collector/xml_documents.py); what is signed here and cut
otherwise there does not verify, and is refused. Source: EPCIS 2.0 section 9 (XML binding).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from goodstrace.xml_event import WRAPPERS

_TAG: Final = re.compile(rb"<(?:[^\"'>]++|\"[^\"]*+\"|'[^']*+')*+>")
_LIST: Final = "EventList"


@dataclass(frozen=True, slots=True)
class Slices:
    """Of a document: `events` are (begin, end) of each, in bytes; `root_end` is where the end tag of its own element begins."""

    events: tuple[tuple[int, int], ...]
    root_end: int


def element_end(text: bytes, begin: int, at: int) -> int:
    """Give the byte behind an element.

    Args:
        text: the document.
        begin: of the element's first tag.
        at: where expat stands when it says that the element ends: at its end tag, or at its only one.
    """
    begun = _TAG.match(text, begin)
    if begun is None:
        raise AssertionError("expat has read this tag")
    if begun[0].endswith(b"/>"):
        return begun.end()
    return text.index(b">", at) + 1


def event_slices(text: bytes) -> Slices:
    """Find the events of a document in UTF-8. Raises: ValueError where it is not well-formed, or has no list of events."""
    if b"<!DOCTYPE" in text:
        raise ValueError("a document type declaration is not taken")
    finder = _Finder(text)
    try:
        finder.parser.Parse(text, True)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from error
    if not finder.found_list:
        raise ValueError("there is no EventList")
    return Slices(tuple(finder.events), finder.root_end)


class _Finder:
    """One pass: `way` are the local names of the open elements outside of events."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._way: list[str] = []
        self._depth = 0  # within an event
        self._begin = 0
        self.events: list[tuple[int, int]] = []
        self.found_list = False
        self.root_end = 0
        self.parser = expat.ParserCreate("utf-8")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if self._depth or (_LIST in self._way and local not in WRAPPERS):
            if not self._depth:
                self._begin = self.parser.CurrentByteIndex
            self._depth += 1
            return
        self.found_list = self.found_list or local == _LIST
        self._way.append(local)

    def _end(self, _name: str) -> None:
        at = self.parser.CurrentByteIndex
        if self._depth:
            self._depth -= 1
            if not self._depth:
                self.events.append((self._begin, element_end(self._text, self._begin, at)))
            return
        self._way.pop()
        if not self._way:
            self.root_end = at
