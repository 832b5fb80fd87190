"""From raw lots to items: harvest, inspection, carriage between sites, and one transformation per level."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from goodstrace.simulate import identifiers
from goodstrace.simulate.identifiers import Key
from goodstrace.simulate.recorder import Event, Recorder
from goodstrace.simulate.themes import Stage
from goodstrace.simulate.world import URN, Branch, Party


class Lot(NamedTuple):
    """A lot of goods: its key, bare number, amount in `unit` (None counts pieces) and where it lies."""

    key: Key
    number: str
    amount: float
    unit: str | None
    holder: Party


class Made(NamedTuple):
    """What production ends with: items of one lot at `maker`, and the inputs of each level, nearest first."""

    maker: Party
    lot: Lot
    items: list[Key]
    upstream: list[list[Key]]


def make_items(recorder: Recorder, branch: Branch, *, plain: bool) -> Made:
    """Record everything from the harvest to a pallet's worth of items.

    Args:
        recorder: where the events go.
        branch: the theme, and the parties and classes that stand for it.
        plain: keep to the shape that any tracer can follow: the last transformation names the items itself.
    """
    theme = branch.theme
    stages = theme.stages[-recorder.options.depth :]
    count = recorder.options.items_per_case * recorder.options.cases_per_pallet
    needs = [count * theme.item_size]
    for stage in reversed(stages):
        needs.append(needs[-1] / stage.output_share)
    needs.reverse()
    lots = _harvest(recorder, branch, round(needs[0], 2))
    upstream: list[list[Key]] = []
    for stage, amount in zip(stages[:-1], needs[1:], strict=False):
        inputs = _gather(recorder, branch, stage, lots)
        upstream.append([lot.key for lot in inputs])
        lots = _transform(recorder, branch, stage, inputs, round(amount, 2))
    inputs = _gather(recorder, branch, stages[-1], lots)
    upstream.append([lot.key for lot in inputs])
    product, items = _finish(recorder, branch, stages[-1], inputs, plain=plain)
    upstream.reverse()
    return Made(product.holder, product, items, upstream)


def new_lot(
    recorder: Recorder, branch: Branch, product: str, holder: Party, *, amount: float, unit: str | None
) -> Lot:
    """Number a new lot of `product` at `holder`; `unit` None counts pieces."""
    number = "L" + recorder.numbers.fresh()
    return Lot(branch.classes[product].lot(number), number, amount, unit, holder)


def _harvest(recorder: Recorder, branch: Branch, amount: float) -> list[Lot]:
    """Harvest one lot on each of two or three farms; together they weigh `amount`."""
    farms = branch.parties["farm"][: recorder.between(2, 3)]
    lots: list[Lot] = []
    for farm in farms:
        share = round(amount / len(farms), 2)
        lot = _commission(recorder, branch, branch.theme.raw, farm, share)
        lots.append(lot)
        recorder.wait(20, 90)
        recorder.begin(farm)
        checked: Event = {
            "action": "OBSERVE",
            "quantityList": [recorder.quantity(lot.key, lot.amount, lot.unit)],
            "bizTransactionList": [recorder.order("testres", farm, recorder.numbers.fresh())],
        }
        recorder.record(farm, "ObjectEvent", "inspecting", "conformant", checked)
        recorder.wait(30, 600)
    return lots


def _commission(recorder: Recorder, branch: Branch, product: str, maker: Party, amount: float) -> Lot:
    """Bring a lot into being that is made of nothing recorded here."""
    dated = "harvestEndDate" if maker.spec.role == "farm" else "productionDate"
    lot = new_lot(recorder, branch, product, maker, amount=amount, unit=branch.theme.unit)
    recorder.begin(maker)
    body: Event = {
        "action": "ADD",
        "quantityList": [recorder.quantity(lot.key, lot.amount, lot.unit)],
        "ilmd": {
            "cbvmda:lotNumber": lot.number,
            f"cbvmda:{dated}": maker.local_date(recorder.clock_s),
            "cbvmda:countryOfOrigin": maker.spec.country,
            "cbvmda:descriptionShort": product,
        },
    }
    recorder.record(maker, "ObjectEvent", "commissioning", "active", body)
    return lot


def _gather(recorder: Recorder, branch: Branch, stage: Stage, lots: list[Lot]) -> list[Lot]:
    """Bring all inputs of `stage` to where it is done: what there is, and what is added."""
    site = branch.one(stage.role)
    inputs: list[Lot] = []
    for lot in lots:
        if lot.holder is not site:
            _carry_lot(recorder, lot, site)
        inputs.append(lot._replace(holder=site))
    if stage.additive is not None:
        amount = round(sum(lot.amount for lot in lots) * 0.04, 2) or 0.01
        supplier = branch.one("supplier")
        recorder.wait(30, 300)
        added = _commission(recorder, branch, stage.additive, supplier, amount)
        recorder.wait(60, 600)
        _carry_lot(recorder, added, site)
        inputs.append(added._replace(holder=site))
    return inputs


def _carry_lot(recorder: Recorder, lot: Lot, buyer: Party) -> None:
    """Ship a lot and receive it, either by its own name or inside a bin."""
    seller = lot.holder
    papers = recorder.numbers.fresh()
    bin_ = recorder.numbers.container(seller.company) if recorder.chance(0.3) else None
    if bin_ is not None:
        _load_bin(recorder, seller, "ADD", lot, bin_)
        recorder.wait(10, 60)
    for party, step, disposition in ((seller, "shipping", "in_transit"), (buyer, "receiving", "in_progress")):
        recorder.begin(party)
        body: Event = {"action": "OBSERVE"}
        if bin_ is None:
            body["quantityList"] = [recorder.quantity(lot.key, lot.amount, lot.unit)]
        else:
            body["epcList"] = [recorder.say(bin_)]
        body["bizTransactionList"] = [
            recorder.order("po", buyer, papers),
            recorder.order("desadv", seller, papers),
        ]
        body.update(recorder.from_to(seller, buyer))
        recorder.record(party, "ObjectEvent", step, disposition, body)
        recorder.wait(240, 4320)
    if bin_ is not None:
        _load_bin(recorder, buyer, "DELETE", lot, bin_)
        recorder.wait(10, 60)


def _load_bin(recorder: Recorder, party: Party, action: str, lot: Lot, bin_: Key) -> None:
    recorder.begin(party)
    body: Event = {
        "action": action,
        "parentID": recorder.say(bin_),
        "childQuantityList": [recorder.quantity(lot.key, lot.amount, lot.unit)],
    }
    step = "loading" if action == "ADD" else "unloading"
    recorder.record(party, "AggregationEvent", step, "in_progress", body)


def _transform(
    recorder: Recorder, branch: Branch, stage: Stage, inputs: list[Lot], amount: float
) -> list[Lot]:
    """Make the next lots: usually one, sometimes two (a split, merged again where both are used next)."""
    site = branch.one(stage.role)
    shares = [round(amount * 0.6, 2), round(amount * 0.4, 2)] if recorder.chance(0.25) else [amount]
    unit = branch.theme.unit
    lots = [new_lot(recorder, branch, stage.product, site, amount=share, unit=unit) for share in shares]

    def outputs() -> Event:
        return {
            "outputQuantityList": [recorder.quantity(lot.key, lot.amount, lot.unit) for lot in lots],
            "ilmd": {
                "cbvmda:productionDate": site.local_date(recorder.clock_s),
                "cbvmda:descriptionShort": stage.product,
            },
        }

    _run(recorder, site, inputs, outputs, whole=False)
    return lots


def _run(
    recorder: Recorder, site: Party, inputs: list[Lot], outputs: Callable[[], Event], *, whole: bool
) -> None:
    """Record a production run: one event, or one for what goes in and a later one for what comes out."""
    run = identifiers.document(site.company, "00007", recorder.numbers.fresh())

    def record(*, goes_in: bool, comes_out: bool) -> None:
        recorder.begin(site)
        body: Event = {"transformationID": recorder.say(run)}
        if goes_in:
            body["inputQuantityList"] = [recorder.quantity(lot.key, lot.amount, lot.unit) for lot in inputs]
        if comes_out:
            body.update(outputs())
        recorder.record(site, "TransformationEvent", "creating_class_instance", "active", body)

    recorder.wait(60, 600)
    if whole or recorder.chance(0.8):
        record(goes_in=True, comes_out=True)
    else:
        record(goes_in=True, comes_out=False)
        recorder.wait(60, 600)
        record(goes_in=False, comes_out=True)
    recorder.wait(60, 1440)


def _finish(
    recorder: Recorder, branch: Branch, stage: Stage, inputs: list[Lot], *, plain: bool
) -> tuple[Lot, list[Key]]:
    """Make the items. Their lot is named by the run itself, or when they are commissioned one by one."""
    site = branch.one(stage.role)
    product = branch.classes[stage.product]
    count = recorder.options.items_per_case * recorder.options.cases_per_pallet
    lot = new_lot(recorder, branch, stage.product, site, amount=count, unit=None)
    items = [product.item("S" + recorder.numbers.fresh()) for _ in range(count)]

    def master_data() -> Event:
        return {"ilmd": _item_master_data(recorder, branch, stage.product, lot)}

    if plain or recorder.chance(0.5):

        def named_items() -> Event:
            return {"outputEPCList": recorder.say_all(items)} | master_data()

        _run(recorder, site, inputs, named_items, whole=plain)
        return lot, items

    def whole_lot() -> Event:
        return {"outputQuantityList": [recorder.quantity(lot.key, count, None)]} | master_data()

    _run(recorder, site, inputs, whole_lot, whole=False)
    recorder.begin(site)
    if site.spelling != URN and recorder.chance(0.5):
        labels = [f"{lot.key.link}/21/{item.link.rpartition('/')[2]}" for item in items]
    else:
        labels = recorder.say_all(items)
    body = {"action": "ADD", "epcList": labels} | master_data()
    recorder.record(site, "ObjectEvent", "commissioning", "active", body)
    recorder.wait(5, 60)
    return lot, items


def _item_master_data(recorder: Recorder, branch: Branch, product: str, lot: Lot) -> Event:
    data: Event = {
        "cbvmda:lotNumber": lot.number,
        "cbvmda:productionDate": lot.holder.local_date(recorder.clock_s),
    }
    if branch.theme.shelf_life_days is not None:
        expires = lot.holder.local_date(recorder.clock_s, branch.theme.shelf_life_days)
        data["cbvmda:itemExpirationDate"] = expires
    data["cbvmda:descriptionShort"] = product
    return data
