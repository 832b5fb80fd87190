"""A recall kept on disk while it comes, and read back as the rows of a spreadsheet: memory does not grow with it.

The rows carry the key data elements of the FDA's food traceability rule (21 CFR part 1, subpart S, "FSMA 204"): one row for each event
and traceability lot, with how much of it the event concerned.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from goodstrace.closing import Closing
from goodstrace.facts import Facts
from goodstrace.identifiers import Grade, class_of, grade
from goodstrace.query.v1 import recall_pb2
from goodstrace.recalls import RecalledEvent, RecallPiece
from goodstrace.registration import Registration
from goodstrace.withheld import Withheld

_SCHEMA: Final = """
create table goods (number integer primary key, key text, grade text, level integer, from_key text, kind text, possible integer,
  lot text, product text);
create table events (id integer primary key, identity text unique, time_us integer, type text, step text, disposition text, place text,
  ship_from text, ship_to text, documents text, marks text, event_id text, merchant integer, log text, place_index integer);
create table mentions (event integer, number integer, container text, possible integer);
create table amounts (event integer, key text, quantity text, unit text);
create table containers (key text, grade text, inner_key text, from_us integer, until_us integer);
create table orders (key text, type text, event integer);
create table holders (key text, role text, event integer);
create table names (key text primary key, name text);
create table withheld (log text, place_index integer, merchant integer, record_id text, time_us integer, kind text, name text);
"""
_EACH: Final = "H87"  # UN/CEFACT Recommendation 20: piece


class RecallSpool(Closing):
    """The pieces of one recall in a database file of its own, which is removed at the end."""

    def __init__(self) -> None:
        """Open an empty one."""
        self._folder = tempfile.TemporaryDirectory(prefix="goodstrace-recall-")
        self._database = sqlite3.connect(Path(self._folder.name) / "recall.sqlite")
        self._database.executescript("pragma journal_mode=off; pragma synchronous=off;" + _SCHEMA)

    def close(self) -> None:
        """Remove the file."""
        self._database.close()
        self._folder.cleanup()

    # ---- in

    def add(self, piece: RecallPiece) -> None:
        """Keep a piece."""
        self._many("goods", (_goods_row(piece.level, each) for each in piece.goods))
        for each in piece.events:
            self._add_event(each)
        for mention in piece.mentions:
            self._add_mention(mention)
        self._many(
            "containers",
            (
                (each.key, each.grade, each.inner_key, each.from_us, each.until_us)
                for each in piece.containers
            ),
        )
        self._many("orders", ((each.key, each.type, self._event(each.identity)) for each in piece.orders))
        self._many("holders", ((each.key, each.role, self._event(each.identity)) for each in piece.holders))
        for told in piece.registrations:
            self._database.execute("insert or ignore into names values (?, ?)", (told.key, description(told)))
        self._many("withheld", map(_withheld_row, piece.withheld_entries))

    def _many(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        listed = list(rows)
        if listed:
            marks = ", ".join("?" * len(listed[0]))
            self._database.executemany(f"insert into {table} values ({marks})", listed)  # noqa: S608 - names of ours

    def _add_event(self, recalled: RecalledEvent) -> None:
        cursor = self._database.execute(
            f"insert into events values (null{', ?' * 14})",  # noqa: S608 - nothing but places for values
            _event_row(recalled),
        )
        facts = recalled.event.facts
        for listed in (facts.quantities if facts else {}).values():
            self._many(
                "amounts",
                ((cursor.lastrowid, each.key, each.quantity, each.unit or _EACH) for each in listed),
            )

    def _add_mention(self, mention: recall_pb2.RecallMention) -> None:
        event = self._event(mention.identity)
        self._many("mentions", ((event, number, mention.container, 0) for number in mention.certain))
        self._many("mentions", ((event, number, mention.container, 1) for number in mention.possible))

    def _event(self, identity: str) -> int:
        found = self._database.execute("select id from events where identity = ?", (identity,)).fetchone()
        return int(found[0])

    # ---- out

    def key_data(self) -> Iterator[tuple[Any, ...]]:
        """Yield a row for each event, traceability lot, product and container, by time; the columns are KEY_DATA."""
        self._database.execute("create index if not exists mentions_by_event on mentions (event)")
        return self._database.execute(_KEY_DATA_QUERY)

    def goods(self) -> Iterator[tuple[Any, ...]]:
        """Yield the goods by number; the columns are GOODS."""
        return self._database.execute(_GOODS_QUERY)

    def containers(self) -> Iterator[tuple[Any, ...]]:
        """Yield the containers; the columns are CONTAINERS."""
        return self._database.execute(
            "select key, grade, inner_key, from_us, until_us from containers order by key"
        )

    def orders(self) -> Iterator[tuple[Any, ...]]:
        """Yield the orders; the columns are ORDERS."""
        return self._database.execute(
            "select orders.key, orders.type, time_us, event_id from orders join events on events.id = event order by 1"
        )

    def holders(self) -> Iterator[tuple[Any, ...]]:
        """Yield who had the goods and where they were; the columns are HOLDERS."""
        return self._database.execute(
            "select holders.key, coalesce(names.name, ''), role, time_us, event_id from holders"
            " join events on events.id = event left join names on names.key = holders.key order by 1, 3"
        )

    def has_withheld(self) -> bool:
        """Tell whether anything is withheld."""
        return self._database.execute("select 1 from withheld limit 1").fetchone() is not None

    def withheld(self) -> Iterator[tuple[Any, ...]]:
        """Yield what is withheld by log and index; the columns are WITHHELD."""
        return self._database.execute("select * from withheld order by log, place_index")


KEY_DATA: Final = (
    "Event type",
    "Traceability lot code",
    "Product description",
    "Product",
    "Quantity",
    "Unit of measure",
    "Date",
    "Location description",
    "Location",
    "Ship from",
    "Ship to",
    "Reference documents",
    "Container",
    "Recalled goods",
    "Level",
    "Certainty",
    "Marks",
    "Event ID",
    "Merchant",
    "Log",
    "Index",
)
GOODS: Final = (
    "Key",
    "Kind",
    "Level",
    "Traceability lot code",
    "Product description",
    "Met from",
    "Link",
    "Certainty",
)
CONTAINERS: Final = ("Container", "Kind", "Held", "Since", "Until")
ORDERS: Final = ("Document", "Type", "Date", "Event ID")
HOLDERS: Final = ("Who or where", "Description", "Role", "First at", "Event ID")
WITHHELD: Final = ("Log", "Index", "Merchant", "Record ID", "Recorded", "Found by", "Name")

_KEY_DATA_QUERY: Final = """
select events.type, goods.lot, coalesce(product_name.name, ''), goods.product,
  case when goods.grade in ('lot', 'class') then coalesce(amounts.quantity, '') else cast(count(*) as text) end,
  case when goods.grade in ('lot', 'class') then coalesce(amounts.unit, '') else 'H87' end,
  events.time_us, coalesce(place_name.name, ''), events.place, events.ship_from, events.ship_to, events.documents,
  mentions.container, case when count(*) = 1 then min(goods.key) else '' end, min(goods.level),
  case when min(mentions.possible or goods.possible) then 'possible' else 'certain' end,
  events.marks, events.event_id, events.merchant, events.log, events.place_index
from mentions join goods on goods.number = mentions.number join events on events.id = mentions.event
  left join amounts on amounts.event = events.id and amounts.key = goods.key
  left join names product_name on product_name.key = goods.product
  left join names place_name on place_name.key = events.place
group by events.id, goods.lot, goods.product, goods.grade, mentions.container, amounts.rowid
order by events.time_us, events.id, goods.lot, goods.product
"""
_GOODS_QUERY: Final = """
select goods.key, grade, level, lot, coalesce(names.name, ''), from_key, kind,
  case when possible then 'possible' else 'certain' end
from goods left join names on names.key = goods.product order by number
"""


def description(told: Registration) -> str:
    """Give the name of registered goods or a place, in English where there is that, and where a place is."""
    names: Mapping[str, str] = told.content.get("names", {})
    name = names.get("en") or next((names[each] for each in sorted(names)), "")
    where = [
        str(told.content[each]) for each in ("street", "city", "region", "country") if told.content.get(each)
    ]
    return ", ".join(filter(None, (name, *where)))


def _goods_row(level: int, each: recall_pb2.RecallGoods) -> tuple[Any, ...]:
    is_lot = each.grade == Grade.LOT
    lot = each.key if is_lot else each.from_key if each.kind == "serial-of-lot" else ""
    product = each.key if grade(each.key) is Grade.CLASS else class_of(each.key) or ""
    return (each.number, each.key, each.grade, level, each.from_key, each.kind, each.possible, lot, product)


def _event_row(recalled: RecalledEvent) -> tuple[Any, ...]:
    event = recalled.event
    place = (event.position.entry.merchant, event.position.log, event.position.index)
    facts = event.facts
    if facts is None:
        return (event.identity, 0, "withheld", "", "", "", "", "", "", " ".join(recalled.marks), "", *place)
    return (
        event.identity,
        facts.time_us,
        critical_event(facts),
        facts.step,
        facts.disposition,
        facts.business_location or facts.read_point,
        _listed(facts.sources),
        _listed(facts.destinations),
        _listed(facts.transactions),
        " ".join(recalled.marks),
        facts.event_id,
        *place,
    )


def _withheld_row(withheld: Withheld) -> tuple[Any, ...]:
    entry = withheld.entry.entry
    return (*withheld.place, entry.merchant, entry.id, entry.time * 1_000, withheld.kind.value, withheld.name)


def critical_event(facts: Facts) -> str:
    """Name the critical tracking event of FSMA 204 that an event is, or else what it is in the words of EPCIS."""
    if facts.type == "TransformationEvent":
        return "transformation"
    return _CRITICAL.get(facts.business_step, facts.business_step or facts.type)


_CRITICAL: Final = {
    "harvesting": "harvesting",
    "cooling": "cooling",
    "commissioning": "initial packing",
    "shipping": "shipping",
    "departing": "shipping",
    "receiving": "receiving",
    "arriving": "receiving",
    "accepting": "receiving",
    "landing": "first land-based receiving",
}


def _listed(typed: Iterable[Any]) -> str:
    return "; ".join(f"{each.type} {each.key}".strip() for each in typed)
