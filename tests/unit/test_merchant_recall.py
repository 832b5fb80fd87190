"""Recalls on the web, in memory: shown as they are found, given away as sheets, recorded first, and never cut short unsaid."""

import csv
import io
import re
import zipfile
from typing import Any
from urllib.parse import quote

import pytest

from services.query.web.merchant.recalling import sizes_of, sizes_text
from services.runtime.access.values import NOBODY
from services.runtime.call_errors import InvalidRequestError
from services.runtime.errors import UnavailableError
from tests.merchant_world import MerchantWorld
from tests.unit.test_web_pages import PAYLOAD, assert_harmless, get
from tests.web_world import EVENTS, FISH_KEY, ITEM_PATH, LOT_KEY, RECALL, SHOPPER

PATH = f"/merchant/recall?key={quote(FISH_KEY, safe='')}"


@pytest.fixture
def world() -> MerchantWorld:
    return MerchantWorld([*EVENTS, RECALL])


async def test_all_that_a_lot_went_into_is_listed_and_the_look_is_recorded_once(world: MerchantWorld) -> None:
    answer = await get(world, PATH)
    assert answer.status_code == 200, answer.text
    for text in ("Level reached", ITEM_PATH, "West Lake fresh market", "PO-20260412", "Pudong cold store"):
        assert text in answer.text, text
    assert answer.text.rstrip().endswith("</html>")
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src" in answer.headers["content-security-policy"]
    [browse] = world.browses
    assert (browse.method, browse.keys, browse.purpose) == ("Recall", (FISH_KEY,), "recall page")
    assert_harmless(answer.text)


async def test_sheets_hold_the_same_as_of_then(world: MerchantWorld) -> None:
    page = (await get(world, PATH)).text
    [table] = re.findall(r'href="(/merchant/recall\.csv[^"]+)"', page)
    [book] = re.findall(r'href="(/merchant/recall\.xlsx[^"]+)"', page)
    assert "as_of=goods%2F0%3A" in table
    answer = await get(world, table.replace("&amp;", "&"))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="recall.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {"shipping", "receiving", "transformation"} <= {row["Event type"] for row in rows}
    answer = await get(world, book.replace("&amp;", "&"))
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert "xl/worksheets/sheet5.xml" in found.namelist()
    assert [each.purpose for each in world.browses] == ["recall page", "recall as csv", "recall as xlsx"]


async def test_what_cannot_be_recorded_is_not_recalled(world: MerchantWorld) -> None:
    world.kafka_is_away = True
    for path in (PATH, PATH.replace("recall?", "recall.csv?"), PATH.replace("recall?", "recall.xlsx?")):
        answer = await get(world, path)
        assert answer.status_code == 503
        assert "default-src" in answer.headers["content-security-policy"]
        assert "attachment" not in answer.headers.get("content-disposition", "")
        assert "Bod" not in answer.text


async def test_a_recall_that_breaks_off_says_so(world: MerchantWorld) -> None:
    whole = world.recalling

    class Broken:
        async def Recall(self, request: Any, context: Any) -> None:  # noqa: N802
            class Cut:
                sent = 0

                def invocation_metadata(self) -> tuple[Any, ...]:
                    return ()

                async def write(self, message: Any) -> None:
                    if self.sent == 2:
                        raise UnavailableError("the store is away")
                    self.sent += 1
                    await context.write(message)

            await whole.Recall(request, Cut())

    world.recalling = Broken()
    answer = await get(world, PATH)
    assert answer.status_code == 200
    assert "broke off before its end" in answer.text
    assert "recall.csv" not in answer.text
    assert answer.text.rstrip().endswith("</html>")
    assert (await get(world, PATH.replace("recall?", "recall.csv?"))).status_code == 503


async def test_one_whose_proofs_do_not_hold_is_not_shown_as_whole(world: MerchantWorld) -> None:
    whole = world.recalling

    class Lying:
        async def Recall(self, request: Any, context: Any) -> None:  # noqa: N802
            class Changed:
                def invocation_metadata(self) -> tuple[Any, ...]:
                    return ()

                async def write(self, message: Any) -> None:
                    for each in message.events:
                        each.sealed.index += 1
                    await context.write(message)

            await whole.Recall(request, Changed())

    world.recalling = Lying()
    assert "broke off" in (await get(world, PATH)).text


async def test_a_lot_is_chosen_by_its_number(world: MerchantWorld) -> None:
    page = (await get(world, "/merchant/recall?key=L0412")).text
    assert f"/merchant/recall?key={quote(LOT_KEY, safe='/')}" in page
    assert [each.method for each in world.browses] == ["ListGoods"]
    assert "None of your goods" in (await get(world, "/merchant/recall?key=F0412")).text
    assert (await get(world, "/merchant/recall")).status_code == 200
    assert_harmless((await get(world, f"/merchant/recall?key={quote(PAYLOAD)}")).text)
    assert_harmless((await get(world, f"/merchant/recall?key=urn:x:{quote(PAYLOAD)}")).text)


async def test_who_may_not_gets_nothing_and_wrong_questions_are_refused(world: MerchantWorld) -> None:
    for wrong in ("&as_of=goods/0", "&as_of=goods/0:1,goods/0:1", "&as_of=browse/0:1", "&as_of=goods/0:9e9"):
        status = (await get(world, PATH.replace("recall?", "recall.csv?") + wrong)).status_code
        assert status in (400, 404), wrong
    assert (await get(world, "/merchant/recall.csv")).status_code == 400
    assert (await get(world, f"/merchant/recall?key={'9' * 3000}")).status_code == 400
    for who, status in ((NOBODY, 401), (SHOPPER, 403)):
        world.who = who
        for path in (PATH, PATH.replace("recall?", "recall.xlsx?")):
            assert (await get(world, path)).status_code == status


def test_sizes_are_written_and_read() -> None:
    assert sizes_of(sizes_text({"goods/1": 7, "goods/0": 12})) == {"goods/0": 12, "goods/1": 7}
    assert sizes_of("") == {}
    for wrong in ("x", "goods/0:", "goods/0:-1", f"{'x' * 99}:1", "a:1,a:2", f"a:{'9' * 30}"):
        with pytest.raises(InvalidRequestError):
            sizes_of(wrong)
