"""What people read on a trace page, held against the verified parts in Chromium: each visible text altered, its attributes left as they are, turns red."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

from goodstrace.identifiers import canonical_key
from goodstrace.key_changes import sign, statement
from goodstrace.note import Signer
from services.runtime.merchants.values import What
from tests.browsers import PHONE, needs_chromium, opening
from tests.interop.test_web_browser import state
from tests.unit.collector_builders import processed_document, seeded
from tests.unit.test_web_sections import WARM
from tests.unit.xml_builders import event_element, xml_document
from tests.web_world import (
    CASE,
    EVENTS,
    FISH,
    HUB,
    ITEM,
    ITEM_PATH,
    RECALL,
    SHOP,
    WebWorld,
    _event,
    _seen,
    place,
    registration,
)  # fmt: skip

pytestmark = needs_chromium

LIES = {
    "time": ('data-says="time">12 Apr 2026, 06:10 +02:00<', "12 Apr", "13 Apr"),
    "hour": ('data-says="time">12 Apr 2026, 06:10 +02:00<', "06:10", "07:10"),
    "step": ('data-says="step">Brought into being<', "Brought into being", "Harvested"),
    "another word": ('data-says="step">Shipped<', "Shipped", "Received"),
    "place": ('data-says="place">Pudong cold store<', "Pudong cold store", "Lofoten sea farm"),
    "merchant": ('data-says="merchant">Stated by Polar Air Cargo<', "Polar Air Cargo", "Nordfilet Bodø"),
    "reading": ('data-says="reading">Temperature: 2.2 – 3.9 °C<', "3.9", "2.9"),
    "unit": ('data-says="reading">Temperature: 2.2 – 3.9 °C<', "°C", "°F"),
    "verdict": ('data-says="verdict">critical · Stored too warm: 9.1 CEL', "9.1", "5.1"),
    "severity": ('data-says="verdict">critical · Stored', "critical", "note"),
    "a verdict gone": ('data-says="verdict">critical', "verdict", "label"),
    "goods": ('<li data-says="key"><a href="/01/07038011002013/21/1001">', "(21) 1001<", "(21) 1002<"),
    "where": ('data-says="where">goods/', "goods/", "other/"),
    "recorded": ('data-says="recorded">Recorded ', "Recorded ", "Recorded not "),
    "exact": ('data-says="exact">{&#34;', "{&#34;", "{ &#34;"),
    "more": ('<h3 data-says="step">Shipped</h3>', "</h3>", "</h3><p>Certified by nobody</p>"),
    "mark": ('<p class="by" data-says="merchant">', '<p class="by"', '<p data-says="mark">All is well</p><p class="by"'),
}  # fmt: skip
ABOVE = {
    "name": ('<h1 data-key="', "Arctic salmon fillet", "Arctic char fillet", "on top of the page"),
    "number": ('<p class="code">(01) 07038011002013 (21) 1001</p>', "1001", "1002", "on top of the page"),
    "list": ('data-flag="goods/', "critical ·", "note ·", "what rules found"),
    "list gone": ('data-flag="goods/', "data-flag", "data-other", "what rules found"),
}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[WebWorld, str]]:
    world = WebWorld([*EVENTS, WARM, RECALL], looks_per_min=10_000)
    with world.served() as url:
        yield world, url


@pytest.fixture
def opened(browser: Browser, served: tuple[WebWorld, str]) -> Iterator[Callable[..., Page]]:
    with opening(browser, served[1]) as new:
        yield new


def _lying(page: Page, around: str, said: str, lie: str) -> None:
    """Serve the page with one text of it altered."""

    def alter(route: Route) -> None:
        answer = route.fetch()
        text = answer.text()
        at = text.index(around)
        at = text.index(said, at)
        route.fulfill(response=answer, body=text[:at] + lie + text[at + len(said) :])

    page.route(re.compile(re.escape(ITEM_PATH) + "$"), alter)
    page.goto(ITEM_PATH)


@pytest.mark.parametrize("lie", LIES)
def test_whatever_an_event_is_made_to_say_turns_red(opened: Callable[..., Page], lie: str) -> None:
    page = opened()
    _lying(page, *LIES[lie])
    assert state(page) == "bad"
    red = page.locator(".seal[data-state=bad]")
    assert red.count() == 1
    assert "not what was sealed" in (red.text_content() or "")
    assert "do not verify" in (page.text_content("#proof-status") or "")


@pytest.mark.parametrize("lie", ABOVE)
def test_what_stands_above_the_events_turns_red(opened: Callable[..., Page], lie: str) -> None:
    around, said, other, told = ABOVE[lie]
    page = opened()
    _lying(page, around, said, other)
    assert state(page) == "bad"
    assert told in (page.text_content("#proof-status") or "")


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN", "zh-TW"])
def test_the_truth_is_green_in_every_language(opened: Callable[..., Page], locale: str) -> None:
    page = opened(locale, PHONE)
    page.goto(ITEM_PATH)
    assert state(page) == "good"
    assert page.locator(".event .seal[data-state=good]").count() == len(EVENTS) + 2
    assert page.is_visible("#proof-unchecked")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.click(".flags a")
    assert "#event-" in page.url


def test_the_green_follows_the_registrations_too(opened: Callable[..., Page]) -> None:
    # Without the registrations nothing shows that the names are registered: the places' and merchants' names turn red.
    page = opened()

    def without(route: Route) -> None:
        bundle = json.loads(route.fetch().text())
        bundle["entries"] = [each for each in bundle["entries"] if all(part["name"] != "registration" for part in each["parts"])]  # fmt: skip
        route.fulfill(body=json.dumps(bundle, separators=(",", ":"), ensure_ascii=False))

    page.route("**/bundle?*", without)
    page.goto(ITEM_PATH)
    assert state(page) == "bad"
    assert page.locator(".seal[data-state=good]").count() == 0


def _remember(page: Page, world: WebWorld, keys: dict[str, str]) -> None:
    known = {each.name: each.verifier.vkey() for each in world.logs.signers.values()} | keys
    page.evaluate("known => localStorage.setItem('goodstrace-log-keys', JSON.stringify(known))", known)


def test_a_key_that_was_changed_properly_is_followed(
    served: tuple[WebWorld, str], opened: Callable[..., Page]
) -> None:
    world, page = served[0], opened()
    page.goto(ITEM_PATH)
    assert state(page) == "good"
    now = world.logs.signers["goods/0"]
    old, between = Signer(now.name, b"o" * 32), Signer(now.name, b"b" * 32)
    changes = [_change(old, between, 1), _change(between, now, 2)]
    history: list[dict[str, Any]] = [{"vkey": old.verifier.vkey()}]
    history += [{"vkey": each["new"], "change": each} for each in changes]
    told = [history]
    page.route("**/logs/goods/0/keys", lambda route: route.fulfill(json=told[0]))
    _remember(page, world, {now.name: old.verifier.vkey()})
    page.reload()
    assert state(page) == "good"
    assert "signed by both keys" in (page.text_content("#proof-key") or "")
    page.reload()
    assert state(page) == "good"
    assert "has known" in (page.text_content("#proof-key") or "")
    # Without one of the statements, or with one that another has signed, nothing leads to the key of now.
    for told[0] in (
        history[:1],
        [history[0], history[2]],
        [history[0], history[1], {**history[2], "change": {**changes[1], "old_signature": "00" * 64}}],
    ):
        _remember(page, world, {now.name: old.verifier.vkey()})
        page.reload()
        assert state(page) == "bad"
        assert "is not the one that this browser has known" in (page.text_content("#proof-status") or "")
        assert page.locator(".seal[data-state=good]").count() == 0


def _change(old: Signer, new: Signer, size: int) -> dict[str, Any]:
    made = sign(log="goods/0", height=size, size=size, previous="11" * 32, time=size, old=old, new=new)
    found: dict[str, Any] = json.loads(statement(made))
    return found


def test_another_origin_of_a_log_does_not_make_its_key_new(opened: Callable[..., Page]) -> None:
    page = opened()
    page.goto("/")
    stranger = Signer("elsewhere.example/goods/0", b"e" * 32)
    known = {stranger.name: stranger.verifier.vkey()}
    page.evaluate("known => localStorage.setItem('goodstrace-log-keys', JSON.stringify(known))", known)
    page.goto(ITEM_PATH)
    assert state(page) == "bad"
    assert "no statements signed by both keys" in (page.text_content("#proof-status") or "")


def _odd() -> list[tuple[int, dict[str, Any]]]:
    """Events written in every way that the server and the script could differ over."""
    when = [
        "2026-05-01T23:59:59.999Z",
        "2301-05-01T00:00:00Z",
        "1969-12-31T23:59:00Z",
        "2026-05-04T00:10:00Z",
    ]
    numbers = [
        {"type": "gs1:Temperature", "value": 1e-5, "uom": "CEL"},
        {"type": "https://x.example/odd_kind", "value": 7, "uom": "XYZ"},
    ]
    numbers += [
        {"type": "RelativeHumidity", "minValue": -0.0, "maxValue": 55.25, "uom": "P1"},
        {"type": "Temperature", "value": 300, "uom": "KEL"},
    ]
    numbers += [
        {"type": "Temperature", "meanValue": 12345678901.5, "uom": "FAH"},
        {"type": "Temperature", "stringValue": "very   warm"},
    ]
    events = [
        _event(40 + place, time, "ObjectEvent", step, HUB, offset, action="OBSERVE", epcList=[ITEM, "https://x.example/a%20%20b%2Fc", "urn:epc:id:sgtin:7038011.000201.1%2F2%25"], sensorElementList=[{"sensorReport": numbers}])
        for place, (time, offset, step) in enumerate(zip(when, ("-05:30", "+14:00", "+00:00", "+05:45"), ("https://ns.example/steps#Smoked-fish_cold", "shipping", "storing", "inspecting"), strict=True))
    ]  # fmt: skip
    more = {
        "errorDeclaration": {
            "declarationTime": "2026-05-02T00:00:00Z",
            "reason": "urn:epcglobal:cbv:er:incorrect_data",
        }
    }
    transaction = _event(45, "2026-05-05T00:00:00Z", "TransactionEvent", "accepting", SHOP, "+08:00", action="ADD", epcList=[ITEM], bizTransactionList=[{"bizTransaction": "https://erp.example/1"}])  # fmt: skip
    joined = _event(46, "2026-05-05T01:00:00Z", "AssociationEvent", "assembling", SHOP, "+08:00", action="ADD", parentID=CASE, childEPCs=[ITEM])  # fmt: skip
    twice = _event(47, "2026-05-05T02:00:00Z", "AggregationEvent", "packing", SHOP, "+08:00", action="ADD", parentID=CASE, childEPCs=[ITEM, CASE])  # fmt: skip
    half = _event(48, "2026-05-05T03:00:00Z", "ObjectEvent", "receiving", SHOP, "+08:00", action="OBSERVE", epcList=[ITEM], quantityList=[{"epcClass": FISH, "quantity": 2.5}])  # fmt: skip
    return [(HUB, each) for each in [*events, {**events[0], **more}]] + [
        (SHOP, each) for each in (transaction, joined, twice, half)
    ]


def test_events_of_all_kinds_are_green(browser: Browser) -> None:
    element = event_element(_seen(50, "2026-05-06T00:00:00Z", "storing", HUB, "+08:00", ITEM, (2.0, 3.0)))
    [xml] = processed_document(xml_document(element), merchant=HUB, random=seeded("xml"))
    names = {"key": canonical_key(place(SHOP)), "names": {"en": "  West   Lake\u00a0<b>market</b> "}}
    renamed = registration(What.PLACE, canonical_key(place(SHOP)), SHOP, names, 10**9)
    world = WebWorld([*EVENTS, *_odd(), WARM], more=[xml.record, renamed], looks_per_min=10_000)
    with world.served() as url, opening(browser, url) as new:
        for locale in ("en-GB", "zh-TW"):
            for path in (
                ITEM_PATH,
                f"/trace?key={CASE}",
                "/01/07038011002013/10/L0412",
            ):
                page = new(locale)
                page.goto(path)
                assert state(page) == "good", (path, _red(page))
                assert page.locator(".event .seal[data-state=good]").count() > 3
        page = new()
        page.goto(ITEM_PATH)
        assert state(page) == "good"
        assert "not checked here: the event came as XML" in (page.text_content(".timeline") or "")
        assert "Inside itself" in (page.text_content(".flags") or "")


def _red(page: Page) -> list[str]:
    """The cards that are red, and what the page says."""
    red = page.locator(".event:has(.seal[data-state=bad])")
    return [page.text_content("#proof-status") or "", *(each.inner_text() for each in red.all())]
