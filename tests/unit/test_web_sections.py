"""Sections of the trace page: what rules found, whether it was kept cold, documents, chart and map; of what the answers are."""

import re
import tomllib
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from goodstrace.facts import Limit, RegisteredRange, Verdict
from goodstrace.identifiers import canonical_key
from services.query.web.asking import spoken
from services.query.web.cold import kept
from services.query.web.languages import LANGUAGES, Catalogue
from services.query.web.verdicts import detail, told
from tests.unit.test_web_pages import assert_harmless, get
from tests.web_world import (
    EVENTS,
    FISH,
    HUB,
    ITEM,
    ITEM_PATH,
    PRODUCT_KEY,
    RECALL,
    WORKS,
    WebWorld,
    _cold,
    _event,
    _seen,
    kept_between,
)

RULES = Path(__file__).resolve().parents[2] / "services" / "collector" / "rules"
LIMITS = {"cbvmda:lotNumber": "L0412", "gdsn:minimumTemperature": 0, "gdsn:maximumTemperature": 4}
WARM = (
    HUB,
    _event(15, "2026-04-13T12:00:00Z", "ObjectEvent", "storing", HUB, "+08:00", epcList=[ITEM], action="ADD", ilmd=LIMITS, sensorElementList=_cold("2026-04-13T12:00:00Z", 2.0, 9.1)),
)  # fmt: skip
BESIDE = (
    WORKS,
    _event(16, "2026-04-12T10:00:00Z", "ObjectEvent", "inspecting", WORKS, "+02:00", action="OBSERVE", quantityList=[{"epcClass": FISH, "quantity": 120, "uom": "KGM"}], sensorElementList=_cold("2026-04-12T10:00:00Z", 30.0, 31.0)),
)  # fmt: skip


async def page_of(world: WebWorld, language: str = "en", query: str = "") -> str:
    answer = await get(world, f"{ITEM_PATH}?lang={language}{query}")
    assert answer.status_code == 200
    assert_harmless(answer.text, links=True)
    return answer.text


def section(page: str, title: str) -> str:
    """The text of the section under a heading, without markup."""
    found = re.search(rf'<section[^>]*aria-labelledby="{title}".*?</section>', page, re.DOTALL)
    return text_of(found[0]) if found else ""


def text_of(markup: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def cold(page: str) -> str:
    found = re.search(r'<div id="answer-cold">.*?</div>', page, re.DOTALL)
    assert found
    return text_of(found[0])


@pytest.fixture(scope="module")
def warm() -> WebWorld:
    return WebWorld([*EVENTS, WARM, RECALL])


async def test_what_rules_found_stands_on_top_in_the_visitors_language(warm: WebWorld) -> None:
    said = {
        "en": "critical · Stored too warm: 9.1 CEL is above the highest storage temperature stated, 4 degrees Celsius",
        "zh-Hans": "严重 · 储存温度过高：9.1 CEL 高于规定的最高储存温度 4 摄氏度",
        "zh-Hant": "嚴重 · 儲存溫度過高：9.1 CEL 高於規定的最高儲存溫度攝氏 4 度",
    }
    for language, line in said.items():
        page = await page_of(warm, language)
        assert line in section(page, "flags-title")
        assert page.index('class="notices"') < page.index('class="flags"') < page.index('class="answers"')
        [number] = re.findall(r'href="#event-(\d+)" data-flag="goods/\d+\[\d+\]"', page)
        event = page[page.index(f'id="event-{number}"') :]
        assert line in text_of(event[: event.index("</li>")])
    assert "flags-title" not in await page_of(WebWorld())


def test_every_rule_of_the_program_is_told_in_every_language() -> None:
    catalogue = Catalogue()
    files = [tomllib.loads(file.read_text()) for file in sorted(RULES.glob("rules-*.toml"))]
    rules = {each["id"]: each["detail"] for file in files for each in file["rules"]}
    assert all(rules[each["id"]] == each["detail"] for file in files for each in file["rules"])
    assert {f"rule.{name}": said for name, said in rules.items()} == {
        name: text for name, text in catalogue.texts["en"].items() if name.startswith("rule.")
    }
    for name, sentence in rules.items():
        values = dict.fromkeys(re.findall(r"\{(\w+)\}", sentence), "")
        values = {each: f"<{place}.5 {{x}}>" if place else "-1.5" for place, each in enumerate(values)}
        sealed = sentence.format(**values)
        for language in LANGUAGES:
            found = Verdict(name, "warning", "", sealed)
            line = told(catalogue, language, found)
            assert f"merchant.flag.{name}" in catalogue.texts[language]
            assert detail(catalogue, language, found) in line
            assert (sealed in line) == (language == "en")
            assert name == "quantity-fractional" or all(each in line for each in values.values()), line


def test_other_rules_are_shown_as_they_are_and_marked() -> None:
    catalogue = Catalogue()
    own = Verdict("acme.too-warm", "warning", "", "9 CEL {rule} at <b>")
    assert (
        told(catalogue, "en", own)
        == "warning · acme.too-warm: 9 CEL {rule} at <b> (a rule of this platform’s operator, in its own words)"
    )
    assert "9 CEL {rule} at <b>（平台运营方" in told(catalogue, "zh-Hans", own)
    later = Verdict("storage-too-warm", "critical", "", "said in another way")
    assert told(catalogue, "zh-Hans", later).endswith("：said in another way")


async def test_kept_cold_is_of_the_goods_and_their_containers(warm: WebWorld) -> None:
    # The fish that it was made of was warm once: that is not the fillet's.
    page = await page_of(WebWorld([*EVENTS, BESIDE]))
    assert "1.0 – 3.9 °C" in cold(page)
    assert "30" not in cold(page)
    assert "Nothing says how cold it has to be." in cold(page)
    said = cold(await page_of(warm))
    assert "No: too warm at Pudong cold store, 13 Apr 2026, 20:00 +08:00: 9.1 °C" in said
    assert "It has to be kept at 0.0 to 4.0 °C." in said


def test_what_is_registered_in_another_unit_is_no_limit_in_degrees_celsius() -> None:
    found = kept(
        (),
        PRODUCT_KEY,
        {"maximumTemperature": "46.4", "maximumTemperatureUnit": "FAH", "minimumTemperature": "2"},
    )
    assert (found.low, found.high) == (2.0, None)


def test_a_verdict_says_of_which_goods_its_limit_is_registered() -> None:
    catalogue = Catalogue()
    detail = "9 CEL is above the highest storage temperature stated, 8 degrees Celsius"
    found = Verdict("storage-too-warm", "critical", "", detail, ("https://id.gs1.org/01/07038011002013",))
    assert told(catalogue, "en", found).endswith("8 degrees Celsius (as registered for (01) 07038011002013)")
    assert told(catalogue, "zh-Hans", found).endswith("8 摄氏度（依据 (01) 07038011002013 的登记）")


async def test_what_is_registered_of_other_goods_in_an_event_says_nothing_of_these() -> None:
    other = canonical_key("urn:epc:class:lgtin:9521234.001234.L1").partition("/10/")[0]
    for whose, said in ((other, "Nothing says how cold"), (PRODUCT_KEY, "No: too warm at Pudong cold store")):
        registered = RegisteredRange(high=Limit("4", whose, "0a" * 16))
        event = _seen(15, "2026-04-13T12:00:00Z", "storing", HUB, "+08:00", ITEM, (2.0, 9.1))
        page = await page_of(WebWorld(more=[kept_between(event, HUB, registered)]))
        assert said in cold(page)
        assert f"4 degrees Celsius (as registered for {spoken(whose)})" in section(page, "flags-title")


async def test_a_limit_stated_once_counts_for_all_the_way() -> None:
    first = [
        (merchant, {**event, "ilmd": {**event["ilmd"], "x:maximumTemperature": limit}} if event["eventID"].endswith("03") else event)
        for limit in (3.0,)
        for merchant, event in EVENTS
    ]  # fmt: skip
    said = cold(await page_of(WebWorld(first)))
    assert "No: too warm at Pudong cold store" in said
    assert "3.9 °C" in said
    kept = [
        (who, {**each, "ilmd": {**each["ilmd"], "x:maximumTemperature": 4}} if each["eventID"].endswith("03") else each)
        for who, each in EVENTS
    ]  # fmt: skip
    said = cold(await page_of(WebWorld(kept)))
    assert "Yes, wherever it was measured" in said
    assert "4.0 °C at the most" in said


async def test_where_nothing_was_measured_it_says_so() -> None:
    bare = [
        (who, {name: value for name, value in each.items() if name != "sensorElementList"})
        for who, each in EVENTS
    ]
    page = await page_of(WebWorld(bare))
    assert cold(page).endswith("Not measured.")
    assert "sensors-title" not in page


async def test_answers_of_a_part_say_that_they_are() -> None:
    whole, part = await page_of(WebWorld()), await page_of(WebWorld(events_on_page=4))
    assert "Of the events on this page." not in whole
    assert part.count("Of the events on this page.") == 3
    assert "the others may say something else" in part
    assert "仅据本页事件" in await page_of(WebWorld(events_on_page=4), "zh-Hans")


async def test_documents_of_all_that_is_shown_and_where_they_are_links() -> None:
    more: list[dict[str, Any]] = [
        {"type": "po", "bizTransaction": "https://erp.example/po/7?a=1&b=<i>"},
        {"type": "inv", "bizTransaction": "javascript:alert(1)"},
    ]
    world = WebWorld(
        [
            (who, {**each, "bizTransactionList": more} if each["eventID"].endswith("02") else each)
            for who, each in EVENTS
        ]
    )
    page = await page_of(world)
    said = section(page, "documents-title")
    assert "Purchase order urn:epcglobal:cbv:bt:6901235000005:PO-20260412" in said
    assert "Invoice javascript:alert(1) of Whole salmon, catch of 12 April" in said
    [link] = re.findall(r'<a class="code" href="(https?://[^"]*)" rel="([^"]*)"', page)
    assert link[0].startswith("https://erp.example/po/7?a=1&amp;b=")
    assert "<" not in link[0]
    assert set(link[1].split()) >= {"noopener", "noreferrer"}
    assert 'href="javascript' not in page


async def test_chart_and_map_are_drawn_from_the_events(warm: WebWorld) -> None:
    page = await page_of(warm)
    assert "Temperature (°C) · 0.8 to 9.1, 7 readings" in section(page, "sensors-title")
    assert page.count('class="dot"') == 7
    way = section(page, "way-title")
    assert [way.index(each) for each in ("Lofoten sea farm", "Oslo air cargo", "West Lake")] == sorted(
        way.index(each) for each in ("Lofoten sea farm", "Oslo air cargo", "West Lake")
    )
    assert page.count('class="stop"') == 5
    assert page.count('class="leg"') == 4
    assert "so no map is drawn" not in page


async def test_what_is_not_checked_is_said_in_every_language(warm: WebWorld) -> None:
    for language, said in (
        ("en", "Not checked here: answers"),
        ("zh-Hans", "此处未核验"),
        ("zh-Hant", "此處未驗證"),
    ):
        assert said in await page_of(warm, language)
