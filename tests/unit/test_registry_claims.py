"""Which keys lie under which claims."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.claims import Claims, is_under, is_within, levels_of
from goodstrace.company import company_digits
from goodstrace.identifiers import canonical_key
from services.collector.registry.claims import (
    Policy,
    Speech,
    delegated,
    overlap,
)
from services.collector.registry.values import Delegation, Merchant, Status

COMPANY = "0614141"
UNDER = [
    "urn:epc:id:sgtin:0614141.107346.2017",
    "urn:epc:class:lgtin:0614141.107346.L1",
    "urn:epc:idpat:sgtin:0614141.107346.*",
    "https://example.com/01/10614141073464/21/2017",
    "https://id.gs1.org/01/614141000012",
    "urn:epc:id:sscc:0614141.1234567890",
    "urn:epc:id:sgln:0614141.07346.0",
    "urn:epc:id:pgln:0614141.07346",
    "urn:epc:id:grai:0614141.12345.400",
    "urn:epc:id:giai:0614141.12345400",
    "urn:epc:id:gdti:0614141.12345.400",
    "urn:epc:id:gsrn:0614141.1234567890",
    "urn:epc:id:itip:0614141.107346.01.02.2017",
    "urn:epc:id:cpi:0614141.123ABC.1",
    "urn:epc:id:sgcn:0614141.12345.1",
    "urn:epc:id:gsin:0614141.123456789",
    "urn:epc:id:ginc:0614141.xyz3311cba",
    "urn:epc:id:sgtin:0614141.10x.1",  # malformed, and names its company nevertheless
]


@pytest.mark.parametrize("uri", UNDER)
def test_every_gs1_key_is_found_under_its_company_prefix(uri: str) -> None:
    key = canonical_key(uri)
    assert Claims(prefixes=(COMPANY,)).cover(key)
    assert Claims(prefixes=("0614",)).cover(key)
    assert not Claims(prefixes=("0614142", "614141", "1061")).cover(key)
    assert not Claims().cover(key)
    assert not Speech(Policy.ORIGIN).may_name(key)


def test_a_gln_and_a_single_gtin_can_be_claimed_alone() -> None:
    gln, gtin = canonical_key("urn:epc:id:sgln:0614141.07346.0"), "https://id.gs1.org/01/10614141073464"
    assert Claims(glns=(gln[-13:],)).cover(gln)
    assert not Claims(glns=(gln[-13:],)).cover(gtin)
    assert Claims(uris=(gtin,)).cover(f"{gtin}/21/2017")
    assert not Claims(uris=(gtin,)).cover("https://id.gs1.org/01/10614141073471")


@given(st.text("ab:/#.?=", min_size=1, max_size=8), st.text("ab:/#.?=", max_size=8))
def test_what_is_under_a_uri_has_it_among_its_levels(uri: str, rest: str) -> None:
    for key in (uri + rest, rest + uri):
        assert is_under(key, uri) == (uri in set(levels_of(key)))


def test_a_level_ends_where_it_ends() -> None:
    assert is_under("urn:a:b", "urn:a:b")
    assert is_under("urn:a:b:c", "urn:a:b")
    assert not is_under("urn:a:bc", "urn:a:b")
    assert not is_under("urn:a", "urn:a:b")


def test_only_what_is_the_givers_and_not_over_is_delegated() -> None:
    giver = Merchant(
        "Ann",
        status=Status.ACTIVE,
        prefixes=(COMPANY,),
        uris=("urn:a:",),
        delegations=(
            Delegation(2, "06141412", 10),
            Delegation(2, "0999999", 10),
            Delegation(2, "urn:a:b", 5),
            Delegation(2, "0614141073467", 10),
        ),
    )
    at_4 = delegated(giver, giver.delegations, 4)
    assert at_4 == [
        Claims(prefixes=("06141412",)),
        Claims(uris=("urn:a:b",)),
        Claims(glns=("0614141073467",)),
    ]
    assert len(delegated(giver, giver.delegations, 5)) == 2
    assert delegated(giver, giver.delegations, 10) == []
    assert is_within("0999999", Claims(everything=True))


def test_no_two_merchants_may_hold_the_same() -> None:
    ann = Merchant("Ann", prefixes=(COMPANY,), glns=("4012345000009",), uris=("urn:a:b",))
    for prefixes, glns, uris, shared in (
        (("061",), (), (), COMPANY),
        (("06141415",), (), (), COMPANY),
        ((), ("0614141073467",), (), COMPANY),
        ((), ("4012345000009",), (), "4012345000009"),
        (("4012345",), (), (), "4012345000009"),
        ((), (), ("urn:a:",), "urn:a:b"),
        ((), (), ("urn:a:b:c",), "urn:a:b"),
        (("0614142",), ("4012345000016",), ("urn:a:bc",), None),
    ):
        assert overlap(ann, Merchant("Bo", prefixes=prefixes, glns=glns, uris=uris)) == shared
    assert overlap(ann, Merchant("all", everything=True)) is None


@given(st.text(max_size=40))
def test_any_text_has_its_company_or_none(text: str) -> None:
    digits, gln = company_digits(canonical_key(text))
    assert gln == "" or gln in digits
