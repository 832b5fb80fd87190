"""Pictures of the web pages for README and docs: `make screenshots`. Needs Debian's chromium, and a font for Chinese (fonts-wqy-microhei).

The pages are those of `tests/web_world.py`, in memory; the checking in them is real. Answers are marked on the pictures that show them.
"""

import re
import shutil
import sys
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, Route, sync_playwright

from services.query.web.merchant.label_files import as_svg
from services.query.web.merchant.label_sheets import SHEETS, Label, pages
from services.runtime.access.values import NOBODY
from tests.deadlines import DEADLINE_MS
from tests.merchant_world import MerchantWorld
from tests.web_staff import StaffWorld
from tests.web_world import EVENTS, FISH_KEY, ITEM_PATH, RECALL, SHOPPER, WebWorld

FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "pictures"
PHONE: Final = (390, 844)
DESKTOP: Final = (1000, 760)
_MARK: Final = """() => {
  for (const answer of document.querySelectorAll("#answer-from, #answer-who, #answer-cold, #answer-recall, #answer-why")) {
    answer.style.outline = "3px solid #d9480f";
    answer.style.outlineOffset = "-2px";
    answer.style.borderRadius = "10px";
    answer.style.padding = "0.7rem";
  }
}"""


def main() -> int:
    """Write the pictures; exit status 2 where there is no browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("chromium is not there: apt-get install chromium fonts-wqy-microhei", file=sys.stderr)
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    good, recalled = WebWorld(EVENTS), WebWorld([*EVENTS, RECALL])
    with sync_playwright() as playwright, good.served() as good_url, recalled.served() as recalled_url:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        _take(browser, good_url, "home", "en-GB", DESKTOP)
        _take(browser, good_url + ITEM_PATH, "trace", "en-GB", DESKTOP, height=1500)
        for locale, name in (("en-GB", "en"), ("zh-CN", "zh-hans"), ("zh-TW", "zh-hant")):
            _take(
                browser, recalled_url + ITEM_PATH, f"answers-{name}", locale, PHONE, marked=True, height=1330
            )
        recalled.who = NOBODY
        _take(browser, recalled_url + ITEM_PATH, "face-dark", "zh-CN", PHONE, dark=True, height=900)
        recalled.who = SHOPPER
        _take(
            browser,
            good_url + ITEM_PATH,
            "tampered",
            "en-GB",
            DESKTOP,
            tampered=True,
            selector="#proof",
            height=620,
        )
        with StaffWorld().served() as staff_url:
            _take_verification(browser, staff_url)
        _take_merchants(browser)
        browser.close()
    for each in sorted(FOLDER.glob("*.png")):
        print(f"{each.name}: {each.stat().st_size} bytes")
    return 0


def _take_verification(browser: Browser, url: str) -> None:
    """Take a picture of a log that the browser has verified."""
    context = browser.new_context(viewport={"width": DESKTOP[0], "height": 900}, locale="en-GB")
    page = context.new_page()
    page.goto(f"{url}/auditor/verify?log=goods/0")
    page.click("#run-go:not([disabled])")
    page.wait_for_selector("#run-result[data-state=good]", timeout=DEADLINE_MS)
    page.screenshot(path=FOLDER / "verify.png")
    context.close()


def _take_merchants(browser: Browser) -> None:
    """Take the pages of merchants."""
    world = MerchantWorld([*EVENTS, RECALL])
    with world.served() as url:
        _take(browser, f"{url}/merchant", "merchant-goods", "en-GB", DESKTOP, height=900)
        _take(browser, f"{url}/merchant/flags", "merchant-flags", "zh-CN", PHONE, height=900)
        _take(browser, f"{url}/merchant/looks", "merchant-looks", "en-GB", DESKTOP, height=760)
        recall = f"{url}/merchant/recall?key={FISH_KEY}"
        _take(browser, recall, "merchant-recall", "en-GB", DESKTOP, height=1100)
        _take(browser, f"{url}/merchant/staff", "merchant-staff", "zh-TW", PHONE, dark=True, height=1100)
        sheet = SHEETS["a4-21"]
        labels = [
            Label(
                f"{url}{ITEM_PATH[:-4]}{number}",
                "Arctic salmon fillet, 250 g",
                ("(01) 07038011002013", f"(21) {number}"),
            )
            for number in range(1001, 1022)
        ]
        page = browser.new_page(viewport={"width": 800, "height": 560})
        page.set_content(as_svg(sheet, pages(sheet, labels)).decode())
        page.screenshot(path=FOLDER / "merchant-labels.png")
        page.close()


def _take(
    browser: Browser,
    url: str,
    name: str,
    locale: str,
    size: tuple[int, int],
    *,
    height: int = 0,
    dark: bool = False,
    marked: bool = False,
    tampered: bool = False,
    selector: str = "",
) -> None:
    width, seen = size
    context = browser.new_context(
        viewport={"width": width, "height": height or seen},
        locale=locale,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        bypass_csp=True,
    )
    page = context.new_page()
    if tampered:
        page.route("**/bundle?*", _tamper)
    page.goto(url)
    _settle(page)
    if marked:
        page.evaluate(_MARK)
    if selector:
        page.locator(selector).scroll_into_view_if_needed()
        page.evaluate("selector => document.querySelector(selector).scrollIntoView()", selector)
    page.screenshot(path=FOLDER / f"{name}.png")
    context.close()


def _tamper(route: Route) -> None:
    """Change one byte of one event on its way to the browser."""
    route.fulfill(body=re.sub(r'"content":"eyJ0', '"content":"eyJ1', route.fetch().text(), count=1))


def _settle(page: Page) -> None:
    """Wait until the page has checked itself, where it does."""
    page.wait_for_load_state("networkidle")
    if page.query_selector("#proof"):
        page.wait_for_selector("#proof:not([data-state=none])", timeout=DEADLINE_MS)


if __name__ == "__main__":
    sys.exit(main())
