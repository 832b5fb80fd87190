"""How goods stand: the answer is the collector's state, and nothing in it can be changed without the client seeing it."""

import json
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from goodstrace.checkpoint import Checkpoint
from goodstrace.entry import Position
from goodstrace.errors import VerificationError
from goodstrace.goods.sightings import Kept
from goodstrace.goods.state import derived
from goodstrace.goods_answer import Goods, check_goods
from goodstrace.identifiers import canonical_key
from goodstrace.merkle import inclusion_path, leaf_hash, root_of
from goodstrace.query.v1 import goods_pb2
from goodstrace.simulate import SimulationOptions, simulate
from goodstrace.verification import VerifiedCheckpoint
from services.collector.flow import StageName, to_wire
from services.collector.goods_states import Stored, sightings
from services.collector.registry.registrations import Registration, item_of
from services.query.metrics import QueryMetrics
from services.query.service import TraceServicer
from services.query.sight import Sight
from services.runtime import envelope
from services.runtime.envelope import Record
from services.runtime.merchants.values import What
from services.runtime.page_tokens import fixed_key
from services.sealing.showing import PartKey
from services.sealing.values import SealedRecord
from tests.unit.collector_builders import SECRET, WHOLE, collected, counted, fresh_state, wires
from tests.unit.epcis_builders import MemoryLogs
from tests.unit.test_goods_state import (
    CASE,
    CASE_KEY,
    ITEM,
    ITEM_KEY,
    LOT,
    LOT_KEY,
    OTHER_KEY,
    SITES,
    at,
    histories,
    moved,
    seen,
    stored,
    taken_back,
    trade,
)

PALLET = "urn:epc:id:sscc:0614141.2234567890"
PALLET_KEY = canonical_key(PALLET)


class ProvedLogs(MemoryLogs):
    """Logs in memory with their trees."""

    async def part_keys(self, _records: Sequence[SealedRecord]) -> Mapping[Position, PartKey]:
        return {}

    async def inclusion_proofs(self, log: str, indexes: Sequence[int], size: int) -> list[list[bytes]]:
        hashes = self._hashes(log, size)
        return [[root_of(hashes[start:end]) for start, end in inclusion_path(each, size)] for each in indexes]

    def checkpoints(self, sizes: Mapping[str, int]) -> dict[str, VerifiedCheckpoint]:
        return {
            log: VerifiedCheckpoint(log, Checkpoint(log, size, root_of(self._hashes(log, size))), "")
            for log, size in sizes.items()
        }

    def _hashes(self, log: str, size: int) -> list[bytes]:
        return [leaf_hash(each.entry) for each in self.records_of[log][:size]]


class Asking:
    """A servicer over records, and the client's check of what it answers."""

    def __init__(
        self,
        records: Sequence[Record],
        *,
        logs: int = 2,
        max_events: int = 10_000,
        page_bytes: int = 10**6,
        sight: Sight | None = None,
    ) -> None:
        self.logs = ProvedLogs(records, logs)
        self.browses: list[Any] = []
        self.servicer = TraceServicer(
            self.logs,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            sight=sight or Sight(None),
            secret=SECRET,
            page_key=fixed_key(b"p" * 32),
            max_events=max_events,
            page_bytes=page_bytes,
            max_walks=2,
            metrics=QueryMetrics(CollectorRegistry()),
            log=structlog.get_logger(),
        )

    async def record(self, browse: Any) -> str:
        self.browses.append(browse)
        return "00"

    async def pages(self, key: str, page_size: int = 0) -> list[goods_pb2.GetGoodsResponse]:
        context: Any = SimpleNamespace(invocation_metadata=lambda: ())
        request = goods_pb2.GetGoodsRequest(key=key, page_size=page_size)
        found = [await self.servicer.GetGoods(request, context)]
        while found[-1].next_page_token:
            request.page_token = found[-1].next_page_token
            found.append(await self.servicer.GetGoods(request, context))
        return found

    def check(self, key: str, pages: Sequence[goods_pb2.GetGoodsResponse]) -> Goods:
        sizes = {log: len(records) for log, records in self.logs.records_of.items()}
        return check_goods(canonical_key(key), pages, self.logs.checkpoints(sizes))

    async def goods(self, key: str, page_size: int = 0) -> Goods:
        return self.check(key, await self.pages(key, page_size))


def of_collector(records: Sequence[Record], logs: int) -> dict[str, Kept]:
    """What the collector's keeper has of each key, by the same places."""
    return sightings(
        Stored(f"goods/{number % logs}", number // logs, record) for number, record in enumerate(records)
    )


def records_of(events: list[dict[str, Any]]) -> list[Record]:
    return [each.record for each in stored(events)]


def registered(key: str, name: str, time_ms: int, merchant: int = 3) -> Record:
    content = {"key": key, "names": {"en": name}, "attributes": {"maker": "Ann"}}
    item = item_of(Registration(What.GOODS, key, merchant, content), time_ms, counted(time_ms % 100_000))
    [value] = WHOLE.run(fresh_state(), [to_wire(item)]).passed[StageName.STORE]
    return envelope.decode(value)


# ---- equal to the collector's state


@given(histories(), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
async def test_it_is_the_collectors_state_of_any_history(
    events: list[dict[str, Any]], page_size: int
) -> None:
    records = records_of(events)
    asking, kept = Asking(records), of_collector(records, 2)
    goods = await asking.goods(ITEM, page_size)
    assert derived(ITEM_KEY, kept[ITEM_KEY]) == _plain(goods, ITEM_KEY)
    for key in goods.states:
        assert derived(key, kept[key]) == _plain(goods, key)


def _plain(goods: Goods, key: str) -> dict[str, Any]:
    """A state as a document, by the records that prove it."""
    from goodstrace.goods import state  # noqa: PLC0415 - the part of `derived` that makes plain values

    held, state.state_of = state.state_of, lambda *_: goods.states[key]  # type: ignore[assignment]
    try:
        return derived(key, Kept(()))
    finally:
        state.state_of = held


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_it_is_the_collectors_state_in_a_simulated_world(seed: int) -> None:
    random = counted()
    options = SimulationOptions(seed=seed, events=150, corrections=0.1, returns=0.2, recalls=0.5)
    values = [v for body in simulate(options) for v in wires(collected(body.to_bytes(), random=random))]
    records = [envelope.decode(v) for v in WHOLE.run(fresh_state(), values).passed[StageName.STORE]]
    asking, kept = Asking(records), of_collector(records, 2)
    carried = 0
    for key in sorted(kept)[:: max(1, len(kept) // 40)]:
        goods = await asking.goods(key)
        assert _plain(goods, key) == derived(key, kept[key])
        carried += bool(goods.carriers)
    assert carried


# ---- what it shows


async def test_it_is_where_the_pallet_is_that_its_case_is_on() -> None:
    events = [
        moved(1, 1, "ADD", CASE, bizLocation={"id": SITES[0]}),
        moved(2, 2, "ADD", PALLET, childEPCs=[CASE], bizLocation={"id": SITES[0]}),
        seen(3, 3, epcList=[PALLET], bizLocation={"id": SITES[1]}),
        trade(4, 4, "ADD", "urn:o:1"),
    ]
    goods = await Asking(records_of(events)).goods(ITEM)
    assert list(goods.states) == [ITEM_KEY, CASE_KEY, PALLET_KEY]
    assert goods.carriers == [CASE_KEY, PALLET_KEY]
    assert goods.states[PALLET_KEY].told["place"].value == canonical_key(SITES[1])
    fields = {(each.field, each.value) for each in goods.messages[0].statements}
    assert {("inside", CASE_KEY), ("orders", "urn:o:1")} <= fields
    assert all(set(each.identities) <= goods.events.keys() for each in goods.messages[0].statements)
    emptied = seen(
        5, 5, type="AggregationEvent", action="DELETE", epcList=None, parentID=CASE, bizLocation=None
    )
    goods = await Asking(records_of([*events, emptied])).goods(ITEM)
    assert goods.carriers == []
    assert list(goods.states) == [ITEM_KEY, CASE_KEY]


async def test_the_recall_of_its_lot_is_seen() -> None:
    made = seen(1, 1, action="ADD", bizStep="commissioning", ilmd={"cbvmda:lotNumber": "L1"})
    lot = seen(2, 2, epcList=None, quantityList=[{"epcClass": LOT, "quantity": 5}], disposition="recalled")
    goods = await Asking(records_of([made, lot, moved(3, 3, "ADD", CASE)])).goods(ITEM)
    assert list(goods.states) == [ITEM_KEY, LOT_KEY, CASE_KEY]
    assert list(goods.states[LOT_KEY].flags) == ["recalled"]
    assert goods.carriers == [CASE_KEY]


async def test_what_is_registered_of_the_product_is_shown_with_its_proof() -> None:
    product = "https://id.gs1.org/01/10614141073464"
    records = [
        *records_of([seen(1, 1)]),
        registered(product, "Tee", 1_000),
        registered(product, "Green tea", 3_000),
        registered(product, "Tea", 2_000),
        registered("urn:other", "Other", 4_000),
    ]
    asking = Asking(records)
    goods = await asking.goods(ITEM)
    assert goods.registered is not None
    assert (goods.registered.content.names, goods.registered.merchant) == ({"en": "Green tea"}, 3)
    assert goods.registered.content.attributes == {"maker": "Ann"}
    assert asking.browses[-1].events == 2
    [page] = await asking.pages(ITEM)
    page.registration.names["en"] = "Black tea"
    with pytest.raises(VerificationError, match="not what is sealed"):
        asking.check(ITEM, [page])
    [page], [other] = await asking.pages(ITEM), await asking.pages("urn:other")
    page.registration.CopyFrom(other.registration)
    with pytest.raises(VerificationError, match="none of the goods"):
        asking.check(ITEM, [page])


async def test_of_what_nobody_has_seen_the_answer_is_empty() -> None:
    goods = await Asking(records_of([seen(1, 1)])).goods("urn:nobody:knows")
    assert (list(goods.states), dict(goods.events), goods.registered) == (["urn:nobody:knows"], {}, None)


async def test_where_more_is_sealed_than_is_looked_at_it_says_so() -> None:
    records = records_of([seen(number, number) for number in range(30)])
    goods = await Asking(records, max_events=10).goods(ITEM)
    assert goods.truncated
    assert "step" in goods.messages[0].cut
    assert not (await Asking(records, max_events=30).goods(ITEM)).truncated


async def test_a_large_answer_is_paged_and_never_fails() -> None:
    big = {"example:x": "y" * 50_000}
    events = [seen(number, number, bizLocation={"id": SITES[number % 3]}, **big) for number in range(6)]
    asking = Asking(records_of(events), page_bytes=64 * 1024)
    pages = await asking.pages(ITEM)
    assert [len(page.events) for page in pages] == [1] * 6
    assert [len(page.states) for page in pages] == [1, 0, 0, 0, 0, 0]
    assert len(asking.check(ITEM, pages).events) == 6
    assert len(asking.browses) == 6


# ---- tampered with

Change = Callable[[goods_pb2.GetGoodsResponse], object]


def _cut(page: goods_pb2.GetGoodsResponse) -> None:
    page.states[0].cut.append("place")


def _swap(page: goods_pb2.GetGoodsResponse) -> None:
    page.events[0].identity, page.events[1].identity = page.events[1].identity, page.events[0].identity


def _twice(page: goods_pb2.GetGoodsResponse) -> None:
    page.events.add().CopyFrom(page.events[0])
    page.total_events += 1


def _less(page: goods_pb2.GetGoodsResponse) -> None:
    del page.events[0]
    page.total_events -= 1


CHANGES: Mapping[str, Change] = {
    "another value": lambda page: setattr(page.states[0].statements[0], "value", "urn:x"),
    "another field": lambda page: setattr(page.states[0].statements[0], "field", "lot"),
    "another time": lambda page: setattr(page.states[0].statements[0], "since_us", 1),
    "another proof": lambda page: page.states[0].statements[0].identities.append("00" * 32),
    "one statement less": lambda page: page.states[0].statements.pop(),
    "unsure": lambda page: page.states[0].unsure.append("owner"),
    "another grade": lambda page: setattr(page.states[0], "grade", "lot"),
    "another key": lambda page: setattr(page.states[0], "key", OTHER_KEY),
    "the answer of another key": lambda page: setattr(page, "key", OTHER_KEY),
    "one state less": lambda page: page.states.pop(),
    "states in another order": lambda page: page.states.reverse(),
    "no state": lambda page: page.ClearField("states"),
    "an event less": _less,
    "an event less than it says": lambda page: page.events.pop(),
    "an event twice": _twice,
    "events exchanged": _swap,
    "another index": lambda page: setattr(page.events[0].sealed, "index", 9),
    "other bytes": lambda page: setattr(page.events[0].sealed.parts[0], "content", b"{}"),
    "without facts": lambda page: page.events[0].sealed.parts.pop(),
    "without content": lambda page: page.events[0].sealed.parts.pop(0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_what_was_changed_on_the_way_is_refused(change: Change) -> None:
    events = [
        moved(1, 1, "ADD", CASE),
        seen(2, 2, bizLocation={"id": SITES[0]}, persistentDisposition={"set": ["recalled"]}),
        wrong := seen(3, 3, bizLocation={"id": SITES[1]}),
        taken_back(wrong),
        seen(4, 4, epcList=[CASE], eventTime=at(9)),
    ]
    asking = Asking(records_of(events))
    [page] = await asking.pages(ITEM)
    asking.check(ITEM, [page])
    change(page)
    with pytest.raises(VerificationError):
        # What lies in the persistent disposition is in the content: without it another state follows.
        asking.check(ITEM, [page] if change is not CHANGES["without content"] else [_bare(page)])


def _bare(page: goods_pb2.GetGoodsResponse) -> goods_pb2.GetGoodsResponse:
    for event in page.events:
        for part in list(event.sealed.parts):
            if part.name == "event":
                event.sealed.parts.remove(part)
    return page


async def test_a_registration_is_no_event_and_an_event_no_registration() -> None:
    asking = Asking([*records_of([seen(1, 1)]), registered(ITEM_KEY, "x", 1_000)])
    [page] = await asking.pages(ITEM)
    assert json.loads(page.registration.sealed.parts[0].content)["what"] == "goods"
    page.registration.sealed.CopyFrom(page.events[0].sealed)
    with pytest.raises(VerificationError):
        asking.check(ITEM, [page])
    [page] = await asking.pages(ITEM)
    page.events[0].sealed.CopyFrom(page.registration.sealed)
    with pytest.raises(VerificationError):
        asking.check(ITEM, [page])
