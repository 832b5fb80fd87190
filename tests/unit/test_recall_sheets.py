"""Recalls as spreadsheets: what the rows say, that nothing in them is a formula, and that large ones go on on another sheet."""

import csv
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from goodstrace import recall_sheet
from goodstrace.facts import Facts, Quantity, Role, Typed
from goodstrace.key_data import critical_event, description
from goodstrace.query.v1 import recall_pb2
from goodstrace.recall_sheet import write_csv, write_xlsx
from goodstrace.recall_spool import GOODS, KEY_DATA, RecallSpool
from goodstrace.recalls import RecalledEvent, RecallPiece
from goodstrace.registration import Registration

GTIN = "https://id.gs1.org/01/09521234543213"
LOT = f"{GTIN}/10/L1"
CASE = "https://id.gs1.org/00/095212340000000014"
PLACE = "https://id.gs1.org/414/9521234000006"


def event(name: str, time_us: int, **fields: Any) -> RecalledEvent:
    facts = Facts(name, f"ni:///{name}", fields.pop("type", "ObjectEvent"), time_us, "+00:00", "3", **fields)
    position = SimpleNamespace(log="goods/0", index=time_us, entry=SimpleNamespace(merchant=7))
    return RecalledEvent(SimpleNamespace(identity=name, facts=facts, position=position), ())  # type: ignore[arg-type]


def goods(number: int, key: str, grade: str, from_key: str = "", kind: str = "") -> recall_pb2.RecallGoods:
    return recall_pb2.RecallGoods(number=number, key=key, grade=grade, from_key=from_key, kind=kind)


def mention(identity: str, *numbers: int, container: str = "") -> recall_pb2.RecallMention:
    return recall_pb2.RecallMention(identity=identity, certain=numbers, container=container)


def piece(level: int, **what: Any) -> RecallPiece:
    empty: dict[str, Any] = dict.fromkeys(
        ("goods", "containers", "events", "mentions", "orders", "holders", "registrations"), ()
    )
    return RecallPiece(level=level, **{**empty, **what}, checkpoints={}, browse_id="ab")


@pytest.fixture
def spool() -> Any:
    with RecallSpool() as made:
        items = [f"{GTIN}/21/{number}" for number in range(3)]
        made.add(
            piece(
                0,
                goods=(goods(0, LOT, "lot"),),
                events=(
                    event(
                        "made",
                        1_000_000,
                        business_step="commissioning",
                        business_location=PLACE,
                        quantities={"lot": (Quantity(LOT, "3", "KGM"),)},
                    ),
                ),
                mentions=(mention("made", 0),),
                registrations=(
                    Registration("goods", GTIN, 1, {"names": {"de": "Kaese", "en": "=Cheese"}}),
                    Registration(
                        "place", PLACE, 1, {"names": {"de": "Molkerei"}, "city": "Bern", "country": "CH"}
                    ),
                ),
            )
        )
        shop = (Typed("urn:shop", "possessing_party"),)
        order = (Typed("urn:po:1", "po"),)
        made.add(
            piece(
                1,
                goods=tuple(goods(n + 1, key, "item", LOT, "serial-of-lot") for n, key in enumerate(items)),
                containers=(
                    recall_pb2.RecallContainer(key=CASE, grade="container", inner_key=items[0], from_us=5),
                ),
                events=(
                    event(
                        "shipped", 3_500_000, business_step="shipping", destinations=shop, transactions=order
                    ),
                    event("seen", 2_000_000, step="sale"),
                ),
                mentions=(mention("shipped", 1, 2, 3, container=CASE), mention("seen", 2)),
                orders=(recall_pb2.RecallOrder(key="urn:po:1", type="po", identity="shipped"),),
                holders=(recall_pb2.RecallHolder(key=PLACE, role="seen_at", identity="made"),),
            )
        )
        yield made


def test_a_row_for_each_event_and_lot_by_time(spool: RecallSpool, tmp_path: Path) -> None:
    path = tmp_path / "recall.csv"
    assert write_csv(path, spool) == 3
    made, seen, shipped = csv.DictReader(path.read_text().splitlines())
    assert tuple(made) == KEY_DATA
    assert (made["Event type"], made["Quantity"], made["Unit of measure"]) == ("initial packing", "3", "KGM")
    assert (made["Date"], made["Location description"]) == ("1970-01-01T00:00:01+00:00", "Molkerei, Bern, CH")
    assert (
        made["Traceability lot code"]
        == seen["Traceability lot code"]
        == shipped["Traceability lot code"]
        == LOT
    )
    assert (seen["Quantity"], seen["Recalled goods"]) == ("1", f"{GTIN}/21/1")
    assert (shipped["Event type"], shipped["Quantity"], shipped["Container"]) == ("shipping", "3", CASE)
    assert (shipped["Reference document type"], shipped["Reference document number"]) == ("po", "urn:po:1")
    assert shipped["Ship to"] == "possessing_party urn:shop"
    assert (shipped["Recalled goods"], shipped["Certainty"], shipped["Merchant"]) == ("", "certain", "7")


def test_a_lot_that_is_reworked_is_used_and_made_each_with_its_amount(tmp_path: Path) -> None:
    quantities = {Role.INPUT: (Quantity(LOT, "5", "KGM"),), Role.OUTPUT: (Quantity(LOT, "10", "KGM"),)}
    keys = {Role.INPUT: (LOT,), Role.OUTPUT: (LOT,)}
    rework = event("rework", 1, type="TransformationEvent", quantities=quantities, keys=keys)
    with RecallSpool() as spool:
        spool.add(piece(0, goods=(goods(0, LOT, "lot"),), events=(rework,), mentions=(mention("rework", 0),)))
        write_csv(tmp_path / "recall.csv", spool)
    rows = csv.DictReader((tmp_path / "recall.csv").read_text().splitlines())
    assert sorted((row["Used or made"], row["Quantity"]) for row in rows) == [("made", "10"), ("used", "5")]


@pytest.mark.parametrize("letter", ["x", "\U0001f41f"])
def test_what_no_cell_takes_is_cut_with_a_mark_and_told(tmp_path: Path, letter: str) -> None:
    text = letter * 40_000
    orders = (recall_pb2.RecallOrder(key=text, type="po", identity="seen"),)
    told: list[int] = []
    with RecallSpool() as spool:
        spool.add(piece(0, events=(event("seen", 1),), orders=orders))
        write_xlsx(tmp_path / "recall.xlsx", spool, told.append)
    assert told == [1]
    with zipfile.ZipFile(tmp_path / "recall.xlsx") as book:
        written = cells(book, 4)[1][0]
    assert written.startswith(letter * 10_000)
    assert written.endswith(recall_sheet.CUT)
    assert len(written.encode("utf-16-le")) // 2 <= recall_sheet.MAX_CHARS


def test_what_looks_like_a_formula_is_none(spool: RecallSpool, tmp_path: Path) -> None:
    write_csv(tmp_path / "recall.csv", spool)
    assert {
        row["Product description"]
        for row in csv.DictReader((tmp_path / "recall.csv").read_text().splitlines())
    } == {"'=Cheese"}
    write_xlsx(tmp_path / "recall.xlsx", spool)
    with zipfile.ZipFile(tmp_path / "recall.xlsx") as book:
        sheets = [name for name in book.namelist() if name.startswith("xl/worksheets/sheet")]
        assert len(sheets) == 5
        assert not any(b"<f>" in book.read(name) for name in sheets)
        assert b"=Cheese" in book.read("xl/worksheets/sheet1.xml")


def cells(book: zipfile.ZipFile, sheet: int) -> list[list[str]]:
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    root = ET.fromstring(book.read(f"xl/worksheets/sheet{sheet}.xml"))
    return [["".join(cell.itertext()) for cell in row.iter(f"{space}c")] for row in root.iter(f"{space}row")]


def test_a_workbook_has_sheets_of_goods_containers_orders_and_holders(
    spool: RecallSpool, tmp_path: Path
) -> None:
    assert write_xlsx(tmp_path / "recall.xlsx", spool) == 3
    with zipfile.ZipFile(tmp_path / "recall.xlsx") as book:
        names = book.read("xl/workbook.xml").decode()
        assert all(
            f'name="{each}"' in names for each in ("Key data", "Goods", "Containers", "Orders", "Holders")
        )
        header, first, *others = cells(book, 2)
        assert tuple(header) == GOODS
        assert first[0] == LOT
        assert len(others) == 3
        assert cells(book, 3)[1][:3] == [CASE, "container", f"{GTIN}/21/0"]
        assert cells(book, 4)[1][:2] == ["urn:po:1", "po"]
        assert cells(book, 5)[1][1] == "Molkerei, Bern, CH"
        days = float(cells(book, 1)[1][KEY_DATA.index("Date")])
        assert days == pytest.approx(25569 + 1 / 86400)


def test_more_rows_than_a_sheet_takes_go_on_on_another(
    spool: RecallSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall_sheet, "MAX_ROWS", 3)
    assert write_xlsx(tmp_path / "recall.xlsx", spool) == 3
    with zipfile.ZipFile(tmp_path / "recall.xlsx") as book:
        assert 'name="Key data 2"' in book.read("xl/workbook.xml").decode()
        assert [len(cells(book, number)) for number in (1, 2)] == [3, 2]


def test_critical_events_and_descriptions() -> None:
    made = Facts("e", "h", "TransformationEvent", 1, "+00:00", "3")
    assert critical_event(made) == "transformation"
    assert (
        critical_event(Facts("e", "h", "ObjectEvent", 1, "+00:00", "3", business_step="loading")) == "loading"
    )
    assert description(Registration("place", "x", 1, {})) == ""
