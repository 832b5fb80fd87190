"""The pages of merchants over HTTP in memory: what is one's own, what is recorded, and what attackers put into it."""

import re
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from goodstrace.claims import Claims
from goodstrace.identifiers import canonical_key
from services.query.own_keys import begin_range, key_ranges, within
from services.runtime.access.values import EVERYBODY, NOBODY
from services.runtime.merchants.flagged import MAX_KEYS, Finding, FlaggedEvent
from tests.merchant_world import FARM, WORKS, MerchantWorld, person
from tests.unit.test_web_pages import PAYLOAD, assert_harmless, get
from tests.web_world import CASE, EVENTS, FISH_KEY, ITEM_KEY, LOT_KEY, RECALL, SHOPPER

GET_PATHS = ("/merchant", "/merchant/flags")


@pytest.fixture
def world() -> MerchantWorld:
    return MerchantWorld([*EVENTS, RECALL])


async def test_goods_are_listed_with_how_they_stand_and_the_look_is_recorded(world: MerchantWorld) -> None:
    answer = await get(world, "/merchant")
    assert answer.status_code == 200, answer.text
    for text in ("Arctic salmon fillet, 250 g", "Recalled", "West Lake fresh market", "L0412", "Sale"):
        assert text in answer.text, text
    [browse] = world.browses
    assert (browse.method, browse.merchant, browse.purpose) == ("ListGoods", WORKS, "merchant page")
    assert {ITEM_KEY, LOT_KEY, canonical_key(CASE)} <= set(browse.keys)
    assert browse.events > 0
    assert world.records_shown == browse.events
    assert answer.headers["cache-control"] == "no-store"
    assert_harmless(answer.text)


async def test_goods_of_another_merchant_are_not_there(world: MerchantWorld) -> None:
    works = (await get(world, "/merchant")).text
    world.who = person(FARM)
    farm = (await get(world, "/merchant")).text
    assert quote(FISH_KEY.removeprefix("https://id.gs1.org")) in farm
    assert FISH_KEY.removeprefix("https://id.gs1.org") not in works
    assert ITEM_KEY.removeprefix("https://id.gs1.org") not in farm
    for asked in (ITEM_KEY, "1001", "L0412"):
        assert "None of your goods" in (await get(world, f"/merchant?q={quote(asked)}")).text
    assert all(ITEM_KEY not in each.keys for each in world.browses if each.merchant == FARM)


@pytest.mark.parametrize("path", GET_PATHS)
async def test_who_acts_for_no_merchant_is_refused(world: MerchantWorld, path: str) -> None:
    for who, status in ((NOBODY, 401), (SHOPPER, 403), (EVERYBODY, 403)):
        world.who = who
        assert (await get(world, path)).status_code == status
    assert world.browses == []


@pytest.mark.parametrize("path", GET_PATHS)
async def test_what_cannot_be_recorded_is_not_shown(world: MerchantWorld, path: str) -> None:
    world.kafka_is_away = True
    answer = await get(world, path)
    assert answer.status_code == 503
    assert "salmon" not in answer.text


async def test_goods_are_found_by_key_and_by_lot_number(world: MerchantWorld) -> None:
    product = ITEM_KEY.partition("/21/")[0]
    for asked in (LOT_KEY, "L0412", product, "(01)07038011002013(10)L0412"):
        page = (await get(world, f"/merchant?q={quote(asked)}")).text
        assert LOT_KEY.removeprefix("https://id.gs1.org") in page, asked
    assert "None of your goods" in (await get(world, "/merchant?q=L9999")).text
    assert "None of your goods" in (await get(world, "/merchant?q=%3Cscript%3E")).text
    assert (await get(world, f"/merchant?q={'9' * 3000}")).status_code == 400


async def test_every_one_of_the_goods_is_on_one_page(world: MerchantWorld) -> None:
    product = ITEM_KEY.partition("/21/")[0]
    world.keys.keys |= {f"{product}/21/{number}" for number in range(2000, 2055)}
    path, found = "/merchant", list[str]()
    for _ in range(9):
        page = (await get(world, path)).text
        found += re.findall(r'<th scope="row"><a href="([^"]+)"', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        if following is None:
            break
        path = following[1].replace("&amp;", "&")
    own = {each for each in world.keys.keys if Claims(prefixes=("7038011",)).cover(each)}
    assert len(found) == len(set(found)) == len(own)


async def test_flags_come_newest_first_and_by_rule(world: MerchantWorld) -> None:
    page = (await get(world, "/merchant/flags")).text
    for text in ("Stored too warm", "critical", "7 °C, and 4 °C at the most", "Past best-before date"):
        assert text in page, text
    assert "Sensor alarm" not in page  # another merchant's
    [browse] = world.browses
    assert (browse.method, browse.events, browse.merchant) == ("ListFlagged", 2, WORKS)
    assert canonical_key(CASE) in browse.keys
    one = (await get(world, "/merchant/flags?rule=storage-too-warm")).text
    assert "Past best-before date" not in one
    assert_harmless(page)
    world.flagged.events = [
        FlaggedEvent(f"{number:032x}", WORKS, number // 2, 0, "", (Finding("x"),), (), 0)
        for number in range(50, -1, -1)
    ]
    path, found = "/merchant/flags", 0
    while path:
        page = (await get(world, path)).text
        found += page.count('class="card"')
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert found == 51
    for wrong in ("x", "1-" + "z" * 32, "../etc"):
        assert (await get(world, f"/merchant/flags?before={wrong}")).status_code == 400
    assert (await get(world, f"/merchant/flags?rule={'x' * 300}")).status_code == 400


def _read(number: int, read: int, name: str = "future-time", **changes: Any) -> FlaggedEvent:
    finding = Finding(name, "warning", f"at {number}", ("https://id.gs1.org/01/07038011002013",))
    event = FlaggedEvent(
        f"{number:032x}", WORKS, 9, number * 10**6, "sale", (finding,), ("urn:x:1",), 1, read=read
    )
    return msgspec.structs.replace(event, **changes)


async def test_flagged_reads_that_repeat_each_other_are_one_row_with_all_of_them() -> None:
    storm = [_read(number, number + 1) for number in range(12)]
    world = MerchantWorld(flagged_events=storm)
    page = (await get(world, "/merchant/flags")).text
    assert page.count('class="card"') == 1
    assert "Read 12 times, from 1 Jan 1970, 00:00:00 UTC to 1 Jan 1970, 00:00:11 UTC" in page
    [inside] = re.findall(r"<details><summary>All 12 reads</summary>(.*?)</details>", page, re.DOTALL)
    assert [f"at {number} (as registered for (01) 07038011002013)" in inside for number in range(12)] == [
        True
    ] * 12
    assert_harmless(page)
    apart = [*storm[:5], _read(5, 6, "conflicting-id"), *storm[6:]]
    assert (await get(MerchantWorld(flagged_events=apart), "/merchant/flags")).text.count('class="card"') == 3
    # Nothing says that one repeats the other; the other is no read; it is somewhere else.
    for other in (_read(1, 1), _read(1, 0), _read(1, 2, place="urn:x:2")):
        page = (await get(MerchantWorld(flagged_events=[_read(0, 1), other]), "/merchant/flags")).text
        assert page.count('class="card"') == 2


async def test_flagged_reads_that_may_be_of_other_goods_are_rows_of_their_own() -> None:
    keys = tuple(f"urn:x:{number}" for number in range(MAX_KEYS))

    async def cards(*reads: FlaggedEvent) -> int:
        return (await get(MerchantWorld(flagged_events=list(reads)), "/merchant/flags")).text.count('class="card"')  # fmt: skip

    # Of 21 goods 20 are kept: the last one may be another.
    assert await cards(*(_read(each, each + 1, keys=keys, goods=MAX_KEYS + 1) for each in range(2))) == 2
    # Of 20 goods five are shown, and all are compared.
    assert await cards(*(_read(each, each + 1, keys=keys, goods=MAX_KEYS) for each in range(2))) == 1
    others = (*keys[:-1], "urn:x:other")
    assert await cards(_read(0, 1, keys=keys, goods=MAX_KEYS), _read(1, 2, keys=others, goods=MAX_KEYS)) == 2


async def test_markup_in_what_rules_say_and_in_addresses_is_text() -> None:
    event = FlaggedEvent(
        "a" * 32, WORKS, 1, 1, PAYLOAD, (Finding(PAYLOAD, PAYLOAD, PAYLOAD),), (f"urn:x:{PAYLOAD}",), 9
    )
    world = MerchantWorld(flagged_events=[event])
    page = await get(world, "/merchant/flags")
    assert page.text.count("&lt;script&gt;") >= 4
    assert_harmless(page.text)
    for path in ("/merchant?q=", "/merchant/flags?rule=", "/merchant?after="):
        answer = await get(world, path + quote(PAYLOAD))
        assert answer.status_code == 200
        assert_harmless(answer.text)
    assert (await get(world, "/merchant/..%2f..%2fetc%2fpasswd")).status_code == 404


async def test_the_section_is_shown_to_who_acts_for_a_merchant_alone(world: MerchantWorld) -> None:
    assert 'href="/merchant"' in (await get(world, "/")).text
    for who in (SHOPPER, EVERYBODY, NOBODY):
        world.who = who
        assert 'href="/merchant"' not in (await get(world, "/")).text


def test_ranges_hold_what_claims_cover_and_nothing_twice() -> None:
    claims = Claims(prefixes=("7038011", "70380112"), uris=("urn:x:a",))
    ranges = key_ranges(claims)
    assert all(first < end for first, end in ranges)
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
    for key in (ITEM_KEY, LOT_KEY, canonical_key(CASE), "urn:x:a:b", "urn:x:a"):
        assert claims.cover(key)
        assert any(first <= key < end for first, end in ranges), key
        assert within(ranges, begin_range(key))
    assert not any(first <= FISH_KEY < end for first, end in ranges)
    assert key_ranges(Claims()) == []
    assert within(key_ranges(Claims(everything=True)), begin_range("urn:")) == [begin_range("urn:")]
