"""Sealed events of several merchants about a few goods, with what they registered, and how goods stand by the tracing engine alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from goodstrace import facts as facts_format
from goodstrace import registration
from goodstrace.entry import Kind
from goodstrace.goods.corrections import Given, Givers
from goodstrace.goods.standing import orders
from goodstrace.goods.state import state_of
from goodstrace.registration import merchant_key
from goodstrace.tracing import SealedFacts
from goodstrace.tracing.containers import Containers
from goodstrace.tracing.events import ASSOCIATION, names
from goodstrace.tracing.intervals import FOREVER
from goodstrace.tracing.links import Links
from goodstrace.tracing.model import Name, NameKind
from goodstrace.tracing.pool import Pool
from services.collector.flow import StageName, to_wire
from services.collector.goods_states import Stored, registered, sightings
from services.collector.registry.registrations import Registration, item_of
from services.runtime import envelope
from services.runtime.merchants.values import What
from tests.unit.collector_builders import NOW_MS, WHOLE, collected, counted, document, fresh_state, wires
from tests.unit.test_goods_state import CASE, ITEM, OTHER, at, moved, seen, taken_back, trade

GIVER, DELEGATE, STRANGER = 1, 2, 3
PREFIX = "0614141"
LATER_MS = NOW_MS + 10**9


class Said(NamedTuple):
    """An event, and who says it."""

    merchant: int
    event: dict[str, Any]


class Lent(NamedTuple):
    """A registration of the giver: to whom it lends what, and when that is recorded, milliseconds after the events."""

    to: Mapping[int, str]
    after_ms: int


def sealed(told: Iterable[Said | Lent]) -> list[Stored]:
    """What is said sealed one after the other in one log; duplicates stay out."""
    random = counted()
    values: list[bytes] = []
    for each in told:
        if isinstance(each, Said):
            values += wires(collected(document(each.event), random=random, merchant=each.merchant))
        else:
            values.append(to_wire(item_of(_registration(each), NOW_MS + each.after_ms, random)))
    output = WHOLE.run(fresh_state(), values).passed[StageName.STORE]
    return [Stored("goods/0", offset, envelope.decode(value)) for offset, value in enumerate(output)]


def _registration(lent: Lent) -> Registration:
    content = {
        "name": "giver",
        "prefixes": [PREFIX],
        "delegations": [{"to": to, "scope": scope, "untilMs": LATER_MS} for to, scope in lent.to.items()],
    }
    return Registration(What.MERCHANT, merchant_key(GIVER), GIVER, content)


def pool_of(placed: Sequence[Stored]) -> Pool:
    """All of it, as a trace knows it; of registrations what is sealed in their records."""
    found: list[SealedFacts] = []
    asked: set[Name] = {(NameKind.REGISTRATION, merchant_key(each)) for each in (GIVER, DELEGATE, STRANGER)}
    for each in placed:
        facts = facts_format.decode(each.record.part("facts").content)
        said = None
        if each.record.kind is Kind.REGISTRATION:
            said = registration.decode(each.record.part(registration.PART).content)
        found.append(
            SealedFacts(each.log, each.offset, each.record.merchant, each.record.time_ms, facts, said)
        )
        asked.update(names(facts))
    pool = Pool(10_000)
    pool.add(asked, found)
    return pool


class Truth(NamedTuple):
    """What a trace says of a key: what it is in, its open orders, its newest place, the rules that found something in its events."""

    inside: list[str]
    orders: list[tuple[str, str]]
    place: str | None
    verdicts: set[str]


def truth(placed: Sequence[Stored], key: str) -> Truth:
    """Derive from all events by the tracing engine, with all that happened to containers and orders."""
    pool = pool_of(placed)
    containers, associations = Containers(pool, 1000), Containers(pool, 1000, ASSOCIATION)
    listings = Links(pool, containers, associations).listings(key).listings
    live = [each for each in pool.naming(key) if pool.is_live(each)]
    places = [each.facts.business_location or each.facts.read_point for each in live]
    assert not pool.missing
    return Truth(
        sorted({each.parent for each in containers.intervals(key) if each.window.end == FOREVER}),
        sorted((each.type, each.key) for each in listings if not each.until_us),
        next((each for each in reversed(places) if each), None),
        {verdict.rule for each in live for verdict in each.facts.verdicts},
    )


def given(placed: Iterable[Stored]) -> list[Given]:
    """Give the registrations of merchants among records, wherever they lie."""
    return [each for _, each in registered(placed)]


def told(placed: Sequence[Stored], key: str) -> tuple[Truth, set[str]]:
    """What states say of the same, those of containers and orders beside that of the key; and what they are unsure of."""
    said, givers = sightings(placed), Givers(given(placed))
    states = {each: state_of(each, kept, givers) for each, kept in said.items()}
    state = states[key]
    stays = [
        stay.value
        for stay in state.inside
        if "emptied" not in states[stay.value].told
        or states[stay.value].told["emptied"].newest.order < stay.newest.order
    ]
    unsure = set(state.unsure)
    for beside in (*(each.value for each in state.inside), *(each.value for each in state.orders)):
        about = states[beside].unsure if beside in states else ()
        unsure.update(each for each in about if each.startswith("emptied"))
    place = state.told.get("place")
    found = Truth(
        sorted(stays),
        sorted((each.type, each.value) for each in orders(key, states)),
        place.value if place else None,
        set(state.verdicts),
    )
    return found, unsure


# ---- what hypothesis draws

ORDERS = ["urn:o:1", "urn:o:1", "urn:o:2"]
HOT = [{"sensorReport": [{"type": "Temperature", "value": 30, "uom": "CEL", "exception": "ALARM_CONDITION"}]}]
ACTIONS = ["ADD", "OBSERVE", "DELETE"]
_events = st.one_of(
    st.builds(
        lambda minute, site, hot: seen(
            0, minute, bizLocation={"id": site} if site else None, readPoint=None,
            sensorElementList=HOT if hot else None,
        ),
        st.integers(0, 6),
        st.sampled_from([None, "urn:epc:id:sgln:0614141.00001.0", "urn:epc:id:sgln:0614141.00002.0"]),
        st.booleans(),
    ),
    st.builds(
        lambda minute, action, parent: moved(0, minute, action, parent),
        st.integers(0, 6), st.sampled_from(ACTIONS), st.sampled_from([CASE, OTHER]),
    ),
    st.builds(
        lambda minute, parent: moved(0, minute, "DELETE", parent, childEPCs=None),
        st.integers(0, 6), st.sampled_from([CASE, OTHER]),
    ),
    st.builds(
        lambda minute, action, listed, goods: trade(0, minute, action, *listed, epcList=[ITEM] if goods else None),
        st.integers(0, 6),
        st.sampled_from(ACTIONS),
        st.lists(st.sampled_from(ORDERS), min_size=1, max_size=1),
        st.sampled_from([True, True, False]),
    ),
    st.builds(
        lambda minute, order: seen(0, minute, bizTransactionList=[{"type": "po", "bizTransaction": order}]),
        st.integers(0, 6), st.sampled_from(ORDERS),
    ),
)  # fmt: skip
_lent = st.builds(
    Lent,
    st.dictionaries(
        st.sampled_from([DELEGATE, STRANGER]), st.sampled_from([PREFIX, "06141419999", "urn:nobody:"])
    ),
    st.integers(-2, 2),
)


@st.composite
def worlds(draw: st.DrawFn, most: int = 9) -> list[Said | Lent]:
    """What merchants say of an item and what it is in, corrections by any of them, and what one lets others speak for, in any order."""
    found: list[Said | Lent] = [Said(GIVER, seen(99, 3))]
    for number, drawn in enumerate(draw(st.lists(_events, min_size=1, max_size=most))):
        merchant = draw(st.sampled_from([GIVER, GIVER, GIVER, DELEGATE, STRANGER]))
        named = draw(st.sampled_from([f"urn:e:{number}", f"urn:e:{number}", None]))
        event = {**drawn, "eventID": named}
        event = {name: value for name, value in event.items() if value is not None}
        found.append(Said(merchant, event))
        for corrector in draw(
            st.lists(st.sampled_from([GIVER, DELEGATE, STRANGER]), max_size=2, unique=True)
        ):
            changed = {"eventTime": at(7)} if draw(st.integers(0, 9)) == 0 else {}
            found.append(Said(corrector, taken_back({**event, **changed})))
    found += draw(st.lists(_lent, max_size=3))
    return list(draw(st.permutations(found)))
