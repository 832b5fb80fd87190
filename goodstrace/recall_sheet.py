"""A recall as a spreadsheet: CSV with the key data, or XLSX with a sheet each for key data, goods, containers, orders, holders and what is withheld."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from goodstrace import recall_spool
from goodstrace.recall_spool import RecallSpool

if TYPE_CHECKING:
    from xlsxwriter import Workbook

MAX_CHARS: Final = 32_767  # of a cell (ECMA-376, Excel's limits)
CUT: Final = " [cut: longer than a cell]"
MAX_ROWS: Final = 1_048_576  # of a sheet, its header among them
_TIMES: Final = frozenset({"Date", "Since", "Until", "First at", "Recorded"})
_FIRST_YEAR: Final = 1900  # before that a workbook knows no time
_NUMBERS: Final = frozenset({"Quantity", "Level", "Merchant", "Index"})
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
Rows = Iterable[tuple[Any, ...]]


def write_csv(path: Path, spool: RecallSpool) -> int:
    """Write the key data as CSV (RFC 4180, UTF-8), times in ISO 8601; gives the number of rows.

    A text that a spreadsheet would take for a formula gets an apostrophe before it: it was written by whoever captured the event.
    """
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(recall_spool.KEY_DATA)
        for count, row in enumerate(spool.key_data(), 1):  # noqa: B007 - counted
            writer.writerow(
                [_text(name, value) for name, value in zip(recall_spool.KEY_DATA, row, strict=True)]
            )
    return count


def write_xlsx(path: Path, spool: RecallSpool, told: Callable[[int], None] = lambda _cut: None) -> int:
    """Write all sheets as XLSX, with filters, and no formulas or links; gives the number of rows of key data.

    Where there are more rows than a sheet takes, they go on in another one. A text longer than a cell takes ends in CUT, and `told` is
    called at the end with how many there are.
    """
    from xlsxwriter import Workbook  # noqa: PLC0415 - it takes a tenth of a second, which only this needs

    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    cut = _Cut()
    with Workbook(path, options) as book:
        count = _sheets(book, cut, "Key data", recall_spool.KEY_DATA, spool.key_data())
        _sheets(book, cut, "Goods", recall_spool.GOODS, spool.goods())
        _sheets(book, cut, "Containers", recall_spool.CONTAINERS, spool.containers())
        _sheets(book, cut, "Orders", recall_spool.ORDERS, spool.orders())
        _sheets(book, cut, "Holders", recall_spool.HOLDERS, spool.holders())
        if spool.has_withheld():
            _sheets(book, cut, "Withheld", recall_spool.WITHHELD, spool.withheld())
    if cut.count:
        told(cut.count)
    return count


class _Cut:
    """Makes texts fit into cells, and counts those that did not."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, text: str) -> str:
        units = len(text) + sum(each > "\uffff" for each in text) if len(text) > MAX_CHARS // 2 else len(text)
        if units <= MAX_CHARS:  # in UTF-16, as Excel counts
            return text
        self.count += 1
        room = (MAX_CHARS - len(CUT)) * 2
        return text.encode("utf-16-le")[:room].decode("utf-16-le", "ignore") + CUT


def _sheets(book: Workbook, cut: _Cut, name: str, header: tuple[str, ...], rows: Rows) -> int:
    waiting = iter(rows)
    count = 0
    for number in range(1, 1_000):
        first = list(islice(waiting, 1))
        if not first and number > 1:
            break
        title = name if number == 1 else f"{name} {number}"
        count += _sheet(book, cut, title, header, chain(first, islice(waiting, MAX_ROWS - 2)))
    return count


def _sheet(
    book: Workbook, cut: _Cut, title: str, header: tuple[str, ...], rows: Iterator[tuple[Any, ...]]
) -> int:
    sheet = book.add_worksheet(title)
    bold, dated = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, len(header) - 1, 22)
    sheet.write_row(0, 0, header, bold)
    writers: list[Callable[[int, int, Any], Any]] = []
    for name in header:
        if name in _TIMES:
            writers.append(lambda row, column, value: _write_time(sheet, (row, column), value, dated))
        elif name in _NUMBERS:
            writers.append(lambda row, column, value: _write_number(sheet, row, column, value))
        else:
            writers.append(lambda row, column, value: sheet.write_string(row, column, cut(str(value or ""))))
    count = 0
    for count, values in enumerate(rows, 1):
        for column, (write, value) in enumerate(zip(writers, values, strict=True)):
            write(count, column, value)
    sheet.autofilter(0, 0, count, len(header) - 1)
    return count


def _write_time(sheet: Any, place: tuple[int, int], time_us: int, dated: Any) -> None:
    if time_us and _time(time_us).year >= _FIRST_YEAR:
        sheet.write_datetime(*place, _time(time_us), dated)
    elif time_us:
        sheet.write_string(*place, _time(time_us).isoformat())


def _write_number(sheet: Any, row: int, column: int, value: Any) -> None:
    """Write a quantity as a number, so that it can be summed; as text where it has more digits than one holds."""
    text = str(value)
    try:
        exact = len(text.replace(".", "")) <= 15
        number = float(text)
    except ValueError:
        sheet.write_string(row, column, text)
        return
    if exact:
        sheet.write_number(row, column, number)
    else:
        sheet.write_string(row, column, text)


def _text(name: str, value: Any) -> str:
    if name in _TIMES:
        return _time(value).replace(tzinfo=UTC).isoformat() if value else ""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) and name not in _NUMBERS else text


def _time(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).replace(
        tzinfo=None, microsecond=time_us % 1_000_000
    )
