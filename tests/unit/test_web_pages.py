"""The web pages over HTTP in memory: what each visitor sees, what is recorded, and what attackers put into events, addresses and headers."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from goodstrace import proof_bundle
from goodstrace.log_keys import LogKeys
from services.query.web.languages import LANGUAGES
from services.query.web.visiting import LANGUAGE_COOKIE
from services.runtime.access.values import NOBODY
from services.runtime.merchants.values import What
from tests.web_world import (
    EVENTS,
    HUB,
    ITEM_KEY,
    ITEM_PATH,
    LOT_KEY,
    PRODUCT_KEY,
    RECALL,
    WORKS,
    WebWorld,
    registration,
)

UNREGISTERED_PATH = "/01/09521234543213/21/1"
PAYLOAD = "'\"><script>alert(1)</script><img src=x onerror=alert(2)>{{1234*5678}}</textarea>"


@pytest.fixture(scope="module")
def whole() -> WebWorld:
    return WebWorld([*EVENTS, RECALL])


@pytest.fixture
def world(whole: WebWorld) -> Iterator[WebWorld]:
    who = whole.who
    yield whole
    whole.who, whole.kafka_is_away = who, False
    whole.browses.clear()


def client(world: WebWorld, scheme: str = "http") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url=f"{scheme}://pages.test")


async def get(world: WebWorld, path: str, scheme: str = "http", **headers: str) -> httpx.Response:
    async with client(world, scheme) as asking:
        return await asking.get(path, headers=headers)


class Elements(HTMLParser):
    """What a browser would make of a page: its elements and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def assert_harmless(page: str, *, links: bool = False) -> None:
    """No markup of an event: `links` says that documents may lead elsewhere."""
    elements = Elements(page).found
    for tag, attributes in elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        for name in ("href", "src", "action"):
            value = attributes.get(name)
            if value is not None and links and tag == "a" and "noopener" in (attributes.get("rel") or ""):
                assert value.startswith(("https://", "http://"))
                continue
            assert value is None or re.match(r"[/#][^/\\]|[/#]$", value), (tag, name, value)
    scripts = [attributes for tag, attributes in elements if tag == "script"]
    assert all(each.get("src", "").startswith("/web/static/") for each in scripts)
    assert not any(attributes.get("src") == "x" for tag, attributes in elements if tag == "img")
    assert "alert(1)</script>" not in page
    assert "7006652" not in page


async def test_a_signed_in_visitor_sees_the_trace_and_the_look_is_recorded(world: WebWorld) -> None:
    answer = await get(world, ITEM_PATH)
    assert answer.status_code == 200
    for text in (
        "Arctic salmon fillet, 250 g",
        "Lofoten sea farm",
        "Norway",
        "1.0 – 3.9 °C",
        "Recalled",
        "Polar Air Cargo",
        "PO-20260412",
    ):
        assert text in answer.text, text
    [browse] = world.browses
    assert (browse.method, browse.keys, browse.purpose) == ("Trace", (ITEM_KEY,), "web page")
    assert ("ab" * 16) in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert_harmless(answer.text)


async def test_nobody_sees_the_public_face_and_nothing_else(world: WebWorld) -> None:
    world.who, world.kafka_is_away = NOBODY, True  # nothing of it needs Kafka
    answer = await get(world, ITEM_PATH)
    assert answer.status_code == 200
    for text in ("Arctic salmon fillet, 250 g", "Nordfilet Bodø", "Recalled"):
        assert text in answer.text
    for text in ("Lofoten", "Polar Air", "Hangzhou", "°C", "PO-2026", "F0412", "2026-04-12"):
        assert text not in answer.text, text
    bundle = proof_bundle.parse((await get(world, f"/face?key={ITEM_KEY}")).content)
    keys = LogKeys([each.verifier for each in world.logs.signers.values()])
    [shown] = proof_bundle.verify(bundle, keys)
    assert set(shown.parts) == {"registration", "facts"}
    assert shown.proof.entry.kind == "registration"
    assert (await get(world, f"/bundle?key={ITEM_KEY}")).status_code == 404
    assert world.browses == []


async def test_the_face_of_what_is_not_registered_has_nothing_to_download_and_says_why(
    world: WebWorld,
) -> None:
    """Its bundle holds no entry, and `verify` refuses such a file."""
    world.who = NOBODY
    assert "Download the proof" in (await get(world, ITEM_PATH)).text
    answer = await get(world, UNREGISTERED_PATH)
    bundle = proof_bundle.parse((await get(world, f"/face?key={UNREGISTERED_PATH}")).content)
    assert bundle.entries == ()
    assert "this product has none. Sign in to check its events." in answer.text
    for text in ("Download the proof", "goodstrace verify", "There is nothing sealed"):
        assert text not in answer.text, text
    assert_harmless(answer.text)


async def test_what_cannot_be_recorded_is_not_shown(world: WebWorld) -> None:
    world.kafka_is_away = True
    for path in (ITEM_PATH, f"/bundle?key={ITEM_KEY}"):
        answer = await get(world, path)
        assert answer.status_code == 503
        assert "Lofoten" not in answer.text
        assert "could not be recorded" in answer.text


async def test_the_whole_trace_can_be_opened_and_is_recorded_and_limited() -> None:
    world = WebWorld(who=NOBODY, public_trace=True, looks_per_min=2)
    first = await get(world, ITEM_PATH)
    assert "Lofoten sea farm" in first.text
    assert len(world.browses) == 1
    assert (await get(world, f"/bundle?key={ITEM_KEY}")).status_code == 200
    refused = await get(world, ITEM_PATH)
    assert (refused.status_code, len(world.browses)) == (429, 2)
    assert "Lofoten" not in refused.text
    assert (await get(world, f"/face?key={ITEM_KEY}")).status_code == 429


async def test_behind_a_trusted_proxy_each_network_has_its_own_limit() -> None:
    """Else one visitor keeps everybody behind the same ingress from all pages."""
    world = WebWorld(who=NOBODY, public_trace=True, looks_per_min=1, proxies="127.0.0.0/8, 10.0.0.0/8")
    answers = [
        (await get(world, ITEM_PATH, **{"x-forwarded-for": forwarded})).status_code
        for forwarded in ("198.51.100.7", "10.9.9.9, 198.51.100.8, 10.0.0.1", "203.0.113.9")
    ]
    assert answers == [200, 429, 200]


async def test_without_a_trusted_proxy_nobody_says_where_they_are() -> None:
    world = WebWorld(who=NOBODY, public_trace=True, looks_per_min=1)
    answers = [
        (await get(world, ITEM_PATH, **{"x-forwarded-for": forwarded})).status_code
        for forwarded in ("198.51.100.7", "203.0.113.9")
    ]
    assert answers == [200, 429]


async def test_the_bundle_proves_what_the_page_shows(world: WebWorld) -> None:
    page = await get(world, ITEM_PATH)
    bundle = proof_bundle.parse((await get(world, f"/bundle?key={ITEM_KEY}")).content)
    keys = LogKeys([each.verifier for each in world.logs.signers.values()])
    proved = {f"{each.proof.log}[{each.proof.index}]" for each in proof_bundle.verify(bundle, keys)}
    shown = {
        attributes["data-place"] for _, attributes in Elements(page.text).found if "data-place" in attributes
    }
    assert shown
    assert shown <= proved
    assert len(world.browses) == 2  # the bundle is a look of its own


async def test_pages_go_on_and_levels_unfold() -> None:
    world = WebWorld(events_on_page=4, depth=1)
    page = (await get(world, ITEM_PATH)).text
    pages = [page]
    while found := re.search(r'href="([^"]+page=[^"]+)" rel="next"', pages[-1]):
        pages.append((await get(world, found[1].replace("&amp;", "&"))).text)
    places = [each for page in pages for each in re.findall(r'data-place="([^"]+)"', page)]
    assert len(pages) > 3
    assert len(places) == len(set(places)) == 13
    deeper = re.search(r'href="([^"]+depth=4[^"]*)#tree-title"', page)
    assert deeper
    assert (await get(world, deeper[1])).text.count('class="level"') > page.count('class="level"')


@pytest.mark.parametrize(
    "query",
    ["depth=0", "depth=101", "depth=x", "depth=%C2%B2", "page=%00", "page=nonsense", "page=" + "x" * 30_000],
)
async def test_wrong_parameters_are_refused(world: WebWorld, query: str) -> None:
    assert (await get(world, f"{ITEM_PATH}?{query}")).status_code == 400


async def test_no_registered_name_becomes_markup() -> None:
    content = {"key": PRODUCT_KEY, "names": {"en": PAYLOAD}, "attributes": {"safetyNotice": PAYLOAD}}
    world = WebWorld(more=[registration(What.GOODS, PRODUCT_KEY, WORKS, content, 10**12)])
    for who in (world.who, NOBODY):
        world.who = who
        answer = await get(world, ITEM_PATH)
        assert "&lt;script&gt;alert(1)" in answer.text
        assert_harmless(answer.text)
        linkset = await get(world, ITEM_PATH, Accept="application/linkset+json")
        assert linkset.headers["content-type"] == "application/linkset+json"


@pytest.mark.parametrize(
    "path",
    [
        "/search?q={}",
        "/trace?key={}",
        "/?lang={}",
        "/scan?q={}",
        "/bundle?key={}",
        "/label.svg?key={}",
        "/face?key={}",
    ],
)
async def test_no_address_becomes_markup_or_a_header(world: WebWorld, path: str) -> None:
    for text in (
        PAYLOAD,
        "a\r\nSet-Cookie: evil=1",
        "//evil.example",
        "https://evil.example/",
        "\x00",
        "\ud7ff" * 9,
        "%",
        "\\\\evil",
    ):
        async with client(world) as asking:
            answer = await asking.get(path.replace("{}", str(httpx.QueryParams({"x": text}))[2:]))
        assert answer.status_code < 500, (text, answer.status_code)
        assert "evil" not in answer.headers.get("set-cookie", "")
        location = answer.headers.get("location", "/")
        assert location.startswith("/")
        assert not location.startswith(("//", "/\\"))
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert_harmless(answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "../settings.py",
        "..%2Fsettings.py",
        "%2e%2e/settings.py",
        "..%5Csettings.py",
        "/etc/passwd",
        "verify.js/..",
        "verify.js%00",
        "x" * 5000,
    ],
)
async def test_no_path_leads_to_another_file(world: WebWorld, path: str) -> None:
    answer = await get(world, f"/web/static/{path}")
    assert answer.status_code in (404, 400)
    assert "GOODSTRACE_QUERY_WEB" not in answer.text


async def test_every_answer_has_the_headers(world: WebWorld) -> None:
    for path in (
        "/",
        ITEM_PATH,
        "/scan",
        "/seals",
        "/01/1",
        "/label.svg?key=x",
        "/web/static/page.js",
        "/search?q=1",
        f"/bundle?key={ITEM_KEY}",
    ):
        answer = await get(world, path)
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "strict-transport-security" not in answer.headers
    assert "strict-transport-security" in (await get(world, "/", "https")).headers


async def test_the_language_is_the_browsers_and_can_be_switched(world: WebWorld) -> None:
    titles = {"en": "Where does it come from?", "zh-Hans": "它从哪里来？", "zh-Hant": "它從哪裡來？"}
    for language, header in (("en", "de"), ("zh-Hans", "zh-CN"), ("zh-Hant", "zh-TW")):
        answer = await get(world, "/", **{"Accept-Language": header})
        assert titles[language] in answer.text
        assert f'<html lang="{language}">' in answer.text
    async with client(world, "https") as asking:
        switched = await asking.get("/?lang=zh-Hant", headers={"Accept-Language": "en"})
        cookie = switched.headers["set-cookie"]
        assert f"{LANGUAGE_COOKIE}=zh-Hant" in cookie
        assert all(each in cookie for each in ("HttpOnly", "Secure", "SameSite=lax"))
        assert titles["zh-Hant"] in (await asking.get("/", headers={"Accept-Language": "en"})).text
        assert "set-cookie" not in (await asking.get("/?lang=xx")).headers


async def test_every_page_is_there_in_every_language_and_small(world: WebWorld, tell: Any) -> None:
    sizes = {}
    for path in (
        "/",
        ITEM_PATH,
        LOT_KEY.removeprefix("https://id.gs1.org"),
        "/scan",
        "/seals",
        "/01/1",
        "/trace?key=urn:x:none",
    ):
        for language in LANGUAGES:
            answer = await get(world, f"{path}{'&' if '?' in path else '?'}lang={language}")
            assert answer.status_code in (200, 404)
            sizes[path] = max(sizes.get(path, 0), len(answer.content))
            assert_harmless(answer.text)
    tell(f"web: the largest page has {max(sizes.values())} bytes before compression")
    assert max(sizes.values()) < 100_000


async def test_a_page_of_40_events_is_small_on_the_wire(tell: Any) -> None:
    """With its style, script and pictures, as a phone gets it before it reads any proof."""
    looked_at = [
        (HUB, {**EVENTS[7][1], "eventID": f"urn:uuid:00000000-0000-4000-8000-{number:012d}", "eventTime": f"2026-04-13T09:{number:02d}:10Z"})
        for number in range(20, 50)
    ]  # fmt: skip
    world, sizes = WebWorld([*EVENTS, *looked_at]), dict[str, int]()
    page = await get(world, ITEM_PATH)
    assert page.text.count('<li class="event') == 40
    assert 'rel="next"' in page.text
    files = set(re.findall(r'(?:src|href)="(/(?:web/static|label)[^"#]*)', page.text))
    async with client(world) as asking:
        for path in (ITEM_PATH, *sorted(files), "/web/static/verify.js", "/web/static/known.js"):
            async with asking.stream(
                "GET", path.replace("&amp;", "&"), headers={"Accept-Encoding": "gzip"}
            ) as answer:
                assert answer.status_code == 200, path
                sizes[path] = sum([len(piece) async for piece in answer.aiter_raw()])
    tell(
        f"web: a page of 40 events takes {sizes[ITEM_PATH]} bytes ({len(page.content)} unpacked), with all that it needs {sum(sizes.values())}"
    )
    assert len(files) >= 4
    assert sum(sizes.values()) < 100_000


async def test_machines_get_linksets(world: WebWorld) -> None:
    for path, headers in (
        (ITEM_PATH, {"Accept": "application/linkset+json"}),
        (f"{ITEM_PATH}?linkType=linkset", {}),
        (f"{ITEM_PATH}?linkType=all", {}),
    ):
        answer = await get(world, path, **headers)
        assert answer.headers["content-type"] == "application/linkset+json"
        [context] = answer.json()["linkset"]
        assert context["anchor"] == f"http://pages.test{ITEM_PATH}"
        assert context["https://gs1.org/voc/pip"][0]["title"] == "Arctic salmon fillet, 250 g"
    page = await get(world, f"{ITEM_PATH}?linkType=gs1:pip")
    assert 'rel="linkset"' in page.headers["link"]
    assert world.browses[-1].method == "Trace"


async def test_other_paths_are_as_they_were(world: WebWorld) -> None:
    logs = await get(world, "/logs")
    assert [each["name"] for each in logs.json()] == ["goods/0", "goods/1"]
    assert (await get(world, "/nothing")).headers["content-type"].startswith("text/plain")
    async with client(world) as asking:
        assert (await asking.post("/")).status_code == 405
        assert (await asking.head(ITEM_PATH)).status_code == 200


async def test_a_search_leads_to_the_page(world: WebWorld) -> None:
    for text in (
        ITEM_KEY,
        "(01)07038011002013(21)1001",
        "urn:epc:id:sgtin:7038011.000201.1001",
        f"https://shop.example{ITEM_PATH}",
        "]d2010703801100201317261231211001",
        "\x1d010703801100201310LOT\x1d211001\x1d",
    ):
        async with client(world) as asking:
            answer = await asking.get("/search", params={"q": text})
        assert (answer.status_code, answer.headers["location"]) == (303, ITEM_PATH)
    assert (await get(world, "/search?q=%20")).status_code == 400
    async with client(world) as asking:
        malformed = await asking.get(
            "/search", params={"q": "]d2\x1d0107038011002010"}, follow_redirects=True
        )
    assert malformed.status_code == (await get(world, "/trace?key=urn:x:unknown")).status_code < 500
