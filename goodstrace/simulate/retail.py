"""In the shops: unpacking, shelves, sales, returns, and the recall of a whole lot."""

from __future__ import annotations

from goodstrace.simulate.distribution import Case, aggregate, observe
from goodstrace.simulate.identifiers import Key
from goodstrace.simulate.production import Lot
from goodstrace.simulate.recorder import Event, Recorder
from goodstrace.simulate.world import Party

_SOLD_SHARE = 0.85
_SELL_OUT_MIN = 20 * 24 * 60
"""About how long a pallet's worth of items takes to sell, whatever its size."""


class Sale:
    """The first sale and return of a chain; `captured` counts the chain's events up to that sale."""

    def __init__(self) -> None:
        self.item: Key | None = None
        self.case: Key | None = None
        self.captured = 0
        self.returned: Key | None = None


def sell_case(recorder: Recorder, store: Party, case: Case, sale: Sale) -> list[Key]:
    """Unpack a case, put its items on the shelf, sell most. Returns the items still there."""
    _open_case(recorder, store, case)
    observe(recorder, store, "stocking", "sellable_accessible", case.items)
    left = list(case.items)
    pause_min = 2 + _SELL_OUT_MIN // (recorder.options.items_per_case * recorder.options.cases_per_pallet)
    kept: list[Key] = []
    while left:
        recorder.wait(1, pause_min)
        basket = [left.pop() for _ in range(min(len(left), recorder.between(1, 3)))]
        if not recorder.chance(_SOLD_SHARE):
            kept.extend(basket)
            continue
        _sell(recorder, store, basket)
        if sale.item is None:
            sale.item, sale.case, sale.captured = basket[0], case.key, len(recorder.captured)
        kept.extend(item for item in basket if _comes_back(recorder, store, item, sale))
    return kept


def _open_case(recorder: Recorder, store: Party, case: Case) -> None:
    """Take the items out: half of them now and half later, or all at once, named or not."""
    half = len(case.items) // 2
    if half and recorder.chance(0.2):
        aggregate(recorder, store, "DELETE", "unpacking", case.key, children=case.items[:half])
        recorder.wait(120, 600)
        aggregate(recorder, store, "DELETE", "unpacking", case.key, children=case.items[half:])
    else:
        named = case.items if recorder.chance(0.6) else None
        aggregate(recorder, store, "DELETE", "unpacking", case.key, children=named)
    recorder.wait(5, 90)


def _sell(recorder: Recorder, store: Party, basket: list[Key]) -> None:
    """Sell a basket: over the counter, or for an invoice that the event ties to the items."""
    receipt = [recorder.order("inv", store, recorder.numbers.fresh())]
    if recorder.chance(0.7):
        observe(recorder, store, "retail_selling", "retail_sold", basket, bizTransactionList=receipt)
        return
    recorder.begin(store)
    body: Event = {"action": "ADD", "bizTransactionList": receipt, "epcList": recorder.say_all(basket)}
    recorder.record(store, "TransactionEvent", "retail_selling", "retail_sold", body)


def _comes_back(recorder: Recorder, store: Party, item: Key, sale: Sale) -> bool:
    """Let a sold item come back, or not. True if it is fit to be sold again; else it is destroyed."""
    if not recorder.chance(recorder.options.returns):
        return False
    recorder.wait(600, 4320)
    papers = [recorder.order("rma", store, recorder.numbers.fresh())]
    observe(recorder, store, "receiving", "returned", [item], bizTransactionList=papers)
    if sale.returned is None:
        sale.returned = item
    recorder.wait(30, 300)
    if recorder.chance(0.5):
        observe(recorder, store, "stocking", "sellable_accessible", [item])
        return True
    observe(recorder, store, "destroying", "destroyed", [item], action="DELETE")
    return False


def recall(recorder: Recorder, lot: Lot, shelves: list[tuple[Party, list[Key]]]) -> None:
    """Recall the whole lot, and take what is left of it off the shelves."""
    recorder.wait(600, 4320)
    recorder.begin(lot.holder)
    body: Event = {"action": "OBSERVE", "quantityList": [recorder.quantity(lot.key, lot.amount, lot.unit)]}
    recorder.record(lot.holder, "ObjectEvent", "holding", "recalled", body)
    for store, items in shelves:
        if items:
            recorder.wait(60, 600)
            observe(recorder, store, "removing", "recalled", items)
