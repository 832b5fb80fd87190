"""What attackers write into events, registrations, looks and refused events, on every page that shows them: text, and nothing else."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from goodstrace import facts as facts_format
from goodstrace.audit.v1 import watch_pb2
from goodstrace.facts import GOODS_ROLES
from goodstrace.identifiers import canonical_key
from goodstrace.query.v1 import login_pb2
from goodstrace.registration import merchant_key
from services.collector.errors import DocumentError
from services.collector.flagged import flagged
from services.collector.flow import FACTS_PART
from services.collector.registry.contents import read_goods, read_place
from services.runtime.access.values import NOBODY
from services.runtime.envelope import Record
from services.runtime.merchants.flagged import Finding, FlaggedEvent
from services.runtime.merchants.values import What
from tests import hostile_events as hostile
from tests.hostile_events import (
    EVENTS,
    MARK,
    PAYLOADS,
    PROBE,
    all_captured,
    assert_nothing_made,
    captured,
    changes,
    forms,
)
from tests.merchant_world import WORKS, MemoryKeys, MerchantWorld, person
from tests.unit.collector_builders import events_of
from tests.unit.test_web_pages import client, get
from tests.web_staff import AUDITOR, OPERATOR, REJECTED, StaffWorld, look
from tests.web_world import ITEM_KEY, LOT, PRODUCT_KEY, SHOPPER, WebWorld, registration
from tests.web_world import place as place_of

PROBE_KEY, LOT_KEY = canonical_key(PROBE), canonical_key(hostile.LOT)
MOST_ON_A_PAGE = 200
SERIALS = (f"<{MARK}>", f"<{MARK}/onclick=1>", f"\"onclick='{MARK}()", f"'\">/*{MARK}", f"</pre>{MARK}", f"%0d%0a{MARK}:1", "&lt;b&gt;" + MARK)  # fmt: skip
"""All of it may stand in a serial number and a lot number (GS1 General Specifications, figure 7.11-1)."""
NEVER = {
    "type", "eventTime", "recordTime", "eventTimeZoneOffset", "declarationTime", "time", "startTime", "endTime", "hexBinaryValue", "uom", "action",
    "type#", "eventTime#", "eventTimeZoneOffset#", "declarationTime#", "action#", "id#", "bizTransaction#", "source#", "destination#", "epcClass#",
    "sensorReport#", "parentID#", "bizTransactionList#",
}  # fmt: skip
"""Fields of words, times and numbers, and names without which an event is none: the collector refuses markup there."""


async def _pages(world: WebWorld, path: str) -> list[str]:
    """The pages of a trace, one after the other."""
    found = [path]
    pages = []
    while found:
        answer = await get(world, found[0].replace("&amp;", "&"))
        assert answer.status_code == 200, (path, answer.text)
        assert all(MARK not in f"{name}{value}" for name, value in answer.headers.items())
        pages.append(answer.text)
        found = re.findall(r'href="([^"]+page=[^"]+)" rel="next"', answer.text)
    return pages


@pytest.mark.parametrize("kind", EVENTS)
async def test_no_text_of_any_event_becomes_markup(kind: str, tell: Callable[[str], None]) -> None:
    assert captured(hostile.whole(kind), 1) is not None, "the event itself is none"
    taken, refused = all_captured(kind)
    wrong = {where for where in refused if where.rpartition("/")[2] not in NEVER}
    assert not wrong, f"fields that took no payload: {wrong}"
    fields = {where for where, _, _ in taken}
    shown = 0
    for key, records in _by_key([record for *_, record in taken]):
        world = WebWorld([], more=records, events_on_page=MOST_ON_A_PAGE)
        pages = await _pages(world, f"/trace?key={quote(key)}")
        said = "".join(assert_nothing_made(page, kind).said() for page in pages)
        assert said.count(MARK) >= len(records)
        shown += sum(page.count('<li class="event') for page in pages)
        await _elsewhere(records)
    assert shown == len(taken)
    told = ", ".join(f"{name} {count}" for name, count in sorted(_by_name(refused).items()))
    tell(
        f"web: {kind}: {shown} events with markup in one of {len(fields)} texts or names, shown as text; {refused.total()} refused: {told}"
    )


def _by_key(records: list[Record]) -> Iterator[tuple[str, list[Record]]]:
    """Share records out to pages: by the item that they name, or where its list has a hostile name by the lot."""
    named = [each for each in records if PROBE_KEY in _goods(each)]
    for start in range(0, len(named), MOST_ON_A_PAGE):
        yield PROBE_KEY, named[start : start + MOST_ON_A_PAGE]
    others = [each for each in records if PROBE_KEY not in _goods(each)]
    if others:
        yield LOT_KEY, others


def _goods(record: Record) -> set[str]:
    known = facts_format.decode(record.part(FACTS_PART).content)
    return {key for role in GOODS_ROLES for key in known.keys.get(role, ())}


def _by_name(refused: Counter[str]) -> Counter[str]:
    """How often fields were refused, by their last name."""
    found: Counter[str] = Counter()
    for where, count in refused.items():
        found[where.rpartition("/")[2]] += count
    return found


async def _elsewhere(records: list[Record]) -> None:
    """The same events on the pages of shoppers and merchants, and every goods page that one of them leads to is one of this server."""
    world = MerchantWorld(more=records, flagged_events=list(flagged(events_of(records))))
    world.keys.keys |= MemoryKeys(records).keys
    for path in ("/merchant", "/merchant/flags", f"/merchant/recall?key={quote(LOT_KEY)}"):
        answer = await get(world, path)
        assert answer.status_code == 200, (path, answer.text)
        assert_nothing_made(answer.text, path)
    world.who = NOBODY
    assert_nothing_made((await get(world, PROBE_KEY.removeprefix("https://id.gs1.org"))).text, "face")


async def test_no_page_about_hostile_goods_has_anything_of_theirs(tell: Callable[[str], None]) -> None:
    """Keys that are markup, asked for: page, face, bundle, label, linkset, search."""
    texts = [text for payload in PAYLOADS.values() for text in forms(payload)]
    events = [
        dict(changes(hostile.whole("TransformationEvent"), text))["/event/outputEPCList/0"] for text in texts
    ]
    records = [record for number, each in enumerate(events) if (record := captured(each, number + 1))]
    keys = sorted(key for key in set().union(*map(_goods, records)) if MARK in key)
    assert len(keys) >= len(PAYLOADS)
    world = WebWorld([], more=records, looks_per_min=10_000)
    for key in keys:
        async with client(world) as asking:
            for who in (SHOPPER, NOBODY):
                world.who = who
                for path in ("/trace", "/search", "/face", "/bundle", "/label.svg"):
                    answer = await asking.get(path, params={"key": key, "q": key})
                    assert answer.status_code in (200, 303, 404), (path, key, answer.text)
                    assert MARK not in answer.headers.get("set-cookie", "")
                    assert f"<{MARK}" not in answer.headers.get("location", "") + answer.headers.get(
                        "link", ""
                    )
                    if "html" in answer.headers.get("content-type", ""):
                        assert_nothing_made(answer.text, (path, key))
    tell(f"web: {len(keys)} keys that are markup, each on 5 pages for two visitors")


@pytest.mark.parametrize("serial", SERIALS)
async def test_serial_and_lot_numbers_that_are_markup_are_text(serial: str) -> None:
    """GS1 identifiers may have `<`, `>`, quotes and `%` in them; pages show them decoded."""
    coded = quote(serial, safe="")
    item, lot = f"urn:epc:id:sgtin:7038011.000201.{coded}", f"urn:epc:class:lgtin:7038011.000201.{coded}"
    event = {**hostile.whole("ObjectEvent")["event"], "epcList": [item, PROBE], "disposition": "recalled"}
    event |= {"quantityList": [{"epcClass": lot, "quantity": 1}], "sensorElementList": []}
    del event["sensorElementList"]
    record = captured({**hostile.whole("ObjectEvent"), "event": event}, 1)
    assert record is not None
    found = FlaggedEvent("a" * 32, WORKS, 1, 1, "", (Finding("sensor-alarm"),), (canonical_key(item), canonical_key(lot)), 2)  # fmt: skip
    world = MerchantWorld(more=[record], flagged_events=[found])
    world.keys.keys |= MemoryKeys([record]).keys
    for who, paths in (
        (person(WORKS), ("/merchant", "/merchant/flags", f"/merchant/recall?key={quote(canonical_key(lot))}", "/merchant?q=" + quote(serial))),
        (SHOPPER, (canonical_key(item).removeprefix("https://id.gs1.org"), f"/trace?key={quote(PROBE_KEY)}", f"/search?q={quote(item)}")),
        (NOBODY, (canonical_key(item).removeprefix("https://id.gs1.org"), canonical_key(lot).removeprefix("https://id.gs1.org"))),
    ):  # fmt: skip
        world.who = who
        for path in paths:
            answer = await get(world, path)
            assert answer.status_code in (200, 303), (path, answer.text)
            assert answer.headers.get("location", "/01/").startswith("/01/")
            assert MARK not in answer.headers.get("set-cookie", "")
            if answer.status_code == 200:
                said = assert_nothing_made(answer.text, path).said()
                assert MARK in said or "?q=" in path  # what was asked for stands in the field


SHOP = canonical_key(place_of(WORKS))
GOODS: dict[str, Any] = {
    "key": PRODUCT_KEY, "names": {"en": "Salmon", "nb": "Laks"}, "attributes": {"safetyNotice": "cold", "recallReason": "warm", "colour": "red"},
    "pictures": [{"uri": "https://x.example/a.png", "sha256": "00" * 32}],
}  # fmt: skip
PLACE: dict[str, Any] = {
    "key": SHOP, "names": {"en": "Works"}, "kind": "works", "street": "1", "postalCode": "2", "city": "Bodø", "region": "N", "country": "NO",
    "coordinates": {"latitude": 67.0, "longitude": 14.0},
}  # fmt: skip
MERCHANT = {"name": "Nordfilet", "prefixes": ["7038011"]}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
async def test_nothing_that_is_registered_becomes_markup(payload: str) -> None:
    """Names, attributes, pictures and addresses, sealed with the payload in each text at once, even where the registry would refuse it."""
    contents = (
        (What.GOODS, PRODUCT_KEY, GOODS),
        (What.PLACE, SHOP, PLACE),
        (What.MERCHANT, merchant_key(WORKS), MERCHANT),
    )
    more = [
        registration(what, key, WORKS, _everywhere(content, payload), 10**12)
        for what, key, content in contents
    ]
    world = MerchantWorld(more=more)
    for who, paths in (
        (SHOPPER, (ITEM_KEY.removeprefix("https://id.gs1.org"),)),
        (NOBODY, (PRODUCT_KEY.removeprefix("https://id.gs1.org"),)),
        (person(WORKS), ("/merchant", f"/merchant/recall?key={quote(canonical_key(LOT))}")),
    ):
        world.who = who
        for path in paths:
            answer = await get(world, path)
            assert answer.status_code == 200, (path, answer.text)
            assert MARK in assert_nothing_made(answer.text, path).said()


def _everywhere(value: Any, payload: str) -> Any:
    """The payload in the place of each text."""
    if isinstance(value, dict):
        return {name: _everywhere(inner, payload) for name, inner in value.items()}
    if isinstance(value, list):
        return [_everywhere(inner, payload) for inner in value]
    return payload if isinstance(value, str) else value


async def test_what_the_registry_holds_is_text_in_its_forms(tell: Callable[[str], None]) -> None:
    """Each text and each name of a member, where the registry takes it."""
    world, refused, taken = MerchantWorld(), Counter[str](), 0
    kinds = (
        ("goods", "/merchant/goods/new", GOODS, read_goods),
        ("places", "/merchant/places/new", PLACE, read_place),
    )
    for payload in PAYLOADS.values():
        for kind, path, content, read in kinds:
            for where, _ in changes(content, ""):
                for text in forms(payload):
                    changed = dict(changes(content, text))[where]
                    try:
                        read(changed)
                    except DocumentError:
                        continue
                    taken += 1
                    world.registry.rows = {(kind, content["key"]): changed}
                    for each in (f"{path}?key={quote(content['key'])}", "/merchant/places"):
                        answer = await get(world, each)
                        assert answer.status_code == 200, (where, each, answer.text)
                        assert_nothing_made(answer.text, (kind, where))
                    break
                else:
                    refused[f"{kind}{where}"] += 1
    tell(
        f"web: {taken} registrations with markup in one text shown as text; {refused.total()} refused: {', '.join(sorted(refused))}"
    )
    assert {"names/en", "attributes/colour", "attributes/colour#", "street"}.isdisjoint(
        each.partition("/")[2] for each in refused
    )


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
async def test_names_of_accounts_purposes_and_refused_events_are_text(payload: str) -> None:
    world = MerchantWorld(who=person(WORKS, payload))
    world.people.accounts = {
        payload: login_pb2.Account(id=payload, name=payload, kind=payload, status=payload, merchant=WORKS)
    }
    for path in ("/", "/merchant/staff", "/merchant/goods/new", ITEM_KEY.removeprefix("https://id.gs1.org")):
        answer = await get(world, path)
        assert answer.status_code == 200
        assert MARK in assert_nothing_made(answer.text, path).said()
    told: dict[str, Any] = {"method": payload, "keys": (payload, f"urn:x:{payload}"), "purpose": payload}
    staff = StaffWorld(looks=[look(0, user=payload, **told), look(1, user=payload, asked_user=payload)])
    rejected = {name: payload if isinstance(value, str) else value for name, value in REJECTED.items()}
    staff.neighbours.rejected, staff.neighbours.content = (
        {**rejected, "resubmitted": [{payload: payload}]},
        payload.encode(),
    )
    texts = dict.fromkeys(("id", "rule", "rules_version", "says", "subject", "series"), payload)
    figures = [watch_pb2.Figure(name=payload, value=1)]
    staff.neighbours.alerts_there = [
        watch_pb2.Alert(**texts, about=about, figures=figures, evidence=[payload], severity=9)  # type: ignore[arg-type]
        for about in ("user", "key", payload)
    ]
    for who, path in (
        (AUDITOR, f"/auditor/browses?user={quote(payload)}"), (AUDITOR, f"/auditor/browses?key={quote(payload)}"), (AUDITOR, "/auditor/alerts"),
        (OPERATOR, "/operator/rejected"), (OPERATOR, f"/operator/rejected/one?record={'ab' * 16}"),
    ):  # fmt: skip
        staff.who = who
        answer = await get(staff, path)
        assert answer.status_code == 200, (path, answer.text)
        assert MARK not in answer.headers.get("set-cookie", "")
        assert MARK in assert_nothing_made(answer.text, path).said()
