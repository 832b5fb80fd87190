"""Labels to be printed: which ones, on what, as PDF or SVG. They show nothing of any record but registered names, which are public."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from fastapi import Request, Response

from goodstrace.asked_keys import is_gs1, key_asked
from services.query.web.asking import page_of, spoken
from services.query.web.forms import Forms
from services.query.web.languages import best_name
from services.query.web.merchant.goods import GoodsPages
from services.query.web.merchant.label_files import as_pdf, as_svg
from services.query.web.merchant.label_sheets import MAX_LABELS, SHEETS, Label, pages
from services.query.web.merchant.ports import Page
from services.query.web.merchant.registering import Faults
from services.query.web.visiting import Visit
from services.runtime.call_errors import InvalidRequestError
from services.runtime.call_limits import MAX_KEY_CHARS

MAX_FORM_BYTES: Final = 256 * 1024
_MAX_LINES: Final = 4
_COUNTED: Final = re.compile(r"([!-~]*?)([0-9]{1,12})", re.ASCII)
_MEDIA: Final = {"pdf": "application/pdf", "svg": "image/svg+xml"}
_QUALIFIERS: Final = {"serial": "21", "lot": "10"}


class LabelPages:
    """Answers /merchant/labels."""

    def __init__(self, page: Page, forms: Forms, names: GoodsPages, base: Callable[[Request], str]) -> None:
        """Lead from codes to pages below `base` of the request; names are those in `names`."""
        self._page, self._forms, self._names, self._base = page, forms, names, base

    async def form(self, request: Request, visit: Visit) -> Response:
        """Show the form."""
        key = request.query_params.get("key", "")[:MAX_KEY_CHARS]
        return await self._shown(request, visit, {"keys": key}, {})

    async def made(self, request: Request, visit: Visit) -> Response:
        """Give the sheet."""
        fields = await self._forms.fields(request, max_bytes=MAX_FORM_BYTES, max_fields=20)
        keys, faults = wanted(fields)
        sheet, kind = SHEETS.get(fields.get("sheet", "")), fields.get("as", "")
        if sheet is None or kind not in _MEDIA:
            raise InvalidRequestError("one of those offered", "sheet")
        if not keys or faults:
            return await self._shown(request, visit, fields, faults or {"keys": "no_keys"}, status=400)
        things = await self._names.names(keys) if fields.get("names") else {}
        base = self._base(request)
        labels = [
            Label(
                address=base + page_of(key),
                name=best_name(things[key].names, visit.language) if key in things else "",
                lines=lines_of(key),
            )
            for key in keys
        ]
        body = await asyncio.to_thread(_drawn, kind, sheet.name, labels)
        headers = {
            "Content-Disposition": f'attachment; filename="labels-{sheet.name}.{kind}"',
            "Cache-Control": "no-store",
        }
        return Response(body, 200, headers, _MEDIA[kind])

    async def _shown(
        self, request: Request, visit: Visit, values: Mapping[str, str], faults: Faults, *, status: int = 200
    ) -> Response:
        return await self._page(
            request,
            visit,
            "merchant/labels.html",
            status=status,
            values=values,
            faults=faults,
            sheets=tuple(SHEETS),
            most=MAX_LABELS,
        )


def wanted(fields: Mapping[str, str]) -> tuple[list[str], Faults]:
    """Read which keys are to be printed: those listed, then those counted up from a first serial or lot number. Pure.

    Returns: canonical keys, at most MAX_LABELS of them, and what is wrong by field.
    """
    faults: Faults = {}
    lines = [line.strip() for line in fields.get("keys", "").splitlines() if line.strip()]
    keys = [key_asked(line) for line in lines]
    if any(key is None or ":" not in key for key in keys):
        faults["keys"] = "label_key"
    counted = _counted(fields, faults)
    if len(keys) + len(counted) > MAX_LABELS:
        faults["keys"] = "too_many"
    return [] if faults else [key for key in (*keys, *counted) if key], faults


def lines_of(key: str) -> tuple[str, ...]:
    """Spell a key for people, an element a line: `(01) 09521231054321`, `(21) 1`. Pure."""
    if not is_gs1(key):
        return (key,)
    return tuple(each.strip() for each in re.split(r" (?=\()", spoken(key)))[:_MAX_LINES]


def _counted(fields: Mapping[str, str], faults: Faults) -> list[str]:
    typed = {name: fields.get(name, "").strip() for name in ("gtin", "first", "count")}
    if not any(typed[name] for name in ("gtin", "first")):
        return []
    product = key_asked(typed["gtin"]) or ""
    if not re.fullmatch(r"https://id\.gs1\.org/01/[0-9]{14}", product):
        faults["gtin"] = "key"
    number = _COUNTED.fullmatch(typed["first"])
    if number is None or len(typed["first"]) > 20:
        faults["first"] = "count_up"
    if not re.fullmatch(r"[1-9][0-9]{0,3}", typed["count"] or "1", re.ASCII):
        faults["count"] = "count"
    if faults or number is None:
        return []
    begin, digits = number.groups()
    count = min(int(typed["count"] or 1), MAX_LABELS + 1)
    values = [f"{begin}{int(digits) + each:0{len(digits)}d}" for each in range(count)]
    qualifier = _QUALIFIERS.get(fields.get("of", ""), "21")
    found = [key_asked(f"{product}/{qualifier}/{quote(each, safe='')}") or "" for each in values]
    if not all(map(is_gs1, found)):
        faults["first"] = "count_up"
    return found


def _drawn(kind: str, sheet: str, labels: list[Label]) -> bytes:
    chosen = SHEETS[sheet]
    laid = pages(chosen, labels)
    return as_pdf(chosen, laid, "Labels") if kind == "pdf" else as_svg(chosen, laid)
