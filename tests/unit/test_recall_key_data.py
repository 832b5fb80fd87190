"""FSMA 204 sheets end to end: events through the collector's stages, recalled with proofs, and read out of CSV and XLSX again."""

import csv
import io
import zipfile
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import key_data
from goodstrace.facts import Correction, Facts, Typed
from goodstrace.identifiers import canonical_key
from goodstrace.key_data import Assigned
from goodstrace.recall_spool import KEY_DATA, RecallSpool
from goodstrace.registration import Registration
from tests.merchant_world import MerchantWorld
from tests.unit.test_recall_sheets import GTIN, LOT, PLACE, event, goods, mention, piece
from tests.unit.test_web_pages import get
from tests.web_world import CASE, FARM, FISH, FISH_KEY, LOT_KEY, SHOP, WORKS, party, place

SALMON_LOT = LOT_KEY
ITEMS = [f"urn:epc:id:sgtin:7038011.000201.{number}" for number in (1001, 1002)]
FISH_QUANTITY = [{"epcClass": FISH, "quantity": 120, "uom": "KGM"}]
DOCUMENTS = [
    {"type": "po", "bizTransaction": "urn:epcglobal:cbv:bt:7038011000009:PO-7"},
    {"type": "desadv", "bizTransaction": "urn:epcglobal:cbv:bt:7038010000002:ASN-7"},
]
FARM_IS, WORKS_IS, SHOP_IS = (
    "Lofoten sea farm, Svolvær, NO, 68.23 14.57",
    "Bodø filleting works, Bodø, NO, 67.28 14.4",
    "West Lake fresh market, Hangzhou, CN, 30.25 120.13",
)
FARM_KEY, WORKS_KEY = (canonical_key(place(each)) for each in (FARM, WORKS))


def happened(
    number: int, hour: int, kind: str, step: str, at: int, **more: Any
) -> tuple[int, dict[str, Any]]:
    """What happened at a merchant's place, and who says so; the offset is that of the place."""
    offset = "+08:00" if at == SHOP else "+02:00"
    return at, {
        "type": kind,
        "eventID": f"urn:uuid:00000000-0000-4000-8000-{number:012d}",
        "eventTime": f"2026-04-12T{hour:02d}:30:00Z",
        "eventTimeZoneOffset": offset,
        "bizStep": step,
        "bizLocation": {"id": place(at)},
        **more,
    }


CHAIN = [
    happened(1, 4, "ObjectEvent", "commissioning", FARM, action="ADD", quantityList=FISH_QUANTITY),
    happened(
        2,
        6,
        "ObjectEvent",
        "shipping",
        FARM,
        action="OBSERVE",
        quantityList=FISH_QUANTITY,
        bizTransactionList=DOCUMENTS,
        sourceList=[{"type": "location", "source": place(FARM)}],
        destinationList=[
            {"type": "possessing_party", "destination": party(WORKS)},
            {"type": "location", "destination": place(WORKS)},
        ],
    ),
    happened(3, 9, "ObjectEvent", "receiving", WORKS, action="OBSERVE", quantityList=FISH_QUANTITY),
    happened(
        4,
        11,
        "TransformationEvent",
        "commissioning",
        WORKS,
        inputQuantityList=FISH_QUANTITY,
        outputEPCList=ITEMS,
        ilmd={"cbvmda:lotNumber": "L0412"},
    ),
    happened(5, 12, "AggregationEvent", "packing", WORKS, parentID=CASE, childEPCs=ITEMS, action="ADD"),
    happened(6, 13, "ObjectEvent", "shipping", WORKS, action="OBSERVE", epcList=[CASE]),
    happened(7, 23, "ObjectEvent", "receiving", SHOP, action="OBSERVE", epcList=[CASE]),
]
COLUMNS = (
    "Event type",
    "Traceability lot code",
    "Traceability lot code source",
    "Traceability lot code source reference",
    "Product description",
    "Quantity",
    "Unit of measure",
    "Used or made",
    "Local date",
    "Location description",
    "Ship from description",
    "Ship to description",
    "Reference document type",
)
SALMON = (FISH_KEY, FARM_IS, FARM_KEY, "Whole salmon", "120", "KGM")
FILLETS = (SALMON_LOT, WORKS_IS, WORKS_KEY, "Arctic salmon fillet, 250 g", "2", "H87")
EXPECTED = [
    ("initial packing", *SALMON, "", "2026-04-12", FARM_IS, "", "", ""),
    ("shipping", *SALMON, "", "2026-04-12", FARM_IS, FARM_IS, WORKS_IS, "po; desadv"),
    ("receiving", *SALMON, "", "2026-04-12", WORKS_IS, "", WORKS_IS, ""),
    ("transformation", *SALMON, "used", "2026-04-12", WORKS_IS, "", "", ""),
    ("transformation", *FILLETS, "made", "2026-04-12", WORKS_IS, "", "", ""),
    ("packing", *FILLETS, "", "2026-04-12", WORKS_IS, "", "", ""),
    ("shipping", *FILLETS, "", "2026-04-12", WORKS_IS, WORKS_IS, "", ""),
    ("receiving", *FILLETS, "", "2026-04-13", SHOP_IS, "", SHOP_IS, ""),
]
"""Rows by time; at one time by event, lot and product."""


async def sheet(kind: str, events: Sequence[tuple[int, dict[str, Any]]] = CHAIN) -> bytes:
    answer = await get(MerchantWorld(events), f"/merchant/recall.{kind}?key={quote(FISH_KEY, safe='')}")
    assert answer.status_code == 200, answer.text
    return answer.content


def in_csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def in_workbook(content: bytes) -> list[dict[str, str]]:
    """Rows of the first sheet by the header; a cell without a value is not in the file."""
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        root = ET.fromstring(book.read("xl/worksheets/sheet1.xml"))
    rows = [
        {(cell.get("r") or "").rstrip("0123456789"): "".join(cell.itertext()) for cell in row}
        for row in root.findall(".//{*}row")
    ]
    header, *others = rows
    return [{name: row.get(column, "") for column, name in header.items()} for row in others]


async def test_every_key_data_element_of_a_chain_is_in_the_csv() -> None:
    rows = in_csv(await sheet("csv"))
    assert list(rows[0]) == list(KEY_DATA)
    assert [tuple(row[name] for name in COLUMNS) for row in rows] == EXPECTED
    assert [row["Date"] for row in rows] == sorted(row["Date"] for row in rows)
    assert rows[1]["Reference document number"] == "; ".join(each["bizTransaction"] for each in DOCUMENTS)
    assert rows[1]["Ship to"] == f"possessing_party {canonical_key(party(WORKS))}; location {WORKS_KEY}"
    assert {row["Container"] for row in rows[-2:]} == {canonical_key(CASE)}


async def test_and_in_the_workbook_with_quantities_as_numbers() -> None:
    content = await sheet("xlsx")
    rows = in_workbook(content)
    assert [tuple(row[name] for name in COLUMNS) for row in rows] == EXPECTED
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        # A text would have t="inlineStr".
        assert b"<v>120</v>" in book.read("xl/worksheets/sheet1.xml")


async def test_what_is_taken_back_says_nothing_of_lots() -> None:
    merchant, transformation = CHAIN[3]
    correcting = {**transformation, "errorDeclaration": {"declarationTime": "2026-04-13T00:00:00Z"}}
    rows = in_csv(await sheet("csv", [*CHAIN, (merchant, correcting)]))
    assert {row["Traceability lot code"] for row in rows} == {FISH_KEY}
    assert {row["Traceability lot code source"] for row in rows} == {FARM_IS}


def test_an_item_of_two_lots_has_a_row_for_each() -> None:
    item, other = f"{GTIN}/21/1", f"{GTIN}/10/L2"
    with RecallSpool() as spool:
        says_other = event("seen", 2, business_step="receiving", keys={"epc": (item,)}, lot_of={item: other})
        spool.add(piece(0, goods=(goods(0, LOT, "lot"),)))
        spool.add(
            piece(
                1,
                goods=(goods(1, item, "item", LOT, "serial-of-lot"),),
                events=(says_other,),
                mentions=(mention("seen", 1),),
            )
        )
        at = KEY_DATA.index("Traceability lot code")
        assert [row[at] for row in spool.key_data()] == [LOT, other]
        assert [row[3] for row in spool.goods()] == [LOT, f"{LOT}; {other}"]


def test_an_event_withheld_has_a_row_that_says_so() -> None:
    hidden = event("hidden", 1)
    hidden.event.facts = None  # type: ignore[misc]
    with RecallSpool() as spool:
        spool.add(piece(0, goods=(goods(0, LOT, "lot"),), events=(hidden,), mentions=(mention("hidden", 0),)))
        [row] = [dict(zip(KEY_DATA, each, strict=True)) for each in spool.key_data()]
    assert (row["Event type"], row["Traceability lot code"], row["Log"]) == ("withheld", LOT, "goods/0")
    assert not any(row[name] for name in ("Date", "Local date", "Location", "Ship to", "Event ID"))


def _fact(**more: Any) -> Facts:
    return Facts(
        "e", "h", **{"type": "ObjectEvent", "time_us": 0, "offset": "+00:00", "pipeline": "3", **more}
    )


def test_a_lot_code_is_assigned_where_the_rule_says_and_else_where_a_lot_is_added() -> None:
    item = f"{GTIN}/21/1"
    named: dict[str, Any] = {"keys": {"lot": (LOT,)}, "action": "ADD"}
    assert list(key_data.assigned_lots(_fact(**named, business_step="commissioning"))) == [
        Assigned(LOT, True)
    ]
    assert list(key_data.assigned_lots(_fact(**named, business_step="farmHarvest"))) == [Assigned(LOT, False)]
    assert list(key_data.assigned_lots(_fact(**{**named, "action": "OBSERVE"}))) == []
    landing = _fact(business_step="urn:gdst:bizStep:landing", action="OBSERVE", keys={"lot": (LOT,)})
    assert key_data.critical_event(landing) == "first land-based receiving"
    assert list(key_data.assigned_lots(landing)) == [Assigned(LOT, True)]
    made = _fact(
        type="TransformationEvent", keys={"input": (f"{GTIN}/10/IN",), "output": (item,)}, lot_of={item: LOT}
    )
    assert list(key_data.assigned_lots(made)) == [Assigned(LOT, True)]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("urn:gdst:bizStep:landing", "first land-based receiving"),
        ("https://example.org/steps/BizStep-receiving", "receiving"),
        ("https://example.org/steps#shipping", "shipping"),
        ("https://example.org/steps/BizStep-de-commissioning", ""),
        ("urn:acme:step:de-commissioning", ""),
        ("urn:acme:step:pre-cooling", ""),
        ("urn:acme:step:return-receiving", ""),
        ("cooling-", ""),
    ],
)
def test_a_step_of_another_vocabulary_counts_by_its_last_word_and_not_by_a_part_of_it(
    step: str, told: str
) -> None:
    facts = _fact(business_step=step, action="ADD", keys={"lot": (LOT,)})
    assert key_data.critical_event(facts) == (told or step)
    assert list(key_data.assigned_lots(facts)) == [Assigned(LOT, told == "first land-based receiving")]


@given(
    st.sampled_from(sorted(key_data._CRITICAL)),
    st.text("abc-_", min_size=1, max_size=5),
    st.sampled_from(":/#"),
)
def test_what_only_ends_in_a_step_of_the_rule_is_none(word: str, before: str, joint: str) -> None:
    step = f"urn:acme{joint}{before}-{word}"
    assert key_data.critical_event(_fact(business_step=step)) == step


ASSIGNING = st.builds(
    lambda number, time_us, step, at, is_corrected: event(
        f"event-{number}",
        time_us,
        action="ADD",
        business_step=step,
        business_location=at,
        keys={"lot": (LOT,)},
        correction=Correction("d", 1) if is_corrected else None,
    ),
    st.integers(0, 9),
    st.integers(0, 3),
    st.sampled_from(("commissioning", "harvesting", "")),
    st.sampled_from((PLACE, "urn:other", "")),
    st.booleans(),
)


@given(st.lists(ASSIGNING, unique_by=lambda each: each.event.identity), st.randoms())
def test_the_source_of_a_lot_code_does_not_depend_on_the_order_in_which_events_come(
    events: list[Any], rng: Any
) -> None:
    live = [
        each.event.facts
        for each in events
        if each.event.facts.correction is None and each.event.facts.business_location
    ]
    first = min(
        live,
        key=lambda facts: (facts.business_step != "commissioning", facts.time_us, facts.event_id),
        default=None,
    )
    shuffled = list(events)
    rng.shuffle(shuffled)
    with RecallSpool() as spool:
        spool.add(
            piece(
                0,
                goods=(goods(0, LOT, "lot"),),
                events=tuple(shuffled),
                mentions=tuple(mention(each.event.identity, 0) for each in shuffled),
            )
        )
        told = {row[KEY_DATA.index("Traceability lot code source reference")] for row in spool.key_data()}
    assert told == ({first.business_location if first else ""} if events else set())


def test_where_it_comes_from_and_goes_to() -> None:
    listed = (Typed("urn:owner", "owning_party"), Typed("urn:site", "location"))
    assert key_data.ship_from(_fact(sources=listed)) == "urn:site"
    assert key_data.ship_to(_fact(destinations=listed[:1])) == "urn:owner"
    at: dict[str, Any] = {"read_point": "urn:dock", "business_location": "urn:hall"}
    assert key_data.ship_from(_fact(business_step="shipping", **at)) == "urn:dock"
    assert key_data.ship_to(_fact(business_step="receiving", **at)) == "urn:hall"
    assert key_data.ship_from(_fact(business_step="storing", **at)) == key_data.ship_to(_fact(**at)) == ""


@pytest.mark.parametrize(
    ("time_us", "offset", "date"),
    [
        (0, "+00:00", "1970-01-01"),
        (0, "-05:00", "1969-12-31"),
        (79_200_000_000, "+05:30", "1970-01-02"),
        (10**18, "+00:00", ""),
        (0, "nonsense", "1970-01-01"),
    ],
)
def test_a_date_is_that_of_the_place(time_us: int, offset: str, date: str) -> None:
    assert key_data.local_date(_fact(time_us=time_us, offset=offset)) == date


def test_a_location_description_has_the_address_or_else_the_coordinates() -> None:
    content: dict[str, Any] = {
        "names": {"en": "Dairy"},
        "street": "Milk Road 1",
        "postalCode": "30001",
        "city": "Atlanta",
        "region": "GA",
        "country": "US",
        "coordinates": {"latitude": 33.7, "longitude": -84.4},
    }
    told = Registration("place", PLACE, 1, content)
    assert key_data.description(told) == "Dairy, Milk Road 1, Atlanta, GA, 30001, US"
    del content["street"]
    assert key_data.description(told) == "Dairy, Atlanta, GA, 30001, US, 33.7 -84.4"
