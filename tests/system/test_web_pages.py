"""The pages of merchants, auditors and operators as browsers get them from running services: forms, cookies, and what other services are asked."""

import csv
import io
import json
import re
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import httpx
import pytest

from deploy.credentials import FILE
from deploy.stack import Stack
from goodstrace.accounts import AccountsClient
from goodstrace.capture import CaptureClient, Job
from goodstrace.credentials import local_user
from goodstrace.identifiers import canonical_key
from goodstrace.registry import RegistryClient
from goodstrace.token_sources import FixedToken
from services.query.web.asking import spoken
from tests.deadlines import DEADLINE_S
from tests.system.harness import SERVICES, System, eventually
from tests.unit.collector_builders import document, object_event
from tests.unit.visible_world import EVENTS, INPUT, ITEM, MAKER, PREFIXES

ITEM_KEY, LOT = canonical_key(ITEM), canonical_key(INPUT)
PRODUCT: Final = ITEM_KEY.partition("/21/")[0]
FOREIGN: Final = "urn:epc:id:sgtin:9521239.054321.7"
STAFF, PASSWORD = "tea-staff", "leaves of a spring morning 27"
_TOKEN: Final = re.compile(r'name="csrf" value="([^"]+)"')
_RECORD: Final = re.compile(r"/operator/rejected/one\?record=([0-9a-f]{32})")
_ONCE: Final = re.compile(r'id="password">([^<]+)<')
_SHEET: Final = re.compile(r'href="(/merchant/recall\.csv[^"]+)"')


class Browser:
    """A browser without script: cookies, and forms with the token that their page has."""

    def __init__(self, url: str, believed: ssl.SSLContext | bool = True) -> None:
        self._http = httpx.Client(
            base_url=url,
            timeout=DEADLINE_S,
            follow_redirects=True,
            headers={"Accept-Language": "en"},
            verify=believed,
        )

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def get(self, path: str, status: int = 200, **query: str) -> str:
        """Give a page, whose status is looked at."""
        answer = self._http.get(path, params=query or None)
        assert answer.status_code == status, answer.text
        return answer.text

    def post(self, path: str, **fields: str) -> httpx.Response:
        """Send the form of a page."""
        found = _TOKEN.search(self.get(path))
        assert found is not None, f"{path} has no form"
        return self._http.post(path, data={"csrf": found[1], **fields})

    def sign_in(self, name: str, password: str) -> None:
        """Sign in by the form."""
        answer = self.post("/sign-in", name=name, password=password)
        assert answer.status_code == 200, answer.text

    def change_password(self, password: str, new: str) -> None:
        """Change the password by the form, as somebody must whose password another made."""
        answer = self.post("/password", password=password, new_password=new)
        assert answer.status_code == 200, answer.text


@dataclass
class World:
    """The system with a merchant's chain sealed, and browsers signed in by role."""

    system: System
    merchant: int
    browsers: dict[str, Browser]

    def looks(self, user: str) -> Counter[str]:
        """How many looks of a user are recorded now, by method; attempts to sign in and refusals are none."""
        found: Counter[str] = Counter()
        for record in self.system.looks():
            parts = {part.name: json.loads(part.content) for part in record.parts}
            if parts["who"]["user"] == user and "kind" not in parts["what"]:
                found[parts["what"]["method"]] += 1
        return found

    @contextmanager
    def recorded(self, user: str, **methods: int) -> Iterator[None]:
        """See that what is done leaves these looks of the user, and no others."""
        before = self.looks(user)
        yield
        assert self.looks(user) - before == Counter(methods)


@pytest.fixture(scope="module")
def world(stack: Stack, systems: Callable[..., System]) -> Iterator[World]:
    system = systems(stack, GOODSTRACE_ACCOUNTS="required").start()
    operator = system.operator_token_file.read_text().strip()
    with RegistryClient(system.capture_url, operator) as registry:
        merchant = int(registry.add({"name": "Tea", "prefixes": [PREFIXES[MAKER]]})["merchant"])
        key = str(registry.new_key(merchant)["apiKey"])
    with AccountsClient(system.query_target, FixedToken(operator)) as accounts:
        _, made = accounts.add(STAFF, ["merchant"], merchant=merchant)
    own = [event for role, event in EVENTS if role == MAKER]
    foreign = object_event(epcList=[FOREIGN], action="ADD", bizStep="commissioning")
    with CaptureClient(system.capture_url, timeout_s=DEADLINE_S, token=key) as collector:
        taken = collector.send(document(*own, foreign), error_behaviour="proceed")
        assert isinstance(taken, Job), "\n".join(taken.lines())
        assert collector.wait(taken, deadline_s=DEADLINE_S).counts["accepted"] == len(own)
    eventually(lambda: system.sealed_count() >= 2 + len(own), what="all is sealed")
    browsers = {role: Browser(system.log_url) for role in ("merchant", "auditor", "operator", "shopper")}
    browsers["merchant"].sign_in(STAFF, made)
    browsers["merchant"].change_password(made, PASSWORD)
    for role in ("auditor", "operator", "shopper"):
        user = local_user(system.run_dir / FILE, system.query_target, role)
        assert user is not None
        browsers[role].sign_in(*user)
    eventually(lambda: _answers(browsers["merchant"]), what="the new password counts")
    yield World(system, merchant, browsers)
    for each in browsers.values():
        each.close()


def _answers(browser: Browser) -> bool:
    return browser._http.get("/merchant/labels").status_code == 200


def test_staff_see_their_goods(world: World) -> None:
    with world.recorded(STAFF, ListGoods=1):
        page = eventually(lambda: world.browsers["merchant"].get("/merchant"))
    for key in (ITEM_KEY, LOT):
        assert spoken(key) in page
    with world.recorded(STAFF, ListFlagged=1):
        world.browsers["merchant"].get("/merchant/flags")


def test_a_product_registered_by_the_form_is_sealed(world: World) -> None:
    staff, before = world.browsers["merchant"], world.system.sealed_count()
    assert staff.post("/merchant/goods/new", key=FOREIGN, name_en="Theirs").status_code == 403
    answer = staff.post("/merchant/goods/new", key=PRODUCT, name_en="Spring tea")
    assert answer.status_code == 200, answer.text
    assert "Registered:" in answer.text
    world.system.wait_sealed(before + 1)
    registered = [each for each in world.system.sealed() if b"Spring tea" in b"".join(each.parts.values())]
    assert len(registered) == 1
    place = "urn:epc:id:sgln:9521231.00001.0"
    answer = staff.post("/merchant/places/new", key=place, name_en="Tea house", country="NO")
    assert "Registered:" in answer.text
    world.system.wait_sealed(before + 2)
    assert "Tea house" in staff.get("/merchant/places")
    eventually(lambda: "Spring tea" in staff.get("/merchant"), what="the name is shown")


def test_a_lot_is_recalled_and_taken_away_as_a_sheet(world: World) -> None:
    staff = world.browsers["merchant"]
    with world.recorded(STAFF, Recall=1):
        page = staff.get("/merchant/recall", key=LOT)
    assert spoken(ITEM_KEY) in page
    sheet = _SHEET.search(page)
    assert sheet is not None, page
    with world.recorded(STAFF, Recall=1):
        text = staff.get(sheet[1].replace("&amp;", "&"))
    assert any(ITEM_KEY in row for row in csv.reader(io.StringIO(text)))


def test_who_looked_is_counted_by_the_audit_service(world: World) -> None:
    with world.recorded(STAFF, CountGoodsBrowses=1):
        page = world.browsers["merchant"].get("/merchant/looks")
    assert "This look is recorded too" in page


def test_labels_are_a_pdf(world: World) -> None:
    with world.recorded(STAFF):
        answer = world.browsers["merchant"].post(
            "/merchant/labels", keys=ITEM_KEY, sheet="a4-21", names="1", **{"as": "pdf"}
        )
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")


def test_an_account_made_by_the_form_signs_in_and_acts_for_the_merchant(world: World) -> None:
    answer = world.browsers["merchant"].post("/merchant/staff", action="create", name="tea-new")
    once = _ONCE.search(answer.text)
    assert once is not None, answer.text
    new = Browser(world.system.log_url)
    new.sign_in("tea-new", once[1])
    new.get("/merchant", status=403)  # first the password is changed
    new.change_password(once[1], PASSWORD + " too")
    eventually(lambda: _answers(new), what="the new password counts")
    with world.recorded("tea-new", ListGoods=1):
        assert spoken(ITEM_KEY) in new.get("/merchant")
    new.close()


def test_auditors_see_logs_blocks_and_who_looked(world: World) -> None:
    auditor, user = world.browsers["auditor"], "demo-auditor"
    with world.recorded(user):
        page = auditor.get("/auditor")
        logs = sorted({each.log for each in world.system.sealed()})
        assert all(log in page for log in logs)
        assert "/auditor/block?" in auditor.get("/auditor/log", log=logs[0])
        assert world.system.sealed()[0].id in auditor.get("/auditor/block", log=logs[0], height="0")
        auditor.get("/auditor/witnesses")
        auditor.get("/auditor/verify")
    with world.recorded("demo-shopper", Trace=1):
        world.browsers["shopper"].get("/trace", key=ITEM_KEY)
    shown = eventually(
        lambda: page if "demo-shopper" in (page := auditor.get("/auditor/browses", key=ITEM_KEY)) else "",
        what="the shopper's look is listed, and opened",
    )
    assert "web page" in shown
    with world.recorded(user, ListBrowses=2):
        assert "Trace" in auditor.get("/auditor/browses", user="demo-shopper")
        bundle = json.loads(auditor.get("/auditor/browses/bundle", key=ITEM_KEY))
    assert bundle["entries"]
    with world.recorded(user, ListAlerts=1):
        assert "There is no alert." in auditor.get("/auditor/alerts")


def test_operators_see_readiness_and_what_was_refused(world: World) -> None:
    operator = world.browsers["operator"]
    page = operator.get("/operator")
    assert page.count("✔") == len(SERVICES)
    assert "goods/0" in page
    page = operator.get("/operator/rejected", reason="FORBIDDEN")
    found = _RECORD.search(page)
    assert found is not None, page
    assert FOREIGN in operator.get("/operator/rejected/one", record=found[1])
    operator.get("/operator/rejected/one", status=404, record="0" * 32)


@pytest.mark.parametrize(
    ("role", "refused"),
    [
        ("shopper", ("merchant", "auditor", "operator")),
        ("merchant", ("auditor", "operator")),
        ("operator", ("merchant",)),
        ("auditor", ("merchant",)),
    ],
)
def test_pages_are_for_their_roles(world: World, role: str, refused: tuple[str, ...]) -> None:
    pages = {
        "merchant": ("", "/flags", "/looks", f"/recall?key={LOT}", f"/recall.csv?key={LOT}", "/goods/new", "/places", "/staff", "/labels"),
        "auditor": ("", "/log?log=goods/0", "/block?log=goods/0&height=0", f"/browses?key={ITEM_KEY}", "/alerts", "/witnesses", "/verify"),
        "operator": ("", "/rejected", f"/rejected/one?record={'0' * 32}"),
    }  # fmt: skip
    for folder in refused:
        for rest in pages[folder]:
            world.browsers[role].get(f"/{folder}{rest}", status=403)
