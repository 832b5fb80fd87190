"""A recall kept on disk while it comes, and read back as the rows of a spreadsheet: memory does not grow with it.

The rows carry the key data elements of the FDA's food traceability rule (21 CFR part 1, subpart S, "FSMA 204"): one row for each event
and traceability lot, with how much of it the event concerned.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from goodstrace import key_data
from goodstrace.closing import Closing
from goodstrace.facts import Facts, Role, Typed
from goodstrace.identifiers import Grade, class_of, grade
from goodstrace.query.v1 import recall_pb2
from goodstrace.recalls import RecalledEvent, RecallPiece
from goodstrace.withheld import Withheld

_SCHEMA: Final = """
create table goods (number integer primary key, key text, grade text, level integer, from_key text, kind text, possible integer,
  lot text, product text);
create table events (id integer primary key, identity text unique, time_us integer, date text, type text, place text, ship_from text,
  sources text, ship_to text, destinations text, document_types text, documents text, marks text, event_id text, merchant integer,
  log text, place_index integer);
create table mentions (event integer, number integer, container text, possible integer);
create table amounts (event integer, key text, quantity text, unit text, is_made integer);
create table made (event integer, key text, primary key (event, key)) without rowid;
create table told_lots (key text, lot text, primary key (key, lot)) without rowid;
create table assigned (lot text primary key, rank integer, time_us integer, identity text, place text) without rowid;
create table containers (key text, grade text, inner_key text, from_us integer, until_us integer);
create table orders (key text, type text, event integer);
create table holders (key text, role text, event integer);
create table names (key text primary key, name text);
create table withheld (log text, place_index integer, merchant integer, record_id text, time_us integer, kind text, name text);
create view lots as select number, lot from goods where lot <> ''
  union select goods.number, told_lots.lot from goods join told_lots on told_lots.key = goods.key;
create view codes as select lot, place, coalesce(names.name, '') as name from assigned left join names on names.key = place;
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
            self._database.execute(
                "insert or ignore into names values (?, ?)", (told.key, key_data.description(told))
            )
        self._many("withheld", map(_withheld_row, piece.withheld_entries))

    def _many(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        listed = list(rows)
        if listed:
            marks = ", ".join("?" * len(listed[0]))
            self._database.executemany(f"insert into {table} values ({marks})", listed)  # noqa: S608 - names of ours

    def _add_event(self, recalled: RecalledEvent) -> None:
        cursor = self._database.execute(
            f"insert into events values (null{', ?' * 16})",  # noqa: S608 - nothing but places for values
            _event_row(recalled),
        )
        facts = recalled.event.facts
        if facts is None:
            return
        number = cursor.lastrowid
        for role, listed in facts.quantities.items():
            is_made = role == Role.OUTPUT
            self._many(
                "amounts", ((number, each.key, each.quantity, each.unit or _EACH, is_made) for each in listed)
            )
        if facts.type == "TransformationEvent":
            self._many("made", ((number, key) for key in facts.keys.get(Role.OUTPUT, ())))
        if facts.correction is None and "corrected" not in recalled.marks:
            self._add_lots(recalled.event.identity, facts)

    def _add_lots(self, identity: str, facts: Facts) -> None:
        """Keep which items are of which lots, and where these got their codes: the surest event counts, then the first."""
        self._database.executemany("insert or ignore into told_lots values (?, ?)", facts.lot_of.items())
        at = facts.business_location or facts.read_point
        if at:
            self._database.executemany(
                _ASSIGNED,
                (
                    (each.lot, int(not each.is_rule), facts.time_us, identity, at)
                    for each in key_data.assigned_lots(facts)
                ),
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
        """Yield a row for each event, traceability lot, product and container, sorted by time and then these; the columns are KEY_DATA."""
        self._index()
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

    def _index(self) -> None:
        """Index what is joined, once it has come: before, each row would be put in its place by itself."""
        for name in ("mentions", "amounts"):
            self._database.execute(f"create index if not exists {name}_by_event on {name} (event)")


KEY_DATA: Final = (
    "Event type",
    "Traceability lot code",
    "Traceability lot code source",
    "Traceability lot code source reference",
    "Product description",
    "Product",
    "Quantity",
    "Unit of measure",
    "Used or made",
    "Date",
    "Local date",
    "Location description",
    "Location",
    "Ship from description",
    "Ship from",
    "Ship to description",
    "Ship to",
    "Reference document type",
    "Reference document number",
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

_ASSIGNED: Final = """
insert into assigned values (?, ?, ?, ?, ?) on conflict (lot) do update
set rank = excluded.rank, time_us = excluded.time_us, identity = excluded.identity, place = excluded.place
where (excluded.rank, excluded.time_us, excluded.identity) < (assigned.rank, assigned.time_us, assigned.identity)
"""
_KEY_DATA_QUERY: Final = """
select events.type, coalesce(lots.lot, ''), coalesce(codes.name, ''), coalesce(codes.place, ''),
  coalesce(product_name.name, ''), goods.product,
  case when goods.grade in ('lot', 'class') then coalesce(amounts.quantity, '') else cast(count(*) as text) end,
  case when goods.grade in ('lot', 'class') then coalesce(amounts.unit, '') else 'H87' end,
  case when events.type <> 'transformation' then '' when coalesce(amounts.is_made, made.key is not null) then 'made' else 'used' end,
  events.time_us, events.date, coalesce(place_name.name, ''), events.place,
  coalesce(from_name.name, ''), events.sources, coalesce(to_name.name, ''), events.destinations,
  events.document_types, events.documents,
  mentions.container, case when count(*) = 1 then min(goods.key) else '' end, min(goods.level),
  case when min(mentions.possible or goods.possible) then 'possible' else 'certain' end,
  events.marks, events.event_id, events.merchant, events.log, events.place_index
from mentions join goods on goods.number = mentions.number join events on events.id = mentions.event
  left join lots on lots.number = goods.number left join codes on codes.lot = lots.lot
  left join amounts on amounts.event = events.id and amounts.key = goods.key
  left join made on made.event = events.id and made.key = goods.key
  left join names product_name on product_name.key = goods.product
  left join names place_name on place_name.key = events.place
  left join names from_name on from_name.key = events.ship_from
  left join names to_name on to_name.key = events.ship_to
group by events.id, lots.lot, goods.product, goods.grade, mentions.container, made.key is null, amounts.rowid
order by events.time_us, events.id, lots.lot, goods.product, mentions.container
"""
_GOODS_QUERY: Final = """
select goods.key, grade, level,
  coalesce((select group_concat(lot, '; ') from (select lot from lots where lots.number = goods.number order by lot)), ''),
  coalesce(names.name, ''), from_key, kind, case when possible then 'possible' else 'certain' end
from goods left join names on names.key = goods.product order by goods.number
"""


def _goods_row(level: int, each: recall_pb2.RecallGoods) -> tuple[Any, ...]:
    is_lot = each.grade == Grade.LOT
    lot = each.key if is_lot else each.from_key if each.kind == "serial-of-lot" else ""
    product = each.key if grade(each.key) is Grade.CLASS else class_of(each.key) or ""
    return (each.number, each.key, each.grade, level, each.from_key, each.kind, each.possible, lot, product)


def _event_row(recalled: RecalledEvent) -> tuple[Any, ...]:
    event = recalled.event
    place = (event.position.entry.merchant, event.position.log, event.position.index)
    facts = event.facts
    marks = " ".join(recalled.marks)
    if facts is None:
        return (event.identity, 0, "", "withheld", *("",) * 7, marks, "", *place)
    return (
        event.identity,
        facts.time_us,
        key_data.local_date(facts),
        key_data.critical_event(facts),
        facts.business_location or facts.read_point,
        key_data.ship_from(facts),
        _listed(facts.sources),
        key_data.ship_to(facts),
        _listed(facts.destinations),
        "; ".join(each.type for each in facts.transactions),
        "; ".join(each.key for each in facts.transactions),
        marks,
        facts.event_id,
        *place,
    )


def _withheld_row(withheld: Withheld) -> tuple[Any, ...]:
    entry = withheld.entry.entry
    return (*withheld.place, entry.merchant, entry.id, entry.time * 1_000, withheld.kind.value, withheld.name)


def _listed(typed: Iterable[Typed]) -> str:
    return "; ".join(f"{each.type} {each.key}".strip() for each in typed)
