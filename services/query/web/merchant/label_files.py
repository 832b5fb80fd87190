"""Sheets of labels as PDF and SVG. Pure.

In a PDF Latin text is set in Helvetica, Chinese in a Song typeface of the reader's own (neither is part of the file; every PDF reader has the
one, and those that show Chinese the other); a character beyond both is shown as `?`. Sources: ISO 32000-1, 9.6.2.2 and 9.7.5.2.
"""

import io
from collections.abc import Iterable, Sequence
from typing import Final
from xml.sax.saxutils import escape

import pydyf

from services.query.web.merchant.label_sheets import POINT_MM, Placed, Sheet, Text

_SVG: Final = "http://www.w3.org/2000/svg"
_FACES: Final = "Helvetica, Arial, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
_PLAIN, _BOLD, _SONG = "F1", "F2", "F3"


def as_svg(sheet: Sheet, pages: Iterable[Sequence[Placed]]) -> bytes:
    """Draw pages one below the other; the file says its size in millimetres."""
    width, height = sheet.page
    drawn = [
        f'<svg y="{_n(number * height)}" width="{_n(width)}" height="{_n(height)}">{"".join(map(_svg_label, page))}</svg>'
        for number, page in enumerate(pages)
    ]
    whole = height * max(1, len(drawn))
    return (
        f'<svg xmlns="{_SVG}" width="{_n(width)}mm" height="{_n(whole)}mm" viewBox="0 0 {_n(width)} {_n(whole)}">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(drawn)}</svg>'
    ).encode()


def as_pdf(sheet: Sheet, pages: Iterable[Sequence[Placed]], title: str) -> bytes:
    """Draw a page each."""
    made = pydyf.PDF()
    made.info["Title"] = pydyf.String(title)
    fonts = _fonts(made)
    size = [_n(each / POINT_MM) for each in sheet.page]
    for page in pages:
        stream = pydyf.Stream(compress=True)
        for label in page:
            _pdf_label(stream, label, sheet.page[1])
        made.add_object(stream)
        made.add_page(
            pydyf.Dictionary(
                {
                    "Type": "/Page",
                    "Parent": made.pages.reference,
                    "MediaBox": pydyf.Array([0, 0, *size]),
                    "Contents": stream.reference,
                    "Resources": pydyf.Dictionary({"Font": fonts}),
                }
            )
        )
    written = io.BytesIO()
    made.write(written, compress=True)
    return written.getvalue()


def _svg_label(label: Placed) -> str:
    path = "".join(f"M{_n(x)} {_n(y)}h{_n(w)}v{_n(h)}h-{_n(w)}z" for x, y, w, h in label.bars)
    return f'<path d="{path}" shape-rendering="crispEdges"/>{"".join(map(_svg_text, label.texts))}'


def _svg_text(text: Text) -> str:
    weight = ' font-weight="700"' if text.is_bold else ""
    size = _n(text.size_pt * POINT_MM)
    return f'<text x="{_n(text.x)}" y="{_n(text.y)}" font-size="{size}" font-family="{_FACES}"{weight}>{escape(_printable(text.text))}</text>'


def _fonts(made: pydyf.PDF) -> pydyf.Dictionary:
    found = {}
    for name, face in ((_PLAIN, "Helvetica"), (_BOLD, "Helvetica-Bold")):
        font = pydyf.Dictionary(
            {"Type": "/Font", "Subtype": "/Type1", "BaseFont": f"/{face}", "Encoding": "/WinAnsiEncoding"}
        )
        made.add_object(font)
        found[name] = font.reference
    system = pydyf.Dictionary(
        {"Registry": pydyf.String("Adobe"), "Ordering": pydyf.String("GB1"), "Supplement": 2}
    )
    described = pydyf.Dictionary(
        {
            "Type": "/FontDescriptor", "FontName": "/STSong-Light", "Flags": 6, "ItalicAngle": 0, "Ascent": 880,
            "Descent": -120, "CapHeight": 880, "StemV": 93, "FontBBox": pydyf.Array([-25, -254, 1000, 880]),
        }
    )  # fmt: skip
    made.add_object(described)
    song = pydyf.Dictionary(
        {
            "Type": "/Font", "Subtype": "/CIDFontType0", "BaseFont": "/STSong-Light", "CIDSystemInfo": system,
            "FontDescriptor": described.reference, "DW": 1000, "W": pydyf.Array([1, 95, 500]),
        }
    )  # fmt: skip
    made.add_object(song)
    whole = pydyf.Dictionary(
        {
            "Type": "/Font", "Subtype": "/Type0", "BaseFont": "/STSong-Light-UniGB-UTF16-H", "Encoding": "/UniGB-UTF16-H",
            "DescendantFonts": pydyf.Array([song.reference]),
        }
    )  # fmt: skip
    made.add_object(whole)
    return pydyf.Dictionary({**found, _SONG: whole.reference})


def _pdf_label(stream: pydyf.Stream, label: Placed, height: float) -> None:
    for x, y, w, h in label.bars:
        stream.rectangle(*(_n(each / POINT_MM) for each in (x, height - y - h, w, h)))
    stream.fill()
    for text in label.texts:
        font, shown = _encoded(text)
        stream.begin_text()
        stream.set_font_size(font, text.size_pt)
        stream.move_text_to(_n(text.x / POINT_MM), _n((height - text.y) / POINT_MM))
        stream.stream.append(f"<{shown.hex()}> Tj".encode())
        stream.end_text()


def _encoded(text: Text) -> tuple[str, bytes]:
    """Choose the font that has a text's characters, and spell it in that font's encoding."""
    shown = _printable(text.text)
    try:
        return (_BOLD if text.is_bold else _PLAIN), shown.encode("cp1252")
    except UnicodeEncodeError:
        basic = "".join(each if ord(each) < 0x10000 else "?" for each in shown)
        return _SONG, basic.encode("utf-16-be", "replace")


def _printable(text: str) -> str:
    """Leave out what is no character of a line."""
    return "".join(each if each.isprintable() else " " for each in text)


def _n(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
