"""The parts of the web pages that are functions of values: addresses, languages, rates, sensors, maps, linksets, labels, files."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.asked_keys import is_gs1, key_asked, key_of_path
from goodstrace.digital_links import PRIMARY_KEYS
from goodstrace.identifiers import canonical_key
from services.query.web import languages, linkset, sensors
from services.query.web.asking import page_of, spoken
from services.query.web.labels import label
from services.query.web.languages import LANGUAGES, Catalogue, best_name
from services.query.web.rates import MOST_NETWORKS, Rates
from services.query.web.registered import Point
from services.query.web.rendering import Rendering, iso
from services.query.web.security import POLICY, local
from services.query.web.static_files import static_files
from services.query.web.way import way
from services.runtime.call_errors import InvalidRequestError

WEB = Path(__file__).resolve().parents[2] / "services" / "query" / "web"
ITEM = "https://id.gs1.org/01/09521234543213/21/1"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("9521234543213", "https://id.gs1.org/01/09521234543213"),
        ("0952 1234 54321 3", "https://id.gs1.org/01/09521234543213"),
        ("(01)09521234543213(21)1", ITEM),
        ("(01)09521234543213(10)A/1", "https://id.gs1.org/01/09521234543213/10/A%2F1"),
        ("https://shop.example/x/01/9521234543213/21/1?17=261231", ITEM),
        ("urn:epc:id:sgtin:9521234.054321.1", ITEM),
        ("106141412345678908", "https://id.gs1.org/00/106141412345678908"),
        ("  urn:x:1 ", "urn:x:1"),
        ("1234567890123", "1234567890123"),
        ("(01)123", "(01)123"),
    ],
)
def test_what_is_typed_is_understood(text: str, key: str) -> None:
    assert key_asked(text) == key


def test_nothing_and_too_much_are_no_key() -> None:
    assert key_asked("   ") is None
    assert key_asked("x" * 2049) is None


@given(st.text(max_size=100))
def test_a_page_is_always_on_this_server(text: str) -> None:
    # An open redirect, or a header of its own, would come out here.
    key = key_asked(text)
    if key is None:
        return
    address = page_of(key, page=text)
    assert re.fullmatch(r"/[!-~]*", address), address
    assert not address.startswith(("//", "/\\"))
    parts = urlsplit(address)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("", "", "")


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "\\\\evil.example", "/\\evil.example", "///evil.example/x", "a\r\nSet-Cookie: x=1"],
)
def test_no_path_leads_elsewhere(path: str) -> None:
    address = local(path)
    assert address[0] == "/"
    assert address[1:2] not in ("/", "\\")
    assert "\r" not in address
    assert "\n" not in address


@given(st.from_regex(r"/(01|00|414|8003|gtin)/[ -~]{1,40}", fullmatch=True))
def test_a_path_is_a_key_or_none(path: str) -> None:
    key = key_of_path(path)
    assert key is None or (is_gs1(key) and canonical_key(key) == key and key_of_path(page_of(key)) == key)


def test_keys_are_written_as_people_know_them() -> None:
    assert spoken(ITEM) == "(01) 09521234543213 (21) 1"
    assert spoken("urn:x:1") == "urn:x:1"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"), ("fr", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"), ("zh-TW", "zh-Hant"), ("zh-HK;q=0.9, en;q=0.5", "zh-Hant"),
        ("en-GB, zh", "en"), ("zh-Hant-CN", "zh-Hant"), ("zh-Hans-TW", "zh-Hans"), ("en;q=0, zh;q=0.1", "zh-Hans"), ("zh;q=x", "en"),
        ("zh;q=7", "en"),
    ],
)  # fmt: skip
def test_the_browser_chooses_the_language(header: str, language: str) -> None:
    assert languages.wanted(header) == language
    assert languages.chosen("", "", header) == language
    assert languages.chosen("zh-Hant", "en", header) == "zh-Hant"
    assert languages.chosen("xx", "zh-Hans", header) == "zh-Hans"


def test_of_several_names_the_nearest_is_shown() -> None:
    names = {"en": "Tea", "zh-CN": "茶", "de": "Tee"}
    assert [best_name(names, each) for each in LANGUAGES] == ["Tea", "茶", "茶"]
    assert best_name({"de": "Tee"}, "zh-Hant") == "Tee"
    assert best_name({"": "Ann"}, "en") == "Ann"
    assert best_name({}, "en") == ""


def test_the_catalogues_are_complete() -> None:
    texts = Catalogue().texts
    english = texts["en"]
    for language, found in texts.items():
        assert found.keys() == english.keys(), language
        assert all(each.strip() for each in found.values())
        for name, text in found.items():
            assert set(re.findall(r"\{\w*\}", text)) == set(re.findall(r"\{\w*\}", english[name])), (
                language,
                name,
            )
    assert not {name for name in english if texts["zh-Hans"][name] == english[name]} - {
        "site.name",
        "face.events",
    }


def test_templates_name_texts_that_there_are_and_all_texts_are_used() -> None:
    english = Catalogue().texts["en"]
    written = "".join(each.read_text() for each in (WEB / "templates").rglob("*.html"))
    written += "".join(each.read_text() for each in WEB.rglob("*.py"))
    used = set(re.findall(r"""["']([a-z_]+\.[a-z_0-9]+)["']""", written))
    families = {*re.findall(r"""word\(["']([\w.]+)["']""", written), "error", "time", "rule"}
    assert not {
        name for name in re.findall(r"""\bt\(["']([a-z_.0-9]+)["'][,)]""", written) if name not in english
    }
    begun = tuple(re.findall(r"""\bt\(["']([a-z_.]+)["'] ~""", written))
    # A family is that of the first word, or of all words but the last.
    assert not {
        name
        for name in english
        if name not in used
        and not name.startswith(begun)
        and families.isdisjoint((name.partition(".")[0], name.rpartition(".")[0]))
    }


def test_pages_run_and_style_nothing_inline() -> None:
    for template in (WEB / "templates").rglob("*.html"):
        text = template.read_text()
        assert not re.search(
            r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:|\|\s*safe|autoescape", text
        ), template.name
    for script in (WEB / "static").glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function",
            script.read_text(),
        ), script.name


def test_headers_let_nothing_in() -> None:
    assert "unsafe" not in POLICY
    assert "frame-ancestors 'none'" in POLICY


def test_networks_have_their_own_rate() -> None:
    now = 0.0
    rates = Rates(2, lambda: now)
    assert [rates.take("a"), rates.take("a"), rates.take("a"), rates.take("b")] == [True, True, False, True]
    now = 30.0
    assert [rates.take("a"), rates.take("a")] == [True, False]
    for number in range(MOST_NETWORKS + 5):
        rates.take(str(number))
    assert len(rates._left) == MOST_NETWORKS


def _report(**report: Any) -> dict[str, Any]:
    return {
        "sensorElementList": [{"sensorMetadata": {"time": "2026-01-01T00:00:10Z"}, "sensorReport": [report]}]
    }


def test_what_sensors_say_is_read_and_drawn() -> None:
    [one] = sensors.readings_of(_report(type="Temperature", value=3.5, uom="CEL"), 0)
    assert (one.kind, one.unit, one.least, one.greatest) == ("Temperature", "CEL", 3.5, 3.5)
    assert one.time_us == 1_767_225_610_000_000
    [two] = sensors.readings_of(
        _report(type="Temperature", minValue=1, maxValue=9, uom="CEL", time="2026-01-01T01:00:00+01:00"), 0
    )
    [chart] = sensors.charts([two, one])
    assert (chart.least, chart.greatest, chart.unit, len(chart.points)) == (1, 9, "°C", 2)
    assert chart.points[0][0] < chart.points[1][0]
    assert all(0 <= x <= sensors.WIDTH and 0 <= y <= sensors.HEIGHT for x, y, _ in chart.points)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(("sensorReport", "sensorMetadata", "time", "value", "type", "uom", "minValue")), inner)))  # fmt: skip
def test_whatever_stands_among_sensors_draws_no_fault(value: Any) -> None:
    readings = list(sensors.readings_of({"sensorElementList": [value, {"sensorReport": [value]}]}, 5))
    for chart in sensors.charts(readings):
        assert all(0 <= x <= sensors.WIDTH and 0 <= y <= sensors.HEIGHT for x, y, _ in chart.points)


def test_a_map_needs_two_places() -> None:
    points = {"a": Point(60.2, 11.1), "b": Point(31.1, 121.8)}
    assert way(["a", "a", "c"], points) is None
    found = way(["a", "c", "b", "a", "b"], points)
    assert found is not None
    assert [(each.number, each.key) for each in found.stops] == [(1, "a"), (2, "b")]
    assert len(found.legs) == 2
    left, top, width, height = map(float, found.box.split())
    assert all(left < each.x < left + width and top < each.y < top + height for each in found.stops)


def test_a_linkset_is_of_the_standards() -> None:
    found = linkset.linkset(ITEM, "https://here.example", "Tea")
    [context] = found["linkset"]
    assert context["anchor"] == "https://here.example/01/09521234543213/21/1"
    [default] = context["https://gs1.org/voc/defaultLink"]
    assert default["href"] == context["anchor"]
    assert linkset.wants_linkset("text/html, application/linkset+json;q=0.9", "")
    assert linkset.wants_linkset("", "linkset")
    assert not linkset.wants_linkset("text/html", "gs1:pip")
    assert set(linkset.resolver("x")["supportedPrimaryKeys"]) == set(PRIMARY_KEYS)


def test_labels_are_svg_and_bounded() -> None:
    drawn = label("https://here.example/01/09521234543213/21/1")
    assert drawn.startswith(b"<svg ")
    assert b"style=" not in drawn
    with pytest.raises(InvalidRequestError):
        label("x" * 4000)


def test_files_are_a_closed_set_within_the_budget() -> None:
    files = static_files()
    assert {"page.js", "verify.js", "style.css", "icons.svg", "world.svg", "icon.svg"} <= files.keys()
    first_view = sum(
        len(files[name].compressed)
        for name in (
            "style.css",
            "page.js",
            "shown.js",
            "known.js",
            "verify.js",
            "icons.svg",
            "icon.svg",
            "world.svg",
        )
    )
    assert first_view < 60_000
    assert len(files["world.svg"].content) < 30_000


@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=8))
def test_any_time_is_written(time_us: int, offset: str) -> None:
    rendering = Rendering()
    assert iso(time_us).endswith("Z")
    assert all(rendering._moment(each, time_us, offset) for each in LANGUAGES)
