"""Who looked, on the page of the merchant whose goods they are: nothing of four, six as a number, and nobody by name."""

import asyncio
import datetime as dt
import re
from collections.abc import Callable
from typing import Any, Final

import httpx

from deploy.stack import Stack
from goodstrace.capture import Job
from goodstrace.identifiers import canonical_key
from goodstrace.registry import RegistryClient
from services.audit.figures.goods import CLOSE_AFTER_MS, VIEWERS, GoodsViewers
from services.runtime.goods_browses.days import start_ms
from services.runtime.goods_browses.store import GOODS_BROWSES
from services.runtime.mongo import Mongo, beside
from services.runtime.settings import MongoSettings
from tests.deadlines import DEADLINE_S
from tests.system.harness import System, eventually
from tests.unit.collector_builders import document, object_event

GOODS: Final = canonical_key("urn:epc:id:sgtin:9521237.054321.1")
FEW, ENOUGH = 4, 6
PASSWORD: Final = "leaves of a spring morning 27"
STAFF: Final = "coffee-staff"
SHOPPERS: Final = [f"who-looks-{number}" for number in range(ENOUGH)]


def _page(system: System, token: str, path: str, **query: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}", "Accept-Language": "en"}
    return httpx.get(f"{system.log_url}{path}", params=query or None, headers=headers, timeout=DEADLINE_S)


def _look(system: System, tokens: list[str], merchant: int, day: dt.date) -> None:
    """Let some look at the goods, wait until they are counted, and move them back to a day, since nobody waits for this one to end."""
    for token in tokens:
        page = eventually(
            lambda token=token: found if (found := _page(system, token, "/trace", key=GOODS)).status_code == 200 else None,
            what="the new password counts",
        )  # fmt: skip
        assert 'id="answers-title"' in page.text
    rows = system.store.client[f"{system.database_name}_vault"][VIEWERS]
    new = {"merchant": merchant, "day": {"$gte": dt.datetime.now(dt.UTC).date().isoformat()}}
    eventually(lambda: rows.count_documents(new) >= len(tokens), what="the looks are counted")
    found: list[dict[str, Any]] = list(rows.find(new))
    assert len(found) == len(tokens)
    rows.insert_many(
        [{**row, "_id": day.isoformat() + row["_id"][10:], "day": day.isoformat()} for row in found]
    )
    rows.delete_many({"_id": {"$in": [row["_id"] for row in found]}})


async def _close(system: System, since: dt.date, until: dt.date) -> None:
    """Begin to count with a day, and close the days until another as the audit service does when they are over."""
    system.store[GOODS_BROWSES].replace_one(
        {"_id": "counted"}, {"_id": "counted", "since": since.isoformat()}, upsert=True
    )
    mongo = Mongo(
        MongoSettings(uri=system.stack.mongodb_uri, database=system.database_name, timeout_ms=10_000)
    )
    viewers = GoodsViewers(mongo.database, beside(mongo.database, f"{system.database_name}_vault"))
    await viewers.close_days(start_ms(until + dt.timedelta(days=1)) + CLOSE_AFTER_MS)
    mongo.close()


def test_four_are_not_told_and_six_are_by_number_alone(stack: Stack, systems: Callable[..., System]) -> None:
    system = systems(stack, GOODSTRACE_ACCOUNTS="required").start()
    operator = system.operator_token_file.read_text().strip()
    with RegistryClient(system.capture_url, operator) as registry:
        merchant = int(registry.add({"name": "Coffee", "prefixes": ["9521237"]})["merchant"])
        system.api_key = str(registry.new_key(merchant)["apiKey"])
    with system.collector() as collector:
        made = object_event(epcList=[GOODS], action="ADD", bizStep="retail_selling", readPoint=None)
        taken = collector.send(document(made))
        assert isinstance(taken, Job), "\n".join(taken.lines())
        assert collector.wait(taken, deadline_s=DEADLINE_S).counts["accepted"] == 1
    tokens = [system.signed_in(name, f"{PASSWORD} {name}") for name in SHOPPERS]
    staff = system.signed_in(STAFF, f"{PASSWORD} {STAFF}", "merchant", merchant=merchant)
    today = dt.datetime.now(dt.UTC).date()
    of_few, of_enough = today - dt.timedelta(days=2), today - dt.timedelta(days=1)
    _look(system, tokens[:FEW], merchant, of_few)
    _look(system, tokens, merchant, of_enough)
    asyncio.run(_close(system, of_few, of_enough))

    page = _page(system, staff, "/merchant/looks")
    assert page.status_code == 200, page.text
    told = {row[0]: row[1:] for row in map(_cells, re.findall(r"<tr>(.*?)</tr>", page.text, re.DOTALL)[1:])}
    few = "fewer than 5, or not told"
    assert told[of_enough.isoformat()][0] == "6"
    assert set(told[of_few.isoformat()][:-1]) == {few}
    assert told[of_few.isoformat()][-1] == "–"
    assert not re.search(r">\s*4\s*<", page.text)
    assert not [name for name in SHOPPERS if name in page.text]
    assert _page(system, tokens[0], "/merchant/looks").status_code == 403


def _cells(row: str) -> list[str]:
    """The texts of a row of a table."""
    return [
        re.sub(r"<[^>]+>", "", cell).strip()
        for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)
    ]
