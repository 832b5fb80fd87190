"""The web pages in Chromium, driven by Playwright: searched, scanned, unfolded, verified there, tampered with, in three languages, by axe-core.

Needs Debian's chromium; where it is not there these tests are skipped, and say so.
"""

import base64
import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import segno
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route

from goodstrace.cosignature import Cosigner
from goodstrace.note import Signature
from services.runtime.access.values import NOBODY
from tests.browsers import DESKTOP, PHONE, launched, needs_chromium, opening
from tests.deadlines import DEADLINE_MS
from tests.web_world import EVENTS, ITEM_KEY, ITEM_PATH, RECALL, SHOPPER, WebWorld

ANSWERS = {
    "en-GB": ("Norway", "Pudong cold store", "1.0 – 3.9 °C", "Yes: see the notice above.", "verified here"),
    "zh-CN": ("挪威", "浦东冷库", "1.0 – 3.9 °C", "是：请看上方提示。", "已在此核验"),
    "zh-TW": ("挪威", "浦東冷庫", "1.0 – 3.9 °C", "是：請看上方提示。", "已在此驗證"),
}
PAGES = ("/", ITEM_PATH, "/scan", "/seals", "/01/1")

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream") as running:
        yield running


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[WebWorld, str]]:
    world = WebWorld([*EVENTS, RECALL], looks_per_min=10_000)
    with world.served() as url:
        yield world, url


@pytest.fixture
def world(served: tuple[WebWorld, str]) -> Iterator[WebWorld]:
    yield served[0]
    served[0].who, served[0].kafka_is_away = SHOPPER, False


@pytest.fixture
def opened(browser: Browser, served: tuple[WebWorld, str]) -> Iterator[Callable[..., Page]]:
    with opening(browser, served[1]) as new:
        yield new


def state(page: Page) -> str:
    """Wait until the page has checked itself."""
    page.wait_for_selector("#proof:not([data-state=none])", timeout=DEADLINE_MS)
    return page.get_attribute("#proof", "data-state") or ""


def test_one_searches_unfolds_and_sees_it_verified(world: WebWorld, opened: Callable[..., Page]) -> None:
    page = opened()
    page.goto("/")
    page.fill("#q", "(01)07038011002013(21)1001")
    page.press("#q", "Enter")
    page.wait_for_url(f"**{ITEM_PATH}")
    assert page.text_content("h1") == "Arctic salmon fillet, 250 g"
    assert state(page) == "good"
    seals = page.locator(".event .seal")
    assert seals.count() == 14
    assert {seals.nth(each).get_attribute("data-state") for each in range(14)} == {"good"}
    deepest = page.get_by_text("Sea-grown fish feed")
    assert not deepest.first.is_visible()
    for summary in page.locator("#tree-title ~ .two .tree summary").all():
        if summary.is_visible():
            summary.click()
    assert deepest.first.is_visible()
    page.locator(".event details summary").first.click()
    assert "urn:uuid:00000000-0000-4000-8000-000000000001" in (
        page.locator(".event .exact").first.text_content() or ""
    )
    assert len(world.browses) >= 2


@pytest.mark.parametrize("what", ["content", "salt", "proof", "entry", "note"])
def test_what_was_tampered_with_shows_red(world: WebWorld, opened: Callable[..., Page], what: str) -> None:
    page = opened()

    def tamper(route: Route) -> None:
        text = route.fetch().text()
        bundle = json.loads(text)
        first = bundle["entries"][0]
        if what in ("content", "salt"):
            part = first["parts"][0]
            part[what] = part[what].replace("A", "B", 1) if "A" in part[what] else "QUFB" + part[what][4:]
        elif what == "proof":
            first["proof"][0] = "B" + first["proof"][0][1:]
        elif what == "entry":
            first["entry"] = bundle["entries"][1]["entry"]
        else:
            bundle["checkpoints"][0]["note"] = bundle["checkpoints"][0]["note"].replace("\n1", "\n2", 1)
        route.fulfill(
            body=json.dumps(bundle, separators=(",", ":"), ensure_ascii=False),
            content_type="application/json",
        )

    page.route("**/bundle?*", tamper)
    page.goto(ITEM_PATH)
    assert state(page) == "bad"
    assert "do not verify" in (page.text_content("#proof-status") or "")
    assert page.locator(".seal[data-state=bad]").count() >= 1
    assert page.locator(".seal[data-state=good]").count() <= 13
    red = page.locator(".seal[data-state=bad]").first.evaluate("element => getComputedStyle(element).color")
    assert red == "rgb(163, 22, 28)"


def test_a_key_that_changed_is_red(world: WebWorld, opened: Callable[..., Page]) -> None:
    page = opened()
    page.goto(ITEM_PATH)
    assert state(page) == "good"
    assert "first time" in (page.text_content("#proof-key") or "")
    page.reload()
    assert state(page) == "good"
    assert "has known" in (page.text_content("#proof-key") or "")
    other = json.dumps(
        {
            each.verifier.name: world.logs.signers["goods/0"].verifier.vkey()
            for each in world.logs.signers.values()
        }
    )
    page.evaluate("known => localStorage.setItem('goodstrace-log-keys', known)", other)
    for _ in range(2):  # the key that does not follow is not remembered
        page.reload()
        assert state(page) == "bad"
        assert "is not the one that this browser has known" in (page.text_content("#proof-status") or "")
        assert page.locator(".seal[data-state=good]").count() == 0


@pytest.mark.parametrize("locale", ANSWERS)
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_answers_stand_on_the_page(
    world: WebWorld, opened: Callable[..., Page], locale: str, size: dict[str, int]
) -> None:
    page = opened(locale, size)
    page.goto(ITEM_PATH)
    assert state(page) == "good"
    where, who, cold, recalled, why = ANSWERS[locale]
    for place, answer in (("from", where), ("who", who), ("cold", cold), ("recall", recalled)):
        assert answer in (page.text_content(f"#answer-{place}") or "")
    assert why in (page.text_content("#proof-status") or "")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    switched = {"en-GB": "zh-Hant", "zh-CN": "en", "zh-TW": "zh-Hans"}[locale]
    page.click(f".languages a[hreflang={switched}]")
    assert page.get_attribute("html", "lang") == switched
    page.goto("/")
    assert page.get_attribute("html", "lang") == switched


def test_who_is_not_signed_in_sees_the_face_verified_without_kafka(
    world: WebWorld, opened: Callable[..., Page]
) -> None:
    world.who, world.kafka_is_away = NOBODY, True
    page = opened(size=PHONE)
    page.goto(ITEM_PATH)
    assert state(page) == "good"
    assert "Recalled" in (page.text_content(".notices") or "")
    assert "Lofoten" not in page.content()


def test_it_is_whole_without_javascript(world: WebWorld, opened: Callable[..., Page]) -> None:
    page = opened(java_script_enabled=False)
    page.goto(ITEM_PATH)
    assert page.locator(".event").count() == 14
    assert "needs JavaScript" in (page.text_content("#proof-status") or "")
    assert page.locator(".seal[data-state=good]").count() == 0


def test_a_code_is_scanned_from_a_picture(
    world: WebWorld, opened: Callable[..., Page], tmp_path: Path
) -> None:
    code = tmp_path / "code.png"
    segno.make(f"https://id.gs1.org{ITEM_PATH}", error="m").save(str(code), scale=6, border=4)
    page = opened(size=PHONE)
    page.goto("/scan")
    page.set_input_files("#scan-file", code)
    page.wait_for_url(f"**{ITEM_PATH}", timeout=DEADLINE_MS)
    assert page.text_content("h1") == "Arctic salmon fillet, 250 g"
    page.goto("/scan")
    other = tmp_path / "other.png"
    other.write_bytes(page.screenshot())
    page.set_input_files("#scan-file", other)
    page.wait_for_selector("#scanner[data-state=nothing]", timeout=DEADLINE_MS)


def test_the_camera_is_asked_and_nothing_is_found_in_its_picture(
    world: WebWorld, opened: Callable[..., Page]
) -> None:
    page = opened(size=PHONE, permissions=["camera"])
    page.goto("/scan")
    page.click("#scan-start")
    page.wait_for_selector("#scanner[data-state=looking]", timeout=DEADLINE_MS)
    assert page.is_visible("#camera")


def test_nothing_of_the_pages_breaks_their_own_policy(world: WebWorld, opened: Callable[..., Page]) -> None:
    page, told = opened(), list[str]()
    page.on("console", lambda message: told.append(message.text))
    for path in PAGES[:4]:
        page.goto(path)
        page.wait_for_load_state("networkidle")
    assert not [each for each in told if "Content Security Policy" in each or "Trusted" in each]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_no_serious_fault(
    world: WebWorld,
    opened: Callable[..., Page],
    size: dict[str, int],
    scheme: str,
    tell: Callable[[str], None],
) -> None:
    page, tried = opened(size=size, color_scheme=scheme, bypass_csp=True), 0
    for who in (SHOPPER, NOBODY):
        world.who = who
        for path in PAGES:
            page.goto(path)
            if page.query_selector("#proof"):
                state(page)
            found = Axe().run(
                page,
                options={
                    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
                },
            )
            serious = [
                each for each in found.response["violations"] if each["impact"] in ("serious", "critical")
            ]
            assert not serious, (
                path,
                [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in serious],
            )
            tried += len(found.response["passes"])
    tell(f"web: axe-core, {scheme}, {size['width']} px: {tried} rules passed on {2 * len(PAGES)} pages")


def test_it_is_used_by_keyboard(world: WebWorld, opened: Callable[..., Page]) -> None:
    page = opened()
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "q":
            break
    page.keyboard.type(ITEM_KEY)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{ITEM_PATH}")


def test_the_first_view_is_small(
    world: WebWorld, opened: Callable[..., Page], tell: Callable[[str], None]
) -> None:
    page, sizes = opened(size=PHONE), dict[str, int]()
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    names: dict[str, str] = {}
    session.on(
        "Network.responseReceived", lambda event: names.update({event["requestId"]: event["response"]["url"]})
    )
    session.on(
        "Network.loadingFinished",
        lambda event: sizes.update({event["requestId"]: int(event["encodedDataLength"])}),
    )
    page.goto(ITEM_PATH)
    state(page)
    first = sum(
        size
        for request, size in sizes.items()
        if not re.search(r"/(bundle|logs|label)", names.get(request, ""))
    )
    tell(f"web: the first view of a trace takes {first} bytes, all with proofs {sum(sizes.values())}")
    assert first < 100_000


def complete(page: Page) -> tuple[str, str]:
    """Wait until the page has checked whether something is left out; gives how it came out and what it says."""
    state(page)
    element = page.locator("#complete")
    return element.get_attribute("data-state") or "", element.locator(".said").text_content() or ""


def test_what_is_left_out_is_found(browser: Browser) -> None:
    world = WebWorld([*EVENTS, RECALL], indexed=True)
    with world.served() as url:
        page = browser.new_context(locale="en-GB").new_page()
        page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
        page.goto(url + ITEM_PATH)
        found, said = complete(page)
        assert found == "good", said
        assert "complete up to round 15" in said
        assert "All 4 sealed events" in said
        # A server that leaves out one event that the index has.
        left_out: list[str] = []

        def leave_out(route: Route) -> None:
            bundle = json.loads(route.fetch().text())
            gone = next(each for each in bundle["entries"] if _tells(each, b"retail_selling"))
            bundle["entries"].remove(gone)
            left_out.append(f"{gone['log']}[{gone['index']}]")
            route.fulfill(body=json.dumps(bundle, separators=(",", ":"), ensure_ascii=False))

        page.route("**/bundle?*", leave_out)
        page.goto(url + ITEM_PATH)
        found, said = complete(page)
        assert found == "bad"
        assert left_out[0] in said
        page.unroute("**/bundle?*")
        now = [""]

        def spoil(route: Route) -> None:
            text, change = route.fetch().text(), now[0]
            at = text.index(change.partition(":")[0] + ":")
            route.fulfill(body=text[:at] + change + text[at + len(change) :], content_type="application/json")

        page.route("**/complete?*", spoil)
        for now[0] in ('"secret":"zz', '"note":"x', '"pages":"BBBB'):
            page.goto(url + ITEM_PATH)
            found, said = complete(page)
            assert (found, "does not verify" in said) == ("bad", True), now
        page.unroute("**/complete?*")
        page.route("**/complete?*", lambda route: route.fulfill(status=503, body="away"))
        page.goto(url + ITEM_PATH)
        assert complete(page)[0] == "none"
        page.unroute("**/complete?*")
        # An index that covers less: what came later is shown, and not claimed.
        world.index(covered=0.6)
        page.goto(url + ITEM_PATH)
        found, said = complete(page)
        assert found == "good"
        assert "came later" in said
    paged = WebWorld([*EVENTS, RECALL], indexed=True, events_on_page=4)
    with paged.served() as url:
        page.goto(url + ITEM_PATH)
        found, said = complete(page)
        assert (found, "on others" in said) == ("none", True)


def test_cosignatures_are_checked_too(browser: Browser, tmp_path: Path) -> None:
    cosigners = [
        Cosigner(name, name.encode().ljust(32, b"w"))
        for name in ("witness.example/one", "witness.example/two")
    ]
    policy = tmp_path / "policy"
    policy.write_text(
        "".join(f"witness w{number} {each.verifier.vkey()}\n" for number, each in enumerate(cosigners))
        + "quorum none\n"
    )
    world = WebWorld(policy=policy)
    with world.served() as url:
        page = browser.new_context(locale="en-GB").new_page()
        page.goto(url + ITEM_PATH)
        assert state(page) == "good"
        assert "None of the 2 witnesses" in (page.text_content("#proof-witnesses") or "")
        world.logs.cosigners = cosigners[:1]
        page.goto(url + ITEM_PATH)
        assert state(page) == "good"
        assert (page.text_content("#proof-witnesses") or "").endswith(": witness.example/one")
        # One that signs as the second, with another key under its name and ID, cannot be: a wrong signature refuses all.
        forged = Cosigner("witness.example/two", b"x" * 32)
        line = forged.cosign("", 1)
        page.route(
            "**/bundle?*",
            lambda route: route.fulfill(
                body=route.fetch()
                .text()
                .replace('"}],"entries"', f'{_line(cosigners[1], line)}\\n"}}],"entries"', 1)
            ),
        )
        page.goto(url + ITEM_PATH)
        assert state(page) == "bad"


def _tells(entry: dict[str, Any], text: bytes) -> bool:
    return any(text in base64.b64decode(part["content"]) for part in entry["parts"])


def _line(claimed: Cosigner, signature: Signature) -> str:
    """A signature line of a witness that did not make it."""
    return (
        dataclasses.replace(signature, name=claimed.verifier.name, key_id=claimed.verifier.key_id)
        .line()
        .rstrip()
    )
