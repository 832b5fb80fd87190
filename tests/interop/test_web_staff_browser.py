"""The pages of auditors and operators in Chromium: a log verified there, tampered with, grown; browse records checked; by axe-core, on a phone, in the dark."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route

from goodstrace.query.v1 import login_pb2
from services.query.accounts.challenges import is_solved
from services.query.accounts.errors import ChallengedError
from services.query.web.signing_in import WebSignIn
from tests.browsers import DESKTOP, PHONE, needs_chromium, opening
from tests.deadlines import DEADLINE_MS
from tests.interop.test_web_browser import browser, state
from tests.unit.test_web_sign_in import SECRET, Accounts, World
from tests.unit.test_web_staff import AUDITORS, OPERATORS
from tests.web_staff import AUDITOR, OPERATOR, StaffWorld
from tests.web_world import WebWorld

pytestmark = needs_chromium
__all__ = ["browser"]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[StaffWorld, str]]:
    world = StaffWorld()
    with world.served() as url:
        yield world, url


@pytest.fixture
def world(served: tuple[StaffWorld, str]) -> Iterator[StaffWorld]:
    yield served[0]
    served[0].who = AUDITOR


@pytest.fixture
def page(browser: Browser, served: tuple[StaffWorld, str]) -> Iterator[Page]:
    with opening(browser, served[1]) as new:
        yield new()


def run(page: Page, log: str = "goods/0") -> str:
    """Run a verification; gives how it ended."""
    page.goto(f"/auditor/verify?log={log}")
    return again(page)


def again(page: Page) -> str:
    page.wait_for_selector("#run-go:not([disabled])")
    page.click("#run-go")
    page.wait_for_selector("#run-result:not([data-state=none])", timeout=DEADLINE_MS)
    return page.get_attribute("#run-result", "data-state") or ""


def said(page: Page, step: str) -> str:
    return page.text_content(f"#step-{step} .said") or ""


def test_a_log_is_verified_there_and_remembered(world: StaffWorld, page: Page) -> None:
    assert run(page) == "good"
    size = len(world.logs.records_of["goods/0"])
    assert "first time" in said(page, "key")
    assert f"{size} entries" in said(page, "checkpoint")
    assert f"0 to {size - 1}" in said(page, "entries")
    assert "registration" in said(page, "entries")
    assert page.evaluate("document.getElementById('run-progress').value") == 1
    assert again(page) == "good"
    assert f"all {size} entries that this browser knew" in said(page, "growth")
    assert not page.locator(".steps [data-state=bad]").count()


@pytest.mark.parametrize("what", ["entry", "tile", "size", "root", "key", "older", "more"])
def test_what_was_tampered_with_shows_red(world: StaffWorld, page: Page, what: str) -> None:
    def spoil(route: Route) -> None:
        body = bytearray(route.fetch().body())
        body[-1] ^= 1
        route.fulfill(body=bytes(body))

    def restate(route: Route) -> None:
        lines = route.fetch().text().split("\n")
        lines[1 if what == "size" else 2] = "4" if what == "size" else "A" * 43 + "="
        route.fulfill(body="\n".join(lines))

    page.goto("/auditor/verify?log=goods/0")
    step = {"entry": "entries", "tile": "entries", "key": "key", "older": "growth", "more": "growth"}
    origin = "goodstrace.test/00/goods/0"
    if what == "entry":
        page.route("**/tile/entries/**", spoil)
    elif what == "tile":
        page.route("**/tile/0/**", spoil)
    elif what in ("size", "root"):
        page.route("**/checkpoint", restate)
    elif what == "key":
        other = world.logs.signers["goods/1"].verifier.vkey()
        page.evaluate(
            "known => localStorage.setItem('goodstrace-log-keys', known)", json.dumps({origin: other})
        )
    else:
        known = {"size": "3" if what == "older" else "999", "root": "00" * 32}
        page.evaluate(
            "known => localStorage.setItem('goodstrace-checkpoints', known)", json.dumps({origin: known})
        )
    assert again(page) == "bad"
    assert page.locator(f"#step-{step.get(what, 'checkpoint')}[data-state=bad]").count() == 1
    assert page.locator(".steps [data-state=bad]").count() == 1
    assert "does not verify" in (page.text_content("#run-status") or "").lower()


def test_what_cannot_be_read_is_not_green(world: StaffWorld, page: Page) -> None:
    page.goto("/auditor/verify?log=goods/0")
    page.route("**/tile/**", lambda route: route.fulfill(status=503, body="away"))
    assert again(page) == "open"
    assert "could not be read" in (page.text_content("#run-status") or "")
    page.fill("#run-end", "99999")
    assert again(page) == "open"
    assert "within the log" in (page.text_content("#run-status") or "")


def test_browse_records_and_blocks_are_checked(world: StaffWorld, page: Page) -> None:
    page.goto("/auditor/browses?user=ann")
    assert state(page) == "good"
    assert page.locator(".look .seal[data-state=good]").count() == 6

    def lie(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("203.0.113.0/24", "198.51.100.0/24", 1))

    page.route("**/auditor/browses?*", lie)
    page.goto("/auditor/browses?user=ann")
    assert state(page) == "bad"
    assert page.locator(".look .seal[data-state=bad]").count() == 1
    page.goto("/auditor/block?log=goods/0&height=0")
    page.wait_for_selector("#block-check[data-state=good]")

    def recount(route: Route) -> None:
        answer = route.fetch()
        text = (
            answer.text().replace('"count":3', '"count":2').replace("&#34;count&#34;:3", "&#34;count&#34;:2")
        )
        assert text != answer.text()
        route.fulfill(response=answer, body=text)

    page.route(re.compile("/auditor/block"), recount)
    page.reload()
    page.wait_for_selector("#block-check[data-state=bad]")


def test_it_says_so_without_javascript(
    browser: Browser, world: StaffWorld, served: tuple[StaffWorld, str]
) -> None:
    context = browser.new_context(java_script_enabled=False, base_url=served[1], locale="en-GB")
    made = context.new_page()
    made.goto("/auditor/verify")
    assert "needs JavaScript" in (made.text_content("#run-hint") or "")
    assert made.is_disabled("#run-go")
    context.close()


@pytest.mark.parametrize("look", [("light", DESKTOP), ("dark", PHONE)], ids=["light", "dark-phone"])
def test_axe_finds_no_serious_fault(
    browser: Browser,
    world: StaffWorld,
    served: tuple[StaffWorld, str],
    look: tuple[str, Any],
    tell: Callable[[str], None],
) -> None:
    scheme, size = look
    context = browser.new_context(
        viewport=size,
        color_scheme=scheme,  # type: ignore[arg-type]
        base_url=served[1],
        bypass_csp=True,
        locale="zh-CN",
    )
    made, tried = context.new_page(), 0
    for who, paths in ((AUDITOR, AUDITORS), (OPERATOR, OPERATORS)):
        world.who = who
        for path in paths:
            made.goto(path)
            found = Axe().run(
                made,
                options={
                    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
                },
            )
            serious = [
                (each["id"], [node["html"] for node in each["nodes"]][:3])
                for each in found.response["violations"]
                if each["impact"] in ("serious", "critical")
            ]
            assert not serious, (path, serious)
            assert made.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
            tried += len(found.response["passes"])
    context.close()
    tell(f"web: axe-core on pages for roles, {scheme}, {size['width']} px: {tried} rules passed")


def test_nothing_breaks_their_own_policy(world: StaffWorld, page: Page) -> None:
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    for path in AUDITORS:
        page.goto(path)
        page.wait_for_load_state("networkidle")
    assert not [each for each in told if "Content Security Policy" in each or "Trusted" in each]


class Beset(Accounts):
    """An account that many try: whoever signs in must work first."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    async def SignIn(self, request: login_pb2.SignInRequest, context: Any) -> login_pb2.SignInResponse:  # noqa: N802
        solution = request.solution
        if solution.challenge != "a-challenge" or not is_solved("a-challenge", solution.counter, self.bits):
            raise ChallengedError("a-challenge", self.bits)
        return await super().SignIn(request, context)


class BesetWorld(World):
    def __init__(self, accounts: Beset) -> None:
        self.accounts, self.shown = accounts, []
        WebWorld.__init__(self, sign_in=WebSignIn(accounts, SECRET, ""))


def test_work_that_is_asked_for_is_done_there(browser: Browser) -> None:
    with BesetWorld(Beset(14)).served() as url:
        context = browser.new_context(locale="en-GB", base_url=url)
        made, told = context.new_page(), list[str]()
        made.on("console", lambda message: told.append(message.text))
        made.goto("/sign-in")
        for _ in range(2):
            made.fill("#name", "ann")
            made.fill("#password", "right horse")
            made.click("#sign-in-go:not([disabled])")
            if made.query_selector("#work"):
                made.wait_for_selector("#work[data-state=done]", timeout=DEADLINE_MS)
        assert made.query_selector("form[action='/sign-out']")
        assert not [each for each in told if "Content Security Policy" in each or "Trusted" in each]
        context.close()
