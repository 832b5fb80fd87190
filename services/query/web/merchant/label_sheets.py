"""Sheets of labels: where each label lies on its page, and what stands where on it. Pure; lengths are millimetres from the upper left corner.

Sources: GS1 General Specifications 5.9 (QR code with GS1 Digital Link URI: quiet zone of 4 modules, human-readable text beside it); the label
makers' published templates.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import segno

from services.runtime.call_errors import InvalidRequestError

MAX_LABELS: Final = 500
QUIET_MODULES: Final = 4
POINT_MM: Final = 25.4 / 72
_PAD: Final = 1.5
_LINE: Final = 1.25  # of the size of the text
_SIZES_PT: Final = (9.0, 8.0, 7.0, 6.0, 5.0, 4.5)
_WIDE: Final = frozenset("WF")
_NARROW_EM: Final = 0.58  # digits of Helvetica have 0.556
_BOLD_EM: Final = 1.06


class Sheet(msgspec.Struct, frozen=True):
    """A page of labels: its size, a label's size, how many there are, where the first one lies, and how far apart they are."""

    name: str
    page: tuple[float, float]
    label: tuple[float, float]
    columns: int = 1
    rows: int = 1
    first: tuple[float, float] = (0.0, 0.0)
    pitch: tuple[float, float] = (0.0, 0.0)

    @property
    def count(self) -> int:
        """How many labels a page has."""
        return self.columns * self.rows


_A4: Final = (210.0, 297.0)
SHEETS: Final = {
    each.name: each
    for each in (
        Sheet("a4-8", _A4, (99.1, 67.7), 2, 4, (4.67, 13.1), (101.6, 67.7)),
        Sheet("a4-21", _A4, (63.5, 38.1), 3, 7, (7.21, 15.15), (66.04, 38.1)),
        Sheet("a4-65", _A4, (38.1, 21.2), 5, 13, (4.75, 10.7), (40.64, 21.2)),
        Sheet("roll-50x30", (50.0, 30.0), (50.0, 30.0)),
        Sheet("roll-62x29", (62.0, 29.0), (62.0, 29.0)),
        Sheet("roll-100x150", (100.0, 150.0), (100.0, 150.0)),
    )
}
"""By name: A4 with 8, 21 or 65 labels (as Avery L7165, L7160, L7651), and single ones from a roll."""


class Label(msgspec.Struct, frozen=True):
    """A label: the address in its code, a name to be read, and the lines that spell the key."""

    address: str
    name: str
    lines: tuple[str, ...]


class Text(msgspec.Struct, frozen=True):
    """A line of text: where its baseline begins, its size in points."""

    x: float
    y: float
    size_pt: float
    text: str
    is_bold: bool = False


class Placed(msgspec.Struct, frozen=True):
    """A label on its page: bars of the code as (x, y, width, height), and text."""

    bars: tuple[tuple[float, float, float, float], ...]
    texts: tuple[Text, ...]


def pages(sheet: Sheet, labels: Sequence[Label]) -> Iterator[list[Placed]]:
    """Lay labels out, page after page. Raises: InvalidRequestError where an address is too long for a code, or there are too many."""
    if len(labels) > MAX_LABELS:
        raise InvalidRequestError(f"at most {MAX_LABELS}", "keys")
    for start in range(0, len(labels), sheet.count):
        yield [
            _placed(sheet, place, label) for place, label in enumerate(labels[start : start + sheet.count])
        ]


def width_mm(text: str, size_pt: float, *, is_bold: bool = False) -> float:
    """Say how wide a text gets, rather too much than too little."""
    em = sum(1.0 if unicodedata.east_asian_width(each) in _WIDE else _NARROW_EM for each in text)
    return em * size_pt * POINT_MM * (_BOLD_EM if is_bold else 1.0)


def _placed(sheet: Sheet, place: int, label: Label) -> Placed:
    row, column = divmod(place, sheet.columns)
    left = sheet.first[0] + column * sheet.pitch[0] + _PAD
    top = sheet.first[1] + row * sheet.pitch[1] + _PAD
    width, height = sheet.label[0] - 2 * _PAD, sheet.label[1] - 2 * _PAD
    if width >= 1.3 * height:  # text on the right
        side = min(height, 0.55 * width)
        box = (left + side, top, width - side, height)
    else:
        side = min(width, 0.7 * height)
        box = (left, top + side, width, height - side)
    return Placed(tuple(_bars(label.address, left, top, side)), tuple(_texts(label, box)))


def _bars(address: str, left: float, top: float, side: float) -> Iterator[tuple[float, float, float, float]]:
    try:
        matrix = segno.make(address, error="m", micro=False).matrix
    except segno.DataOverflowError as error:
        raise InvalidRequestError("too long for a QR code", "keys") from error
    module = side / (len(matrix) + 2 * QUIET_MODULES)
    for y, line in enumerate(matrix):
        x = 0
        while x < len(line):
            end = x
            while end < len(line) and line[end]:
                end += 1
            if end > x:
                corner = (left + (x + QUIET_MODULES) * module, top + (y + QUIET_MODULES) * module)
                yield (*corner, (end - x) * module, module)
            x = max(end, x + 1)


def _texts(label: Label, box: tuple[float, float, float, float]) -> Iterator[Text]:
    """Put the lines into a box, as large as all of them fit; what does not fit at the smallest size is cut at its end."""
    left, top, width, height = box
    lines = [(label.name, True)] if label.name else []
    lines += [(line, False) for line in label.lines]
    size = next((each for each in _SIZES_PT if _fits(lines, each, width, height)), _SIZES_PT[-1])
    step = size * POINT_MM * _LINE
    for number, (line, is_bold) in enumerate(lines, 1):
        if number * step <= height:
            yield Text(left, top + number * step, size, _cut(line, size, width, is_bold=is_bold), is_bold)


def _fits(lines: Sequence[tuple[str, bool]], size: float, width: float, height: float) -> bool:
    is_low = len(lines) * size * POINT_MM * _LINE <= height
    return is_low and all(width_mm(line, size, is_bold=is_bold) <= width for line, is_bold in lines)


def _cut(text: str, size: float, width: float, *, is_bold: bool) -> str:
    if width_mm(text, size, is_bold=is_bold) <= width:
        return text
    while text and width_mm(f"{text}...", size, is_bold=is_bold) > width:
        text = text[:-1]
    return f"{text}..."
