"""Generated supply chains: small ones in which everything meets everything, and ones like those of the trade with faults strewn in."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

from goodstrace.tracing import SealedFacts
from tests.unit.tracing_builders import Chain, key_of

FIXTURES = Path(__file__).parent / "fixtures" / "tracing"
ITEMS = ["i1", "i2", "item:3"]
LOTS = ["lot:x", "lot:y"]
BOXES = ["b1", "b2", "b3"]
OTHERS = ["class:salt", "place:mill"]
GOODS = [*ITEMS, *LOTS, *BOXES]
AMOUNTS = ["", "*1", "*2.5", "*2 KGM", "*0"]
SENSOR = "i2"
ROOTS = [*GOODS, "class:salt"]
ALL_ROOTS = [*ROOTS, "po:1"]

_times = st.integers(1, 9)
_merchants = st.sampled_from([1, 1, 1, 2])
_event_ids = st.sampled_from(["", "", "", None, "same"])
_lots = st.builds(str.__add__, st.sampled_from([*LOTS, "class:salt"]), st.sampled_from(AMOUNTS))
_things = st.one_of(st.sampled_from([*ITEMS, *BOXES]), _lots)
_goods = st.lists(st.one_of(_things, st.sampled_from(OTHERS)), min_size=1, max_size=3, unique=True)
_children = st.lists(_things, max_size=3, unique=True)
_parents = st.sampled_from([*BOXES, *BOXES, "i1", "place:mill"])
_kinds = st.sampled_from(["Aggregation"] * 5 + ["Association"] * 2)
_WHAT = ["pack", "pack", "unpack", "see_in", "make", "make", "see", "end", "wrong", "again", "order", "sense"]


@st.composite
def chains(draw: st.DrawFn, max_events: int = 14) -> Chain:
    """A chain of few keys and few moments, so that everything meets everything; half of it containment."""
    chain = Chain()
    for _ in range(draw(st.integers(1, max_events))):
        _draw_event(draw, chain)
    return chain


def _draw_event(draw: st.DrawFn, chain: Chain) -> None:  # noqa: C901  # one case an event
    more: dict[str, Any] = {"id": draw(_event_ids), "merchant": draw(_merchants)}
    events = [each for each in chain.sealed if each.registration is None]
    match draw(st.sampled_from([*_WHAT, "lend", "register"])):
        case "make":
            more["transformation"] = draw(st.sampled_from(["", "", "t"]))
            chain.make(draw(_times), draw(_goods), draw(_goods), **more)
        case "see":
            lot = draw(st.sampled_from(["", "lot:x"]))
            chain.see(draw(_times), draw(st.sampled_from([*ITEMS, *BOXES])), lot=lot, **more)
        case "end":
            chain.see(draw(_times), draw(st.sampled_from([*ITEMS, *BOXES])), action="DELETE", **more)
        case "sense":
            device = draw(st.sampled_from(["", SENSOR]))
            chain.sense(draw(_times), draw(st.sampled_from([SENSOR, "b1"])), device=device, **more)
        case "order":
            action = draw(st.sampled_from(["ADD", "ADD", "DELETE"]))
            taken = draw(st.lists(st.sampled_from([*ITEMS, *BOXES]), max_size=2, unique=True))
            chain.order(draw(_times), action, "po:1", *taken, **more)
        case "lend":
            some = st.lists(st.sampled_from([*GOODS]), min_size=1, max_size=4, unique=True)
            until_ms = draw(st.sampled_from([10**6, 10**6, 1006]))
            status = draw(st.sampled_from(["active", "active", "suspended"]))
            chain.lend(2, *draw(some), until_ms=until_ms, uris=draw(some), status=status)
        case "register":
            chain.register("item:3", {}, lot=draw(st.sampled_from(["", "lot:x", "lot:y"])))
        case "wrong" if events:
            chain.correct(draw(st.sampled_from(events)), merchant=draw(st.sampled_from([1, 2])))
        case "again" if events:
            chain.seal(draw(st.sampled_from(events)).facts)
        case "unpack":
            _draw_move(draw, chain.unpack, more)
        case "see_in":
            _draw_move(draw, chain.see_in, more)
        case _:
            _draw_move(draw, chain.pack, more)


def _draw_move(draw: st.DrawFn, move: Callable[..., object], more: dict[str, Any]) -> None:
    kind = draw(_kinds)
    parents = st.sampled_from(["b1", "b2", "place:mill"]) if kind == "Association" else _parents
    move(draw(_times), draw(parents), *draw(_children), kind=kind, **more)


class Trade:
    """A little trade, from raw lots over products, cases and pallets with a thermometer to shops, written down with faults.

    Every event is written by one of three merchants; the second one speaks for the first one's products.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._time = 0
        self._steps: list[Callable[[Chain], object]] = []
        self._products: list[str] = []
        self._cases: list[str] = []

    def _at(self, *, same: float = 0.2) -> int:
        self._time += 0 if self._random.random() < same else 1
        return self._time

    def _do(self, method: str, *args: Any, **more: Any) -> None:
        self._steps.append(lambda chain: getattr(chain, method)(*args, **more))

    def chain(self) -> Chain:
        self._do(
            "lend", 2, *self._some(["item:1", "item:2", "item:3"], 2), uris=["item:1", "item:2", "item:3"]
        )
        self._production()
        self._packing()
        self._transport()
        self._unpacking()
        self._shops()
        return self._written()

    def _some(self, of: list[str], most: int) -> list[str]:
        return self._random.sample(of, k=self._random.randint(1, min(most, len(of))))

    def _production(self) -> None:
        r = self._random
        raws = ["lot:milk", "lot:salt", "class:rennet"]
        self._do("see", self._at(), "lot:milk*100 LTR", action="ADD", merchant=3)
        spread = r.choice(["", "batch"])
        inputs = [f"{raw}{r.choice(AMOUNTS)}" for raw in self._some(raws, 3)]
        if spread:
            self._do("make", self._at(), inputs, [], transformation=spread, merchant=2)
            self._do(
                "make", self._at(), [], ["lot:cheese*10"], transformation=spread, merchant=r.choice([2, 2, 3])
            )
        else:
            self._do(
                "make",
                self._at(),
                inputs,
                ["lot:cheese*10", *r.choice([[], ["lot:whey*90 LTR"]])],
                merchant=2,
            )
        for number in range(1, r.randint(2, 4)):
            product = f"item:{number}"
            self._products.append(product)
            if r.random() < 0.5:
                self._do("see", self._at(), product, action="ADD", lot="lot:cheese")
            else:
                self._do("see", self._at(), product, action="ADD")
                self._do("register", product, {}, lot=r.choice(["lot:cheese", "lot:cheese", "lot:other", ""]))

    def _packing(self) -> None:
        r = self._random
        self._cases = ["case1", "case2"]
        for product in self._products:
            self._do("pack", self._at(), r.choice(self._cases), product)
        if r.random() < 0.6:
            self._do("pack", self._at(), "case1", f"lot:cheese*{r.choice(['3', '2.5', '1 KGM', ''])}")
        if r.random() < 0.3:  # in two cases by faulty data
            self._do(r.choice(["pack", "see_in"]), self._at(same=0.5), "case2", self._products[0])

    def _transport(self) -> None:
        r = self._random
        self._do("pack", self._at(), "pallet", *self._some(self._cases, 2))
        on = r.choice(["pallet", "case1", "place:store"])
        self._do("pack", self._at(), on, "thermometer", kind="Association")
        self._do("sense", self._at(), *r.choice([["thermometer"], [on], []]), device="thermometer")
        self._do(
            "order", self._at(), "ADD", "po:1", *self._some([*self._cases, *self._products], 2), merchant=3
        )
        self._do("see", self._at(), "pallet", business_step="shipping")
        if r.random() < 0.5:
            self._do("unpack", self._at(), on, "thermometer", kind="Association")
            self._do("sense", self._at(), "thermometer")
        if r.random() < 0.15:
            self._do("pack", self._at(), "case1", "pallet")  # a cycle

    def _unpacking(self) -> None:
        r = self._random
        self._do("unpack", self._at(), "pallet", *r.choice([[], ["case1"], self._cases]))
        for case in self._cases:
            taken = r.choice([[], self._some(self._products, 2), ["lot:cheese*1"], ["lot:cheese"]])
            self._do("unpack", self._at(), case, *taken)
        if r.random() < 0.5:
            self._do("pack", self._at(same=0.5), "box", *self._some(self._products, 2))

    def _shops(self) -> None:
        r = self._random
        if r.random() < 0.5:
            self._do(
                "make",
                self._at(),
                self._some([*self._products, "case2", "box"], 2),
                ["lot:toast*4"],
                merchant=3,
            )
        self._do("order", self._at(), "DELETE", "po:1", *r.choice([[], self._products[:1]]), merchant=3)
        for product in self._some(self._products, 2):
            self._do("see", self._at(), product, action=r.choice(["OBSERVE", "DELETE"]), merchant=3)

    def _written(self) -> Chain:
        """Seal in another order than it happened, some twice, some corrected by whoever thinks to know better."""
        r = self._random
        chain = Chain()
        steps = self._steps
        for _ in range(r.choice([0, 0, 1, 4, 12])):  # late arrivals
            steps.insert(r.randrange(len(steps)), steps.pop(r.randrange(len(steps))))
        for step in steps:
            step(chain)
            sealed = [each for each in chain.sealed if each.registration is None]
            if sealed and r.random() < 0.06:
                chain.correct(r.choice(sealed), merchant=r.choice([1, 2, 3]))
            if sealed and r.random() < 0.04:
                chain.seal(r.choice(sealed).facts)
        return chain

    ROOTS = (
        "lot:milk",
        "lot:cheese",
        "item:1",
        "item:2",
        "case1",
        "case2",
        "pallet",
        "thermometer",
        "box",
        "lot:toast",
        "po:1",
    )


def shrunk(sealed: list[SealedFacts], fails: Callable[[list[SealedFacts]], bool]) -> list[SealedFacts]:
    """Leave out events as long as it fails."""
    number = 0
    while number < len(sealed):
        without = sealed[:number] + sealed[number + 1 :]
        if fails(without):
            sealed, number = without, 0
        else:
            number += 1
    return sealed


def saved(sealed: list[SealedFacts]) -> list[Any]:
    return [msgspec.to_builtins(each) for each in sealed]


def loaded(path: Path) -> tuple[list[SealedFacts], str]:
    """Give the events of a kept counter-example, and the key that was traced."""
    document = json.loads(path.read_text())
    return msgspec.convert(document["sealed"], list[SealedFacts]), key_of(document["root"])
