"""The pages of auditors and operators: who may open them, what is recorded, what is shown, and what attackers put into records and addresses."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from goodstrace import proof_bundle
from goodstrace.audit.v1 import watch_pb2
from goodstrace.cosignature import Cosigner
from goodstrace.log_keys import LogKeys
from services.query.web.audit_view import standings
from services.query.web.languages import LANGUAGES
from services.query.web.settings import WebSettings
from services.runtime.access.networks import caller_network, networks
from services.runtime.access.values import NOBODY
from services.sealing.values import Head
from tests.unit.test_web_pages import PAYLOAD, assert_harmless, client, get
from tests.web_staff import AUDITOR, OPERATOR, REJECTED, StaffWorld, look
from tests.web_world import ITEM_KEY, SHOPPER

AUDITORS = (
    "/auditor",
    "/auditor/log?log=goods/0",
    "/auditor/block?log=goods/0&height=0",
    "/auditor/witnesses",
    "/auditor/browses",
    f"/auditor/browses?key={ITEM_KEY}",
    "/auditor/browses?user=ann",
    "/auditor/alerts",
    "/auditor/verify",
)
OPERATORS = ("/operator", "/operator/rejected", f"/operator/rejected/one?record={'ab' * 16}")


@pytest.fixture(scope="module")
def whole() -> StaffWorld:
    return StaffWorld()


@pytest.fixture
def world(whole: StaffWorld) -> Iterator[StaffWorld]:
    yield whole
    whole.who, whole.neighbours.away, whole.kafka_is_away = AUDITOR, False, False
    whole.browses.clear()
    whole.neighbours.askers.clear()


async def test_each_page_is_for_its_role_alone(world: StaffWorld) -> None:
    for paths, role in ((AUDITORS, AUDITOR), (OPERATORS, OPERATOR)):
        for path in paths:
            for who, status in ((role, 200), (SHOPPER, 403), (NOBODY, 401)):
                world.who = who
                assert (await get(world, path)).status_code == status, (path, who)
            world.who = OPERATOR if role is AUDITOR else AUDITOR
            assert (await get(world, path)).status_code == 403


async def test_the_navigation_shows_what_one_may_open(world: StaffWorld) -> None:
    shown = {}
    for who in (AUDITOR, OPERATOR, SHOPPER, NOBODY):
        world.who = who
        page = (await get(world, "/")).text
        shown[who.name] = [path for path in ("/auditor", "/operator") if f'href="{path}"' in page]
    assert list(shown.values()) == [["/auditor"], ["/operator"], [], []]


async def test_every_page_is_there_in_every_language_small_and_harmless(world: StaffWorld, tell: Any) -> None:
    largest = 0
    world.neighbours.alerts_there = [watch_pb2.Alert(id="00", rule="scraping", severity=3, says="much")]
    for paths, role in ((AUDITORS, AUDITOR), (OPERATORS, OPERATOR)):
        world.who = role
        for path in paths:
            for language in LANGUAGES:
                answer = await get(world, f"{path}{'&' if '?' in path else '?'}lang={language}")
                assert answer.status_code == 200, path
                assert f'<html lang="{language}">' in answer.text
                assert answer.headers["cache-control"] == "no-store"
                assert "unsafe" not in answer.headers["content-security-policy"]
                assert_harmless(answer.text)
                largest = max(largest, len(answer.content))
    tell(f"web: the largest page for a role has {largest} bytes")
    assert largest < 100_000


async def test_logs_and_blocks_are_paged_and_nothing_is_recorded(world: StaffWorld) -> None:
    overview = (await get(world, "/auditor")).text
    assert all(each in overview for each in ("goods/0", "goods/1", "browse/0"))
    log = (await get(world, "/auditor/log?log=goods/0")).text
    heights = [int(each) for each in re.findall(r"height=(\d+)", log)]
    assert heights == sorted(heights, reverse=True)
    assert heights[-1] == 0
    below = (await get(world, "/auditor/log?log=goods/0&below=2")).text
    assert re.findall(r"height=(\d+)", below) == ["1", "0"]
    block = (await get(world, "/auditor/block?log=goods/0&height=1")).text
    record = world.logs.records_of["goods/0"][3]
    assert json.loads(record.entry)["id"] in block
    assert "Lofoten" not in block
    assert world.browses == []


@pytest.mark.parametrize(
    "path",
    [
        "/auditor/log",
        "/auditor/log?log=../goods/0",
        "/auditor/log?log=goods%2F9",
        "/auditor/block?log=goods/0&height=99999",
        "/operator/rejected/one",
        "/operator/rejected/one?record=../../merchants",
        "/operator/rejected/one?record=..%2F..%2Fregistry",
        f"/operator/rejected/one?record={'ab' * 16}/content",
    ],
)
async def test_what_is_not_there_is_not_found(world: StaffWorld, path: str) -> None:
    world.who = OPERATOR if path.startswith("/operator") else AUDITOR
    assert (await get(world, path)).status_code == 404
    assert world.neighbours.askers == []


@pytest.mark.parametrize(
    "path",
    [
        "/auditor/block?log=goods/0",
        "/auditor/block?log=goods/0&height=-1",
        "/auditor/block?log=goods/0&height=%C2%B2",
        "/auditor/log?log=goods/0&below=x",
        f"/auditor/browses?key={'x' * 3000}",
        f"/auditor/browses?user={'x' * 300}",
        "/auditor/browses?user=a&key=b",
        "/auditor/browses/bundle",
        f"/auditor/alerts?page={'x' * 30_000}",
        "/operator/rejected?state=none",
        "/operator/rejected?reason=none",
    ],
)
async def test_wrong_parameters_are_refused(world: StaffWorld, path: str) -> None:
    world.who = OPERATOR if path.startswith("/operator") else AUDITOR
    assert (await get(world, path)).status_code == 400


@pytest.mark.parametrize(("proxies", "network"), [("127.0.0.0/8", "203.0.113.0/24"), ("", "127.0.0.0/24")])
async def test_neighbours_are_told_from_where_the_guard_says_that_a_request_comes(
    proxies: str, network: str
) -> None:
    """By the address of a proxy they would record, count and block whoever comes through it."""
    world = StaffWorld(proxies=proxies)
    async with client(world) as asking:
        await asking.get("/auditor/alerts", headers={"x-forwarded-for": "203.0.113.77"})
    [asker] = world.neighbours.askers
    assert asker.network == network
    told = dict(asker.metadata())["x-forwarded-for"]
    assert caller_network("127.0.0.1", [told], networks("127.0.0.1/32")) == network


async def test_who_looked_is_listed_recorded_and_proved(world: StaffWorld) -> None:
    async with client(world) as asking:
        answer = await asking.get(
            "/auditor/browses", params={"key": ITEM_KEY}, headers={"Authorization": "Bearer auditors-own"}
        )
    assert answer.text.count('class="look card"') == 6
    [listed] = world.browses
    assert (listed.method, listed.user, listed.purpose) == ("ListBrowses", "auditor@example", "web page")
    [asker] = world.neighbours.askers
    assert asker.token == "auditors-own"
    assert ("authorization", "Bearer auditors-own") in asker.metadata()
    assert "auditors-own" not in answer.text
    bundle = proof_bundle.parse((await get(world, f"/auditor/browses/bundle?key={ITEM_KEY}")).content)
    proved = proof_bundle.verify(bundle, LogKeys([each.verifier for each in world.logs.signers.values()]))
    assert {each.proof.entry.kind for each in proved} == {"browse"}
    assert len(proved) == 6
    assert len(world.browses) == 2  # the bundle is a look of its own


async def test_looks_are_paged() -> None:
    world = StaffWorld(looks=[look(number) for number in range(60)])
    page, places = (await get(world, "/auditor/browses?user=ann")).text, list[str]()
    while True:
        places += re.findall(r'data-place="([^"]+)"', page)
        following = re.search(r'href="([^"]+)" rel="next"', page)
        if not following:
            break
        page = (await get(world, following[1].replace("&amp;", "&"))).text
    assert len(places) == len(set(places)) == 60


async def test_what_cannot_be_recorded_or_is_away_is_not_shown(world: StaffWorld) -> None:
    world.kafka_is_away = True
    answer = await get(world, f"/auditor/browses?key={ITEM_KEY}")
    assert (answer.status_code, "203.0.113" in answer.text) == (503, False)
    world.kafka_is_away, world.neighbours.away = False, True
    for path in ("/auditor/browses?user=ann", "/auditor/alerts"):
        answer = await get(world, path)
        assert answer.status_code == 503
        assert "does not answer, or is not set up" in answer.text
    world.who = OPERATOR
    assert (await get(world, "/operator/rejected")).status_code == 503
    overview = await get(world, "/operator")  # shows what it can
    assert overview.status_code == 200
    assert "not ready" in overview.text


async def test_an_operator_sees_health_backlog_and_what_was_refused() -> None:
    world = StaffWorld(
        who=OPERATOR, grafana="https://grafana.example/d/x", prometheus="https://prometheus.example"
    )
    page = (await get(world, "/operator")).text
    for text in (
        "mongodb: &lt;away&gt;",
        "Witnessed",
        "120",
        'href="https://grafana.example/d/x"',
        'href="https://prometheus.example"',
        "goods/1",
    ):
        assert text in page, text
    bare = StaffWorld(who=OPERATOR)
    page = (await get(bare, "/operator")).text
    assert "GOODSTRACE_QUERY_WEB_GRAFANA, GOODSTRACE_QUERY_WEB_PROMETHEUS_LINK" in page
    assert "set GOODSTRACE_QUERY_WEB_PROMETHEUS to" in page
    inside = StaffWorld(
        who=OPERATOR, prometheus="http://prometheus:9090", prometheus_link="http://127.0.0.1:9090"
    )
    page = (await get(inside, "/operator")).text
    assert 'href="http://127.0.0.1:9090"' in page
    assert "http://prometheus" not in page  # no browser reaches it
    assert "not set: GOODSTRACE_QUERY_WEB_GRAFANA." in page
    listed = (await get(bare, "/operator/rejected?reason=INVALID")).text
    assert "eventTime: it is no time" in listed
    one = (await get(bare, f"/operator/rejected/one?record={'ab' * 16}")).text
    assert "&lt;tomorrow&gt;" in one
    assert "captureID" in one
    bare.neighbours.content = None
    assert "is not shown" in (await get(bare, f"/operator/rejected/one?record={'ab' * 16}")).text
    assert bare.browses == []


async def test_no_text_of_any_record_becomes_markup() -> None:
    hostile = {"method": PAYLOAD, "keys": (PAYLOAD, f"javascript:alert(1)//{PAYLOAD}"), "purpose": PAYLOAD}
    world = StaffWorld(looks=[look(0, user=PAYLOAD, **hostile), look(1, asked_user=PAYLOAD, user=PAYLOAD)])
    async with client(world) as asking:
        for params in ({"user": PAYLOAD}, {"key": PAYLOAD}):
            answer = await asking.get("/auditor/browses", params=params)
            assert answer.status_code == 200
            assert "alert(1)" in answer.text
            assert_harmless(answer.text)
    texts = dict.fromkeys(("rule", "rules_version", "says", "subject", "series"), PAYLOAD)
    figures = [watch_pb2.Figure(name=PAYLOAD, value=1)]
    world.neighbours.alerts_there = [
        watch_pb2.Alert(**texts, about=about, figures=figures, evidence=[PAYLOAD], severity=9)  # type: ignore[arg-type]
        for about in ("user", "key", PAYLOAD)
    ]
    answer = await get(world, "/auditor/alerts")
    assert answer.text.count("alert(1)") > 10
    assert_harmless(answer.text)
    world.who = OPERATOR
    for name, value in REJECTED.items():
        if isinstance(value, str):
            world.neighbours.rejected = {**REJECTED, name: PAYLOAD}
            world.neighbours.content = PAYLOAD.encode()
            for path in OPERATORS[1:]:
                answer = await get(world, path)
                assert answer.status_code == 200
                assert_harmless(answer.text)


@pytest.mark.parametrize("path", ["/auditor/browses?key={}", "/auditor/browses?user={}", "/auditor/log?log={}", "/auditor/alerts?page={}", "/auditor/verify?log={}", "/operator/rejected?state={}"])  # fmt: skip
async def test_no_address_becomes_markup_or_a_header(world: StaffWorld, path: str) -> None:
    world.who = OPERATOR if path.startswith("/operator") else AUDITOR
    for text in (PAYLOAD, "a\r\nSet-Cookie: evil=1", "//evil.example", "\x00", "%", "\\\\evil"):
        answer = await get(world, path.replace("{}", str(httpx.QueryParams({"x": text}))[2:]))
        assert answer.status_code < 500, text
        assert "evil" not in answer.headers.get("set-cookie", "")
        assert_harmless(answer.text)


async def test_pages_of_others_cannot_be_written_to(world: StaffWorld) -> None:
    async with client(world) as asking:
        for path in (*AUDITORS, *OPERATORS):
            assert (await asking.post(path)).status_code == 405


def test_how_far_witnesses_are_behind_is_told(world: StaffWorld) -> None:
    one, two, other = (
        Cosigner(f"witness.example/{name}", name.encode().ljust(32, b"w")) for name in ("1", "2", "3")
    )
    logs = world.logs
    signed = {}
    for size, cosigners in ((3, [one, two]), (4, [one]), (5, [other])):
        logs.cosigners = cosigners
        signed[size] = logs.signed("goods/0", size)
    logs.cosigners = ()
    head = Head(1, signed[5], signed[4])
    found = standings(
        "goods/0",
        "goodstrace.test/00/goods/0",
        head,
        [signed[5], signed[4], signed[3]],
        [one.verifier, two.verifier, Cosigner("witness.example/0", b"x" * 32).verifier],
    )
    told = [(each.witness[-1], each.size, each.behind, each.is_known) for each in found]
    assert told == [("0", -1, 5, True), ("1", 4, 1, True), ("2", 3, 2, True), ("3", 5, 0, False)]


@pytest.mark.parametrize(
    "setting",
    [
        {"services": "collector"},
        {"services": "collector=ftp://x"},
        {"services": "c=http://u:p@host"},
        {"grafana": "javascript:alert(1)"},
        {"prometheus": "http://x y"},
        {"collector": "//host"},
    ],
)
def test_wrong_settings_are_refused(setting: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"validation error"):
        WebSettings(**setting)  # type: ignore[arg-type]
