"""The pages of merchants in Chromium: without and with script, phone and desktop, dark and printed, by axe-core; labels that a phone reads.

Needs Debian's chromium; where it is not there these tests are skipped, and say so.
"""

import hashlib
import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pypdfium2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browsers import DESKTOP, PHONE, needs_chromium, opening
from tests.deadlines import DEADLINE_MS
from tests.merchant_world import WORKS, MerchantWorld, person, served
from tests.web_world import FISH_KEY, ITEM_KEY, ITEM_PATH

PAGES = (
    "/merchant",
    "/merchant/flags",
    "/merchant/looks",
    f"/merchant/recall?key={FISH_KEY}",
    "/merchant/goods/new",
    "/merchant/places",
    "/merchant/places/new",
    "/merchant/staff",
    "/merchant/labels",
)
GTIN = "07038011002013"

pytestmark = needs_chromium

__all__ = ["served"]  # the fixture


@pytest.fixture
def opened(browser: Browser, served: tuple[MerchantWorld, str]) -> Iterator[Callable[..., Page]]:
    served[0].who = person(WORKS)
    with opening(browser, served[1]) as new:
        yield new


def test_forms_work_without_javascript(
    served: tuple[MerchantWorld, str], opened: Callable[..., Page]
) -> None:
    world, page = served[0], opened(java_script_enabled=False)
    page.goto("/merchant")
    page.click("text=Register a product")
    page.fill("#key", "07038011002014")
    page.fill("#name_en", "Smoked salmon")
    page.click("button:has-text('Register')")
    assert "is a digit wrong" in (page.text_content("#key-fault") or "")
    assert page.input_value("#name_en") == "Smoked salmon"
    page.fill("#key", GTIN)
    page.click("button:has-text('Register')")
    assert "Registered:" in (page.text_content("[role=status]") or "")
    assert world.registry.rows["goods", f"https://id.gs1.org/01/{GTIN}"]["names"] == {"en": "Smoked salmon"}
    page.goto("/merchant/staff")
    page.fill("#name", "nora")
    page.click("button:has-text('Make an account')")
    assert page.text_content("#password") == "three quiet owls"
    page.locator("tr", has_text="nora").locator("text=Disable").click()
    assert "disabled" in (page.locator("tr", has_text="nora").text_content() or "")


def test_a_lot_is_chosen_recalled_and_taken_away(opened: Callable[..., Page], tmp_path: Path) -> None:
    page = opened(size=PHONE)
    page.goto("/merchant")
    page.click("nav.tabs >> text=Recall")
    page.fill("#key", "L0412")
    page.click("button:has-text('Find all')")
    page.click("text=Recall this")
    page.wait_for_selector(".result")
    assert "West Lake fresh market" in (page.text_content(".result") or "")
    assert not page.locator(".level-line").first.is_visible()  # the lists have taken its place
    with page.expect_download() as download:
        page.click("text=Workbook (XLSX)")
    download.value.save_as(tmp_path / "recall.xlsx")
    assert (tmp_path / "recall.xlsx").read_bytes().startswith(b"PK")


def test_the_sum_of_a_picture_is_computed_here(opened: Callable[..., Page], tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"not really a picture")
    page, asked = opened(), list[str]()
    page.goto("/merchant/goods/new", wait_until="networkidle")  # the icon comes when the browser likes
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    page.set_input_files("#file_1", picture)
    page.wait_for_function("document.getElementById('sha256_1').value.length === 64")
    assert page.input_value("#sha256_1") == hashlib.sha256(picture.read_bytes()).hexdigest()
    icon = f"GET {page.url.removesuffix('/merchant/goods/new')}/web/static/icon.svg"
    assert set(asked) <= {icon}, "the picture stays here"


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_a_phone_reads_what_is_printed(opened: Callable[..., Page], tmp_path: Path, kind: str) -> None:
    page = opened()
    page.goto("/merchant/labels")
    page.fill("#keys", ITEM_KEY)
    page.select_option("#sheet", "roll-62x29")
    with page.expect_download() as download:
        page.click(f"button[value={kind}]")
    sheet, picture = tmp_path / f"labels.{kind}", tmp_path / "labels.png"
    download.value.save_as(sheet)
    if kind == "pdf":
        picture.write_bytes(_png_of(sheet.read_bytes()))
    else:
        page.goto("about:blank")
        page.set_content(sheet.read_text())
        page.locator("svg").first.screenshot(path=picture)
    page.goto("/scan")
    page.set_input_files("#scan-file", picture)
    page.wait_for_url(f"**{ITEM_PATH}", timeout=DEADLINE_MS)


def _png_of(pdf: bytes) -> bytes:
    """The first page as a picture of 200 dots an inch, grey, without a library for pictures."""
    bitmap = pypdfium2.PdfDocument(io.BytesIO(pdf))[0].render(scale=200 / 72, grayscale=True)
    width, height, stride = bitmap.width, bitmap.height, bitmap.stride
    data = bytes(bitmap.buffer)
    rows = b"".join(b"\0" + data[y * stride : y * stride + width] for y in range(height))

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("locale", "words"), [("en-GB", "Who looked"), ("zh-CN", "谁看过"), ("zh-TW", "誰看過")]
)
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_page_fits_in_every_language(
    opened: Callable[..., Page], locale: str, words: str, size: dict[str, int]
) -> None:
    page, told = opened(locale, size), list[str]()
    page.on("console", lambda message: told.append(message.text))
    for path in PAGES:
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200, path
        assert words in (page.text_content("nav.tabs") or "")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
        assert page.locator("nav.tabs [aria-current=page]").count() == (path != "/merchant/goods/new"), path
    assert not [each for each in told if "Content Security Policy" in each or "Trusted" in each]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_no_serious_fault(
    opened: Callable[..., Page], size: dict[str, int], scheme: str, tell: Callable[[str], None]
) -> None:
    page, tried = opened(size=size, color_scheme=scheme, bypass_csp=True), 0
    for path in PAGES:
        page.goto(path)
        if path == "/merchant/goods/new":
            page.click("button:has-text('Register')")  # with what is wrong beside its field
        found = Axe().run(
            page,
            options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
        )
        serious = [each for each in found.response["violations"] if each["impact"] in ("serious", "critical")]
        assert not serious, (
            path,
            [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in serious],
        )
        tried += len(found.response["passes"])
    tell(
        f"web: axe-core, merchants, {scheme}, {size['width']} px: {tried} rules passed on {len(PAGES)} pages"
    )


def test_they_are_small_and_print_without_forms(
    opened: Callable[..., Page], tell: Callable[[str], None]
) -> None:
    page = opened(size=PHONE)
    sizes: dict[str, int] = {}
    for path in PAGES:
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        taken: list[int] = []
        session.on(
            "Network.loadingFinished",
            lambda event, taken=taken: taken.append(int(event["encodedDataLength"])),
        )
        page.goto(path)
        page.wait_for_load_state("networkidle")
        sizes[path] = sum(taken)
        session.detach()
    assert max(sizes.values()) < 100_000, sizes
    tell(f"web: pages of merchants take {min(sizes.values())} to {max(sizes.values())} bytes")
    page.emulate_media(media="print")
    assert not page.locator("nav.tabs").is_visible()
    assert not page.locator("form").first.is_visible()


def test_it_is_used_by_keyboard(opened: Callable[..., Page]) -> None:
    page = opened()
    page.goto("/merchant")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Flags":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/merchant/flags")
    assert re.search("Stored too warm", page.text_content("main") or "")
