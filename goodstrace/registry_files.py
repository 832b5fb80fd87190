"""Goods and places out of files, as the registry takes them: JSON (one or many) and CSV. Pure.

CSV has a line of names: `key`, or `gtin` or `gln` in its place; `name.<language>`; for goods `pictures` (addresses, separated by blanks, each with
`#sha256=<hex>` where that is known) and `attribute.<name>`; for places `kind`, `street`, `postalCode`, `city`, `region`, `country`,
`latitude`, `longitude`. Empty fields are left out. Source: RFC 4180.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from goodstrace.errors import RegistryFileError

GOODS: Final = "goods"
PLACES: Final = "places"
_PLAIN: Final = {
    GOODS: frozenset[str](),
    PLACES: frozenset({"kind", "street", "postalCode", "city", "region", "country"}),
}
_COORDINATES: Final = ("latitude", "longitude")
_NUMBER: Final = {GOODS: ("gtin", (8, 12, 13, 14), "01", 14), PLACES: ("gln", (13,), "414", 13)}
_HASHED: Final = re.compile(r"(.*)#sha256=([0-9a-f]{64})", re.ASCII)


class Entry(NamedTuple):
    """One of a file's goods or places: where it stands, for people, and its fields. A picture whose digest is not known has none."""

    place: str
    content: dict[str, Any]


def read_file(text: str, kind: str, name: str) -> list[Entry]:
    """Read a file.

    Args:
        text: JSON where it begins with `{` or `[`, else CSV.
        kind: "goods" or "places".
        name: the file's, for places of faults.
    Raises: RegistryFileError naming the place.
    """
    begun = text.lstrip("\ufeff \t\r\n")
    rows = _of_json(begun, name) if begun[:1] in ("{", "[") else _of_csv(begun, kind, name)
    found = [Entry(place, _settled(row, kind, place)) for place, row in rows]
    if not found:
        raise RegistryFileError(f"{name}: there is nothing in it")
    return found


def _of_json(text: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        told: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RegistryFileError(f"{name}: not JSON: {error}") from error
    listed = told if isinstance(told, list) else [told]
    for number, each in enumerate(listed):
        place = f"{name}: /{number}" if isinstance(told, list) else name
        if not isinstance(each, dict):
            raise RegistryFileError(f"{place}: must be an object")
        yield place, each


def _of_csv(text: str, kind: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [each.strip() for each in reader.fieldnames or ()]
        if len(set(columns)) != len(columns):
            raise RegistryFileError(f"{name}: a column is named twice")
        reader.fieldnames = columns
        for row in reader:
            place = f"{name}: line {reader.line_num}"
            if None in row or None in row.values():
                raise RegistryFileError(
                    f"{place}: has {_width(row)} fields where there are {len(columns)} columns"
                )
            yield place, _from_row({column: (row[column] or "").strip() for column in columns}, kind, place)
    except csv.Error as error:
        raise RegistryFileError(f"{name}: line {reader.line_num}: {error}") from error


def _width(row: dict[Any, Any]) -> int:
    return sum(len(each) if isinstance(each, list) else each is not None for each in row.values())


def _from_row(row: dict[str, str], kind: str, place: str) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for column, value in row.items():
        head, _, rest = column.partition(".")
        if not value:
            continue
        if column in ("key", _NUMBER[kind][0]) or column in _PLAIN[kind]:
            content[column] = value
        elif head == "name" and rest:
            content.setdefault("names", {})[rest] = value
        elif kind == GOODS and head == "attribute" and rest:
            content.setdefault("attributes", {})[rest] = value
        elif kind == GOODS and column == "pictures":
            content["pictures"] = value.split()
        elif kind == PLACES and column in _COORDINATES:
            content.setdefault("coordinates", {})[column] = _degrees(value, column, place)
        else:
            raise RegistryFileError(f"{place}: there is no column {column!r}")
    return content


def _degrees(value: str, column: str, place: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise RegistryFileError(f"{place}: {column} is no number: {value!r}") from error


def _settled(row: dict[str, Any], kind: str, place: str) -> dict[str, Any]:
    """Give the key of a number, and pictures as objects."""
    content = dict(row)
    number, lengths, ai, width = _NUMBER[kind]
    if number in content:
        digits = str(content.pop(number))
        if "key" in content or not digits.isascii() or not digits.isdigit() or len(digits) not in lengths:
            wanted = " or ".join(map(str, lengths))
            raise RegistryFileError(f"{place}: {number} must be {wanted} digits, in the place of key")
        content["key"] = f"https://id.gs1.org/{ai}/{digits.zfill(width)}"
    if "key" not in content:
        raise RegistryFileError(f"{place}: has neither key nor {number}")
    if isinstance(content.get("pictures"), list):
        content["pictures"] = [_picture(each) for each in content["pictures"]]
    return content


def _picture(told: Any) -> Any:
    if not isinstance(told, str):
        return told
    hashed = _HASHED.fullmatch(told)
    return {"uri": hashed[1], "sha256": hashed[2]} if hashed else {"uri": told}
