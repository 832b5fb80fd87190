"""What pages of merchants read from a real store: keys by their ranges, flagged events newest first, a merchant's people."""

from goodstrace.claims import Claims
from services.collector.flagged_store import FlaggedStore
from services.query.flagged_events import FlaggedEvents
from services.query.own_goods import GoodsKeys
from services.query.own_keys import begin_range, key_ranges
from services.runtime.merchants.flagged import Finding, FlaggedEvent
from services.runtime.mongo import Mongo

OWN, OTHER = Claims(prefixes=("7038011",)), Claims(prefixes=("7038010",))
PRODUCT = "https://id.gs1.org/01/07038011002013"
OURS = [
    "https://id.gs1.org/00/070380110000000418",
    PRODUCT,
    f"{PRODUCT}/10/L0412",
    *(f"{PRODUCT}/21/{number}" for number in range(1000, 1030)),
]
THEIRS = ["https://id.gs1.org/01/07038010001017", "https://id.gs1.org/01/07038110000010", "urn:x:ä"]


async def test_keys_are_found_by_ranges_and_no_others(mongo: Mongo) -> None:
    database = mongo.database
    states = [key for key in (*OURS, *THEIRS) if key != PRODUCT]
    await database["goods_states"].insert_many([{"_id": key, "rev": 1} for key in states])
    await database["goods"].insert_many(
        [{"_id": PRODUCT, "registered": {"merchant": 2}}, {"_id": OURS[2]}, {"_id": THEIRS[0]}]
    )
    keys = GoodsKeys(database)
    found: list[str] = []
    for each in key_ranges(OWN):
        after, end = each
        while page := await keys.there((after, end), 7):
            found += page
            after = page[-1] + "\0"
    assert found == OURS
    assert await keys.there(begin_range(f"{PRODUCT}/10/"), 9) == [OURS[2]]
    assert await keys.there(key_ranges(Claims(everything=True))[0], 99) == sorted((*OURS, *THEIRS))
    assert await keys.known([PRODUCT, OURS[2], "urn:x:none"]) == [PRODUCT, OURS[2]]
    assert await keys.products(2, 10) == [PRODUCT]
    assert await keys.products(1, 10) == []


async def test_flagged_events_come_newest_first_in_pages(mongo: Mongo) -> None:
    store = FlaggedStore(mongo.database)
    await store.prepare()
    events = [
        FlaggedEvent(
            f"{number:032x}",
            1 + number % 2,
            number // 6,
            number,
            "sale",
            (Finding("even" if number % 4 < 2 else "odd", "warning", "why"),),
            ("urn:x:a",),
            1,
        )
        for number in range(60)
    ]
    await store.add(events)
    await store.add(events)  # as after a crash
    reader = FlaggedEvents(mongo.database)
    for name in ("", "even", "none"):
        wanted = [
            each
            for each in sorted(events, key=lambda each: (each.record_ms, each.id), reverse=True)
            if each.merchant == 1 and (not name or each.findings[0].name == name)
        ]
        found: list[FlaggedEvent] = []
        before = None
        while page := await reader.page(1, name, before, 4):
            found += page
            before = page[-1].record_ms, page[-1].id
        assert found == wanted
