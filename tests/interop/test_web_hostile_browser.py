"""What attackers write into events and refused events, in Chromium with the pages' policy turned off: nothing runs, and nothing is made of it.

Needs Debian's chromium; where it is not there these tests are skipped, and say so.
"""

from collections.abc import Callable
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page

from goodstrace.identifiers import canonical_key
from services.collector.flagged import flagged
from services.runtime.envelope import Record
from tests.browsers import needs_chromium, opening
from tests.hostile_events import LOT, MARK, PAYLOADS, PROBE, captured, changes, forms, whole
from tests.interop.test_web_browser import state
from tests.merchant_world import WORKS, MemoryKeys, MerchantWorld, person
from tests.unit.collector_builders import events_of
from tests.web_staff import AUDITOR, OPERATOR, REJECTED, StaffWorld, look
from tests.web_world import SHOPPER

pytestmark = needs_chromium
WATCHED = "window.ran = []; for (const name of ['alert', 'confirm', 'prompt']) window[name] = (text) => ran.push(text);"
MADE = """mark => [...document.querySelectorAll('*')].filter(element =>
  element.localName.includes(mark) || ['iframe', 'object', 'embed', 'base'].includes(element.localName)
  || (element.localName === 'script' && (element.textContent.trim() || !element.src.startsWith(location.origin + '/web/static/')))
  || [...element.attributes].some(({ name, value }) => name.startsWith('on') || name === 'style' || name.includes(mark)
    || (['href', 'src', 'action', 'formaction', 'srcdoc', 'xlink:href'].includes(name) && new URL(value, location).origin !== location.origin)),
).map(element => element.outerHTML.slice(0, 200))"""
FIELDS = (
    "/event/bizStep", "/event/disposition", "/event/readPoint/id", "/event/bizLocation/id", "/event/epcList/0", "/event/quantityList/0/epcClass",
    "/event/bizTransactionList/0/bizTransaction", "/event/bizTransactionList/0/type", "/event/sourceList/0/source", "/event/errorDeclaration/reason",
    "/event/persistentDisposition/set/0", "/event/certificationInfo/0", "/event/ilmd/cbvmda:countryOfOrigin", "/event/ilmd/cbvmda:lotNumber#",
    "/event/sensorElementList/0/sensorReport/0/type", "/event/sensorElementList/0/sensorReport/0/exception",
    "/event/sensorElementList/0/sensorReport/1/stringValue", "/event/ex:own/ex:in/ex:list/1/ex:deeper/ex:last#", "/event/eventID", "/@context/1/ex#",
)  # fmt: skip
"""Those that pages show in more places than the exact event."""


def _records() -> list[Record]:
    """Events with each payload in some field, every field with some payload."""
    found = []
    for number, where in enumerate(FIELDS):
        for turn, payload in enumerate(PAYLOADS.values()):
            if turn % 2 == number % 2:
                events = (dict(changes(whole("ObjectEvent"), text))[where] for text in forms(payload))
                made = (captured(each, 100 * number + 10 * turn + 1) for each in events)
                found += [next(record for record in made if record is not None)]
    return found


def _assert_nothing_made(page: Page, path: str) -> None:
    page.goto(path)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert MARK in page.inner_text("body"), path
    assert page.evaluate(MADE, MARK) == [], path
    assert page.evaluate("ran") == [], path


def test_nothing_is_made_or_run_of_what_events_say(browser: Browser, tell: Callable[[str], None]) -> None:
    records = _records()
    world = MerchantWorld(
        more=records, flagged_events=list(flagged(events_of(records))), events_on_page=len(records)
    )
    world.keys.keys |= MemoryKeys(records).keys
    with world.served() as url, opening(browser, url) as new:
        page = new(bypass_csp=True)
        page.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))
        page.add_init_script(WATCHED)
        _assert_nothing_made(page, f"/trace?key={quote(canonical_key(PROBE))}")
        assert page.locator(".event").count() == len(records)
        world.who = SHOPPER
        _assert_nothing_made(page, f"/trace?key={quote(canonical_key(PROBE))}")
        assert state(page) == "good"
        assert page.evaluate(MADE, MARK) == []  # of what the script writes, neither
        world.who = person(WORKS, PAYLOADS["image"])
        for path in ("/merchant", "/merchant/flags", f"/merchant/recall?key={quote(canonical_key(LOT))}"):
            _assert_nothing_made(page, path)
        page.evaluate(f"document.body.insertAdjacentHTML('beforeend', `{PAYLOADS['image']}`)")
        assert page.evaluate(MADE, MARK)  # this test would have seen it
        page.wait_for_function("ran.length")
    tell(f"web: {len(records)} hostile events on 4 pages in Chromium without its policy")


@pytest.mark.parametrize("name", PAYLOADS)
def test_nothing_is_made_of_looks_and_refused_events(browser: Browser, name: str) -> None:
    payload = PAYLOADS[name]
    world = StaffWorld(looks=[look(0, user=payload, method=payload, keys=(payload,), purpose=payload)])
    world.neighbours.rejected = {
        field: payload if isinstance(value, str) else value for field, value in REJECTED.items()
    }
    world.neighbours.content = payload.encode()
    with world.served() as url, opening(browser, url) as new:
        page = new(bypass_csp=True)
        page.add_init_script(WATCHED)
        for who, path in (
            (AUDITOR, f"/auditor/browses?user={quote(payload)}"),
            (OPERATOR, "/operator/rejected"),
            (OPERATOR, f"/operator/rejected/one?record={'ab' * 16}"),
        ):
            world.who = who
            _assert_nothing_made(page, path)
