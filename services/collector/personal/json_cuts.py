"""Where members and items lie in the bytes of a JSON event, and which bytes go with them so that JSON is left. Pure."""

import re
from collections.abc import Collection
from typing import Final

import msgspec

from services.collector.personal.finding import Path

_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},:]|[^\s\[\]{},:"]++', re.DOTALL)
_OPEN: Final = (b"{", b"[")
_CLOSE: Final = (b"}", b"]")


class _Box:
    """An object or array that is open: where its children begin and end, and which of them are named."""

    __slots__ = ("begins", "ends", "is_object", "name", "named", "path", "wanted")

    def __init__(self, path: Path, *, is_object: bool, wanted: bool) -> None:
        self.path, self.is_object, self.wanted = path, is_object, wanted
        self.name: str | None = None
        self.begins: list[int] = []
        self.ends: list[int] = []
        self.named: set[int] = set()

    def child(self) -> Path:
        """Give the path of the child that is being read."""
        return (*self.path, self.name if self.is_object and self.name is not None else len(self.begins) - 1)

    def cuts(self) -> list[tuple[int, int]]:
        """Give what goes: with each run of children the comma before it, else the one behind."""
        found, index = [], 0
        while index < len(self.begins):
            if index not in self.named:
                index += 1
                continue
            first = index
            while index < len(self.begins) and index in self.named:
                index += 1
            if first:
                found.append((self.ends[first - 1], self.ends[index - 1]))
            elif index < len(self.begins):
                found.append((self.begins[0], self.begins[index]))
            else:
                found.append((self.begins[0], self.ends[-1]))
        return found


def spans(content: bytes, paths: Collection[Path]) -> list[tuple[int, int]]:
    """Find the bytes that go with members and items.

    Args:
        content: a JSON object that a strict parser has read: no member is there twice.
        paths: of members and items that are in it, none within another.
    Returns: (begin, end) of bytes, in order; what is left without them is JSON, and all else of it as it was.
    """
    wanted = set(paths)
    on_the_way = {path[:depth] for path in wanted for depth in range(len(path))}
    found: list[tuple[int, int]] = []
    stack: list[_Box] = []
    for token in _TOKEN.finditer(content):
        text = token[0]
        if text in _CLOSE:
            box = stack.pop()
            found += box.cuts()
            if stack:
                _end(stack[-1], token.end(), wanted)
        elif text == b",":
            stack[-1].name = None
        elif text != b":":
            _value(text, token, stack, on_the_way, wanted)
    return sorted(found)


def _value(
    text: bytes, token: re.Match[bytes], stack: list[_Box], on_the_way: set[Path], wanted: set[Path]
) -> None:
    """Take a name, a scalar, or the beginning of an object or array."""
    parent = stack[-1] if stack else None
    if parent is not None:
        if parent.is_object and parent.name is None:
            parent.begins.append(token.start())
            parent.name = msgspec.json.decode(text, type=str) if parent.wanted else ""
            return
        if not parent.is_object:
            parent.begins.append(token.start())
    if text in _OPEN:
        path = parent.child() if parent is not None and parent.wanted else ()
        is_wanted = parent is None or (parent.wanted and path in on_the_way)
        stack.append(_Box(path, is_object=text == b"{", wanted=is_wanted))
    elif parent is not None:
        _end(parent, token.end(), wanted)


def _end(parent: _Box, at: int, wanted: set[Path]) -> None:
    """Note that a child has ended."""
    parent.ends.append(at)
    if parent.wanted and parent.child() in wanted:
        parent.named.add(len(parent.begins) - 1)
