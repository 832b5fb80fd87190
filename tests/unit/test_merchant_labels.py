"""Sheets of labels: what is on them, where it lies, and what a form makes of what was typed."""

import io
import re
import xml.etree.ElementTree as ET

import httpx
import pypdfium2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query.web.merchant import label_files
from services.query.web.merchant.label_sheets import MAX_LABELS, POINT_MM, SHEETS, Label, pages, width_mm
from services.query.web.merchant.labels import lines_of, wanted
from services.runtime.access.values import NOBODY
from services.runtime.call_errors import InvalidRequestError
from tests.merchant_world import MerchantWorld
from tests.unit.test_merchant_forms import filled
from tests.unit.test_web_pages import PAYLOAD, assert_harmless, client
from tests.web_world import ITEM_KEY, ITEM_PATH, LOT_KEY, SHOPPER

GTIN = "07038011002013"


def label(number: int = 1, name: str = "北极三文鱼排 250 克") -> Label:
    return Label(f"https://goods.example/01/{GTIN}/21/{number}", name, (f"(01) {GTIN}", f"(21) {number}"))


def texts_of(pdf: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(io.BytesIO(pdf))
    return [document[number].get_textpage().get_text_range() for number in range(len(document))]


@pytest.mark.parametrize("name", SHEETS)
def test_everything_lies_on_its_label_and_labels_on_their_page(name: str) -> None:
    sheet = SHEETS[name]
    laid = list(pages(sheet, [label(each) for each in range(sheet.count + 1)]))
    assert [len(page) for page in laid] == [sheet.count, 1]
    for place, each in enumerate(laid[0]):
        row, column = divmod(place, sheet.columns)
        left = sheet.first[0] + column * sheet.pitch[0]
        top = sheet.first[1] + row * sheet.pitch[1]
        right, bottom = left + sheet.label[0], top + sheet.label[1]
        assert right <= sheet.page[0] + 0.01
        assert bottom <= sheet.page[1] + 0.01
        for x, y, w, h in each.bars:
            assert left <= x <= x + w <= right
            assert top <= y <= y + h <= bottom
        assert len(each.texts) == 3
        for text in each.texts:
            wide = width_mm(text.text, text.size_pt, is_bold=text.is_bold)
            assert left <= text.x <= text.x + wide <= right + 0.01
            assert top < text.y <= bottom
        module = min(h for _, _, _, h in each.bars)
        assert module >= 0.3  # a phone reads it
        edge = min(x for x, _, _, _ in each.bars)
        assert all(edge + module * 25 < text.x or text.y > each.bars[-1][1] for text in each.texts)


def test_a_pdf_has_its_pages_text_and_size() -> None:
    sheet = SHEETS["a4-21"]
    made = label_files.as_pdf(sheet, pages(sheet, [label(each, "Salmon & (co)") for each in range(22)]), "x")
    assert made.startswith(b"%PDF-1.7")
    first, second = texts_of(made)
    assert first.count("Salmon & (co)") == 21
    assert (f"(01) {GTIN}" in second, "(21) 21" in second) == (True, True)
    document = pypdfium2.PdfDocument(io.BytesIO(made))
    width, height = document[0].get_size()
    assert (round(width * POINT_MM), round(height * POINT_MM)) == (210, 297)
    chinese = texts_of(label_files.as_pdf(sheet, pages(sheet, [label()]), "x"))[0]
    assert "北极三文鱼排" in chinese


@given(st.text(max_size=80), st.sampled_from(sorted(SHEETS)))
def test_any_name_makes_a_sound_file(name: str, sheet: str) -> None:
    chosen = SHEETS[sheet]
    laid = list(pages(chosen, [label(name=name)]))
    ET.fromstring(label_files.as_svg(chosen, laid))
    assert len(texts_of(label_files.as_pdf(chosen, laid, "x"))) == 1


def test_too_many_and_too_long_are_refused() -> None:
    with pytest.raises(InvalidRequestError):
        list(pages(SHEETS["a4-8"], [label()] * (MAX_LABELS + 1)))
    with pytest.raises(InvalidRequestError):
        list(pages(SHEETS["a4-8"], [Label("https://a.example/" + "x" * 3000, "", ())]))


def test_keys_are_listed_and_counted() -> None:
    keys, faults = wanted(
        {"keys": f"{GTIN}\n(01){GTIN}(21)7\nurn:x:a", "gtin": GTIN, "first": "A098", "count": "3"}
    )
    assert not faults
    assert keys[:3] == [f"https://id.gs1.org/01/{GTIN}", f"https://id.gs1.org/01/{GTIN}/21/7", "urn:x:a"]
    assert [each.rpartition("/")[2] for each in keys[3:]] == ["A098", "A099", "A100"]
    lots, _ = wanted({"gtin": GTIN, "first": "7", "of": "lot"})
    assert lots == [f"https://id.gs1.org/01/{GTIN}/10/7"]
    for wrong, field in (
        ({"keys": "L1"}, "keys"),
        ({"keys": "07038011002014"}, "keys"),
        ({"gtin": "1", "first": "1"}, "gtin"),
        ({"gtin": GTIN, "first": "A"}, "first"),
        ({"gtin": GTIN, "first": "A" * 20 + "1"}, "first"),
        ({"gtin": GTIN, "first": "1", "count": "0"}, "count"),
        ({"gtin": GTIN, "first": "1", "count": "9999"}, "keys"),
    ):
        assert field in wanted(wrong)[1], wrong
    assert lines_of(ITEM_KEY) == (f"(01) {GTIN}", "(21) 1001")
    assert lines_of("urn:x:a") == ("urn:x:a",)


@pytest.fixture
def world() -> MerchantWorld:
    return MerchantWorld()


async def made(world: MerchantWorld, **fields: str) -> httpx.Response:
    return await filled(world, "/merchant/labels", **{"sheet": "a4-21", "as": "svg", "names": "1", **fields})


async def test_a_sheet_is_given_as_a_file(world: MerchantWorld) -> None:
    answer = await made(world, keys=f"{ITEM_KEY}\n{LOT_KEY}")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["content-disposition"] == 'attachment; filename="labels-a4-21.svg"'
    for text in ("Arctic salmon fillet, 250 g", "(21) 1001", "(10) L0412"):
        assert text in answer.text
    answer = await made(world, keys=ITEM_KEY, **{"as": "pdf", "sheet": "roll-62x29"})
    assert answer.headers["content-type"] == "application/pdf"
    assert "(21) 1001" in texts_of(answer.content)[0]
    assert world.browses == []


async def test_what_is_wrong_stands_beside_it_and_markup_is_text(world: MerchantWorld) -> None:
    for wrong in ({"keys": ""}, {"keys": PAYLOAD}, {"keys": ITEM_KEY, "first": "x"}):
        answer = await made(world, **wrong)
        assert answer.status_code == 400
        assert 'class="fault"' in answer.text
        assert_harmless(answer.text)
    for wrong in ({"sheet": "../../etc/passwd"}, {"as": "exe"}, {"sheet": ""}):
        assert (await made(world, keys=ITEM_KEY, **wrong)).status_code == 400
    drawn = await made(world, keys=f"urn:x:{PAYLOAD.replace(' ', '')}")
    assert drawn.status_code == 200
    assert not {each.tag.rpartition("}")[2] for each in ET.fromstring(drawn.text).iter()} - {
        "svg", "rect", "path", "text",
    }  # fmt: skip


async def test_labels_are_for_merchants_and_forms_of_ours(world: MerchantWorld) -> None:
    other = await filled(world, "/merchant/labels", {"Origin": "https://evil.example"}, keys=ITEM_KEY)
    assert other.status_code == 403
    async with client(world) as asking:
        page = await asking.get("/merchant/labels", params={"key": ITEM_PATH})
        assert re.search(rf"<textarea[^>]*>\n{ITEM_PATH}</textarea>", page.text)
        for who, status in ((NOBODY, 401), (SHOPPER, 403)):
            world.who = who
            assert (await asking.get("/merchant/labels")).status_code == status
            assert (await asking.post("/merchant/labels", data={})).status_code == status
