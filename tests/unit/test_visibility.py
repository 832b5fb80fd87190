"""Who may see an event: every case of a small model, against a table of its own."""

import itertools
from typing import Final

import msgspec
import pytest

from goodstrace.claims import Claims, scope_claims
from goodstrace.facts import Facts, Typed
from goodstrace.visibility import (
    ANYBODY,
    EVERYTHING,
    Lent,
    Viewer,
    Visibility,
    VisibilityPolicy,
    parties,
    sees,
)

RECORD_MS: Final = 1_000
MAKER, CARRIER, SHOP, OTHER, PACKER, PLATFORM = 1, 2, 3, 4, 5, 6
PREFIX: Final = {MAKER: "0614141", CARRIER: "0614142", SHOP: "0614143", OTHER: "0614144", PACKER: "0614145"}
GOODS: Final = "https://id.gs1.org/01/10614141073464/21/1"  # the maker's
FOREIGN: Final = "https://id.gs1.org/01/10614144073461/21/1"  # the other's
STEPS: Final = ("production", "logistics", "")


def party(number: int) -> str:
    return f"https://id.gs1.org/417/{PREFIX[number]}000005"


def place(number: int) -> str:
    return f"https://id.gs1.org/414/{PREFIX[number]}000012"


def own(number: int) -> Claims:
    return Claims(prefixes=(PREFIX[number],))


# The viewers: whether each speaks for the maker's, carrier's, shop's parties is said by hand, not computed.
VIEWERS: Final[dict[str, Viewer]] = {
    "anybody": ANYBODY,
    "auditor": EVERYTHING,
    "maker": Viewer(MAKER, (own(MAKER),)),
    "carrier": Viewer(CARRIER, (own(CARRIER),)),
    "shop": Viewer(SHOP, (own(SHOP),)),
    "outsider": Viewer(OTHER, (own(OTHER),)),
    "agent of the shop": Viewer(OTHER, (own(OTHER), scope_claims(PREFIX[SHOP]))),
    "agent for another place": Viewer(OTHER, (own(OTHER), scope_claims("0614143999999"))),
    "platform": Viewer(PLATFORM, (Claims(everything=True),)),
    "maker who lets the packer speak": Viewer(
        MAKER, (own(MAKER),), (Lent(PACKER, own(MAKER), RECORD_MS + 1),)
    ),
    "maker who let the packer speak before": Viewer(
        MAKER, (own(MAKER),), (Lent(PACKER, own(MAKER), RECORD_MS),)
    ),
    "maker who lets the packer speak for other goods": Viewer(
        MAKER, (own(MAKER),), (Lent(PACKER, scope_claims("https://id.gs1.org/01/10614141000001"), 10**9),)
    ),
    "maker who lets the carrier speak": Viewer(MAKER, (own(MAKER),), (Lent(CARRIER, own(MAKER), 10**9),)),
}
IS_SHOP: Final = {"shop", "agent of the shop"}
IS_CARRIER: Final = {"carrier"}
IS_MAKER: Final = {name for name in VIEWERS if name.startswith("maker")}

# What the packer's event names, and who is a partner of it by that, beside the platform and the principal.
NAMED: Final[dict[str, tuple[dict[str, object], set[str]]]] = {
    "nobody": ({}, set()),
    "the shop as new owner": ({"destinations": (Typed(party(SHOP), "owning_party"),)}, IS_SHOP),
    "the shop as new possessor": ({"destinations": (Typed(party(SHOP), "possessing_party"),)}, IS_SHOP),
    "a place of the shop as destination": ({"destinations": (Typed(place(SHOP), "location"),)}, IS_SHOP),
    "the carrier as source": ({"sources": (Typed(party(CARRIER), "possessing_party"),)}, IS_CARRIER),
    "a source of no type": ({"sources": (Typed(party(CARRIER)),)}, IS_CARRIER),
    "the read point": ({"read_point": place(SHOP)}, IS_SHOP),
    "the business location": ({"business_location": place(CARRIER)}, IS_CARRIER),
    "one up and one down": (
        {
            "sources": (Typed(party(CARRIER), "owning_party"),),
            "destinations": (Typed(party(SHOP), "owning_party"),),
        },
        IS_SHOP | IS_CARRIER,
    ),
    "the maker as source": ({"sources": (Typed(party(MAKER), "owning_party"),)}, IS_MAKER),
}
GOODS_NAMED: Final[dict[str, tuple[dict[str, tuple[str, ...]], bool]]] = {
    "the maker's": ({"epc": (GOODS,)}, True),
    "the maker's and another's": ({"parent": (FOREIGN,), "child": (GOODS,)}, True),
    "another's": ({"output": (FOREIGN,)}, False),
    "none": ({}, False),
}
POLICIES: Final = [
    VisibilityPolicy(default, {"production": of_production} if of_production else {})
    for default in Visibility
    for of_production in (None, *Visibility)
]
CAPTURERS: Final = {"the packer": PACKER, "the maker": MAKER, "nobody": 0}


def expected(
    viewer: str, policy: VisibilityPolicy, step: str, *, named: str, goods: str, capturer: int
) -> bool:
    """The rule in words, with none of the code's own means."""
    if viewer == "auditor":
        return True
    number = {"anybody": 0, "outsider": OTHER, "platform": PLATFORM, "shop": SHOP, "carrier": CARRIER}.get(
        viewer, MAKER if viewer in IS_MAKER else OTHER
    )
    if number and number == capturer:
        return True
    circle = policy.steps["production"] if step == "production" and policy.steps else policy.default
    if circle == "public":
        return True
    if circle == "private" or viewer == "anybody":
        return False
    is_principal = (
        viewer == "maker who lets the packer speak" and capturer == PACKER and GOODS_NAMED[goods][1]
    )
    return viewer == "platform" or viewer in NAMED[named][1] or is_principal


def test_every_case_of_a_small_model_is_as_the_table_says() -> None:
    cases = 0
    for (viewer, policy, step), (named, goods, capturer) in itertools.product(
        itertools.product(VIEWERS, POLICIES, STEPS), itertools.product(NAMED, GOODS_NAMED, CAPTURERS)
    ):
        facts = Facts(
            event_id="urn:a",
            event_hash="ni:///a",
            type="ObjectEvent",
            time_us=1,
            offset="+00:00",
            pipeline="3",
            step=step,
            keys=GOODS_NAMED[goods][0],
            **NAMED[named][0],  # type: ignore[arg-type]
        )
        number = CAPTURERS[capturer]
        told = sees(VIEWERS[viewer], policy, number, facts, RECORD_MS)
        assert told == expected(viewer, policy, step, named=named, goods=goods, capturer=number), (
            viewer, policy, step, named, goods, capturer,
        )  # fmt: skip
        cases += 1
    assert cases == 13 * 12 * 3 * 10 * 4 * 3


def test_more_is_never_less() -> None:
    """Whoever sees an event under a policy sees it under every wider one."""
    wider = {Visibility.PRIVATE: 0, Visibility.PARTNERS: 1, Visibility.PUBLIC: 2}
    for (viewer, named), (a, b) in itertools.product(
        itertools.product(VIEWERS.values(), NAMED.values()), itertools.permutations(Visibility, 2)
    ):
        if wider[a] < wider[b]:
            facts = Facts("urn:a", "ni:///a", "ObjectEvent", 1, "+00:00", "3", **named[0])  # type: ignore[arg-type]
            narrow = sees(viewer, VisibilityPolicy(a), PACKER, facts, RECORD_MS)
            assert not narrow or sees(viewer, VisibilityPolicy(b), PACKER, facts, RECORD_MS)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_has_no_facts_any_more_is_for_its_merchant_alone(policy: VisibilityPolicy) -> None:
    for name, viewer in VIEWERS.items():
        mine = name in IS_MAKER or name == "auditor"
        assert sees(viewer, policy, MAKER, None, RECORD_MS) == mine


def test_the_parties_of_an_event_are_those_that_it_names() -> None:
    facts = Facts(
        "urn:a",
        "ni:///a",
        "ObjectEvent",
        1,
        "+00:00",
        "3",
        keys={"epc": (GOODS,), "sensor": ("urn:device",), "transaction": ("urn:order",)},
        sources=(Typed("urn:s", "owning_party"),),
        destinations=(Typed("urn:d"),),
        read_point="urn:r",
    )
    assert set(parties(facts)) == {"urn:s", "urn:d", "urn:r"}


@pytest.mark.parametrize(
    "content",
    [
        {"default": "nobody"},
        {"steps": {"Production": "public"}},
        {"steps": {"production": ""}},
        {"steps": {f"step-{number}": "public" for number in range(33)}},
        {"extra": 1},
        "public",
    ],
)
def test_a_policy_is_read_strictly(content: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(content, VisibilityPolicy)


def test_without_a_word_of_its_merchant_partners_see_an_event() -> None:
    assert msgspec.convert({}, VisibilityPolicy).of("production") is Visibility.PARTNERS
    told = msgspec.convert({"default": "public", "steps": {"sale": "private"}}, VisibilityPolicy)
    assert [told.of(step) for step in ("sale", "production", "")] == ["private", "public", "public"]
