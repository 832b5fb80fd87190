"""A read storm in Chromium: one row, opened by the keyboard, green only where all of its reads verify and it says no more than they do."""

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route

from goodstrace.facts import Limit, RegisteredRange
from tests.browsers import PHONE, needs_chromium, opening
from tests.interop.test_web_browser import state
from tests.web_world import HUB, ITEM, ITEM_KEY, ITEM_PATH, PRODUCT_KEY, WebWorld, _seen, kept_between, storm

pytestmark = needs_chromium
READS = 12
WARM = _seen(15, "2026-04-13T12:00:00Z", "storing", HUB, "+08:00", ITEM, (2.0, 9.1))
REGISTERED = RegisteredRange(high=Limit("4", PRODUCT_KEY, "0a" * 16))
LIES = {
    "how often": (f"Read {READS} times", "Read 3 times"),
    "until when": (" to 14 Apr 2026, 10:00:05 +08:00</span>", " to 14 Apr 2026, 10:00:06 +08:00</span>"),
    "something more": (f"All {READS} reads</span>", f"All {READS} reads</span> certified"),
    "one left out": ('<li class="event" id="event-20"', '<li class="other" id="event-20"'),
}


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    world = WebWorld(more=[*storm(READS), kept_between(WARM, HUB, REGISTERED)], looks_per_min=10_000)
    with world.served() as url:
        yield url


@pytest.fixture
def opened(browser: Browser, served: str) -> Iterator[Callable[..., Page]]:
    with opening(browser, served) as new:
        yield new


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN", "zh-TW"])
def test_the_truth_is_green_in_every_language(opened: Callable[..., Page], locale: str) -> None:
    page = opened(locale, PHONE)
    page.goto(ITEM_PATH)
    assert state(page) == "good", page.text_content("#proof-status")
    assert page.locator(".reads .seal[data-reads][data-state=good]").count() == 1
    assert page.locator(".reads .event .seal[data-state=good]").count() == READS
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_it_is_opened_by_the_keyboard_and_told_by_its_role(opened: Callable[..., Page]) -> None:
    page = opened()
    page.goto(ITEM_PATH)
    summary = page.locator(".reads summary").first
    assert not page.locator("#event-20").is_visible()
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator(".reads > details").get_attribute("open") is not None
    assert page.locator(".reads .event").count() == READS
    assert page.locator("#event-20").is_visible()


def test_a_link_to_a_read_opens_its_row(opened: Callable[..., Page]) -> None:
    page = opened()
    page.goto(f"{ITEM_PATH}#event-20")
    page.wait_for_selector("#event-20", state="visible")


@pytest.mark.parametrize("lie", LIES)
def test_a_row_that_says_something_else_turns_red(opened: Callable[..., Page], lie: str) -> None:
    page, (said, other) = opened(), LIES[lie]

    def lying(route: Route) -> None:
        answer = route.fetch()
        text = answer.text()
        assert said in text
        route.fulfill(response=answer, body=text.replace(said, other, 1))

    page.route(f"**{ITEM_PATH}", lying)
    page.goto(ITEM_PATH)
    assert state(page) == "bad"
    assert page.locator(".reads .seal[data-reads][data-state=bad]").count() == 1


@pytest.mark.parametrize("is_open", [False, True])
def test_axe_finds_no_serious_fault(opened: Callable[..., Page], *, is_open: bool) -> None:
    page = opened(bypass_csp=True)
    page.goto(ITEM_PATH)
    state(page)
    if is_open:
        page.locator(".reads summary").first.click()
    found = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]}
    )
    grave = [each for each in found.response["violations"] if each["impact"] in ("serious", "critical")]
    assert not grave, [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in grave]


def test_what_rules_found_in_every_read_is_checked_on_the_row(browser: Browser) -> None:
    world = WebWorld(more=storm(6, epcList=[f"{ITEM_KEY}?17=260101"]), looks_per_min=10_000)
    with world.served() as url, opening(browser, url) as new:
        page = new()
        page.goto(ITEM_PATH)
        assert state(page) == "good", page.text_content("#proof-status")
        assert "Expired" in (page.text_content(".reads summary") or "")
