"""Where in an XML event a fault lies: from the byte or the JSON pointer to line, column and XPath. Pure.

Only read where there is a fault, so it may take a pass of its own over the event.
"""

from collections import Counter
from typing import Any, Final
from xml.parsers import expat

import msgspec

from goodstrace.xml_event import ITEMS, WRAPPERS
from services.collector.errors import Fault
from services.collector.xml_documents import Start

_SHOWN_CHARS: Final = 100
_ONE_QUANTITY: Final = (("quantityList", 1), ("quantityElement", 1))


class Place(msgspec.Struct, frozen=True):
    """A place in an event: an XPath below its element, and line and column counted from the element's first byte, from 1."""

    path: str = ""
    line: int = 1
    column: int = 1

    def fault(self, start: Start, detail: str) -> Fault:
        """Give a fault at this place of an event that begins at `start` of its document."""
        line = start.line + self.line - 1
        column = self.column if self.line > 1 else start.column + self.column - 1
        return Fault(start.path + self.path, f"{detail} (line {line}, column {column})")


def at_offset(content: bytes, offset: int) -> Place:
    """Find the last element that begins at or before a byte of an event."""
    return _Search(content, (), offset).run()


def at_pointer(content: bytes, pointer: str) -> Place:
    """Find the element or attribute from which a member of the event's JSON form came; where it is missing, its parent."""
    if pointer in ("", "/type"):  # the type is the element's own name
        return Place()
    return _Search(content, _steps(pointer), 0).run()


def _steps(pointer: str) -> tuple[tuple[str, int], ...]:
    """Turn a JSON pointer into steps: the name of an element, and the how manieth of this name it is."""
    names = [each.replace("~1", "/").replace("~0", "~") for each in pointer.split("/")[1:]]
    steps: list[tuple[str, int]] = []
    item = ""
    for name in names:
        if name.isdecimal() and steps:
            last, _ = steps[-1]
            item = ITEMS.get(last, "")
            if item:
                steps.append((item, int(name) + 1))
            else:
                steps[-1] = last, int(name) + 1
        elif name != item:  # the text of <source> is the member `source`
            steps.append((name, 1))
    return tuple(steps)


class _Open(msgspec.Struct):
    """An element on the way: how many `steps` lead to it, None where it lies beside them; children counted by their names.

    `met` is shared with the wrappers of EPCIS 1.x in it, which are no step.
    """

    path: str
    steps: int | None
    met: Counter[str]
    children: Counter[str]


class _Search:
    """One pass; `best` is the place found so far."""

    def __init__(self, content: bytes, steps: tuple[tuple[str, int], ...], offset: int) -> None:
        self._content = content
        self._steps = steps
        self._offset = offset
        self._stack: list[_Open] = []
        self._reached = -1
        self._best = Place()

    def run(self) -> Place:
        parser = self._parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.Parse(self._content, True)
        del self._parser  # the two hold each other
        missing = "".join(f"/{_shown(name)}" for name, _ in self._steps[max(self._reached, 0) :])
        return msgspec.structs.replace(self._best, path=self._best.path + missing)

    def _start(self, name: str, attributes: dict[str, Any]) -> None:
        opened = self._opened(name)
        self._stack.append(opened)
        if self._steps:
            if opened.steps is not None and opened.steps > self._reached:
                self._reached = opened.steps
                self._keep(opened.path)
                if opened.steps == len(self._steps) - 1 and self._steps[-1][0] in attributes:
                    self._reached += 1
                    self._keep(f"{opened.path}/@{_shown(self._steps[-1][0])}")
        elif self._parser.CurrentByteIndex <= self._offset:
            self._keep(opened.path)

    def _opened(self, name: str) -> _Open:
        if not self._stack:
            if name.endswith("QuantityEvent"):  # it has no list: the members of the one element are its own
                self._steps = tuple(each for each in self._steps if each not in _ONE_QUANTITY)
            return _Open("", 0, Counter(), Counter())
        parent = self._stack[-1]
        parent.children[name] += 1
        number = parent.children[name]
        path = f"{parent.path}/{_shown(name)}" + (f"[{number}]" if number > 1 else "")
        if name in WRAPPERS:
            return _Open(path, parent.steps, parent.met, Counter())
        parent.met[name] += 1
        return _Open(path, self._step(parent, name), Counter(), Counter())

    def _step(self, parent: _Open, name: str) -> int | None:
        if parent.steps is None or parent.steps >= len(self._steps):
            return None
        wanted, number = self._steps[parent.steps]
        return parent.steps + 1 if name == wanted and parent.met[name] == number else None

    def _end(self, _name: str) -> None:
        self._stack.pop()

    def _keep(self, path: str) -> None:
        parser = self._parser
        self._best = Place(path, parser.CurrentLineNumber, parser.CurrentColumnNumber + 1)


def _shown(name: str) -> str:
    return name if len(name) <= _SHOWN_CHARS else f"{name[:_SHOWN_CHARS]}..."
