"""Every kind of GS1 key and every EPC scheme to one key, however it is written; `biip` is the judge of what is well formed."""

import string

import pytest
from biip.checksums import gs1_standard_check_digit
from biip.gs1_digital_link_uris import GS1DigitalLinkURI
from biip.gtin import Gtin
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.facts import Role
from goodstrace.identifiers import Grade, canonical_key, grade
from tests.unit.collector_builders import facts_of, object_event

CSET_82 = "!\"%&'()*+,-./0123456789:;<=>?_" + string.ascii_letters
CSET_39 = "#-/" + string.digits + string.ascii_uppercase
UNRESERVED = set(string.ascii_letters + string.digits + "-._")
ALPHAS = {
    "00": "sscc", "01": "gtin", "253": "gdti", "255": "gcn", "401": "ginc", "402": "gsin", "414": "gln", "417": "party",
    "8003": "grai", "8004": "giai", "8006": "itip", "8010": "cpid", "8017": "gsrnp", "8018": "gsrn", "10": "lot", "21": "ser",
    "235": "tpx", "254": "glnx", "8011": "cpsn",
}  # fmt: skip


def digits(size: int) -> st.SearchStrategy[str]:
    return st.text(string.digits, min_size=size, max_size=size)


def checked(size: int, lead: str = "") -> st.SearchStrategy[str]:
    """Digits that end in their check digit, `size` of them in all."""
    return digits(size - len(lead) - 1).map(
        lambda body: f"{lead}{body}{gs1_standard_check_digit(lead + body)}"
    )


def text(most: int, characters: str = CSET_82, least: int = 1) -> st.SearchStrategy[str]:
    return st.text(characters, min_size=least, max_size=most)


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


GTIN = checked(14)
ITIP = joined(GTIN, st.just("0102"))
KINDS: dict[tuple[str, str], tuple[st.SearchStrategy[str], st.SearchStrategy[str], Grade]] = {
    ("00", ""): (checked(18), st.just(""), Grade.CONTAINER),
    ("01", ""): (GTIN, st.just(""), Grade.CLASS),
    ("01", "10"): (GTIN, text(20), Grade.LOT),
    ("01", "21"): (GTIN, text(20), Grade.ITEM),
    ("01", "235"): (GTIN, text(28), Grade.ITEM),
    ("253", ""): (joined(checked(13), text(17, least=0)), st.just(""), Grade.DOCUMENT),
    ("255", ""): (joined(checked(13), digits(8)), st.just(""), Grade.OTHER),
    ("401", ""): (joined(digits(7), text(20)), st.just(""), Grade.OTHER),
    ("402", ""): (checked(17), st.just(""), Grade.OTHER),
    ("414", ""): (checked(13), st.just(""), Grade.LOCATION),
    ("414", "254"): (checked(13), text(20).filter(lambda extension: extension != "0"), Grade.LOCATION),
    ("417", ""): (checked(13), st.just(""), Grade.PARTY),
    ("8003", ""): (joined(checked(14, "0"), text(16, least=0)), st.just(""), Grade.CONTAINER),
    ("8004", ""): (joined(digits(7), text(20)), st.just(""), Grade.ASSET),
    ("8006", ""): (ITIP, st.just(""), Grade.CLASS),
    ("8006", "10"): (ITIP, text(20), Grade.LOT),
    ("8006", "21"): (ITIP, text(20), Grade.ITEM),
    ("8010", ""): (joined(digits(7), text(20, CSET_39)), st.just(""), Grade.CLASS),
    ("8010", "8011"): (
        joined(digits(7), text(20, CSET_39)),
        digits(5).map(lambda serial: f"1{serial}"),
        Grade.ITEM,
    ),
    ("8017", ""): (checked(18), st.just(""), Grade.SERVICE),
    ("8018", ""): (checked(18), st.just(""), Grade.SERVICE),
}
STARTS = st.sampled_from([
    "https://id.gs1.org", "HTTPS://ID.GS1.ORG", "http://id.gs1.org:8080", "https://shop.example/en/01/goods",
    "https://Brand.Example//x%2Fy",
])  # fmt: skip
ENDS = st.sampled_from(["", "/", "?17=261231&linkType=all", "#top", "/?x"])


def escaped(value: str, *, everything: bool, small: bool) -> str:
    """Percent-encode what must be (or all), in capital or small hexadecimal digits."""
    form = "%{:02x}" if small else "%{:02X}"
    return "".join(form.format(ord(each)) if everything or each not in UNRESERVED else each for each in value)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@given(data=st.data())
def test_every_key_is_one_however_its_link_is_written(kind: tuple[str, str], data: st.DataObject) -> None:
    values, finer_values, expected = KINDS[kind]
    pairs = [(ai, data.draw(each)) for ai, each in zip(kind, (values, finer_values), strict=True) if ai]
    canonical = "https://id.gs1.org" + "".join(
        f"/{ai}/{escaped(value, everything=False, small=False)}" for ai, value in pairs
    )
    assert GS1DigitalLinkURI.parse(canonical).as_canonical_uri() == canonical
    assert canonical_key(canonical) == canonical
    assert grade(canonical) is expected
    alphas, everything, small = (data.draw(st.booleans()) for _ in range(3))
    path = "".join(
        f"/{ALPHAS[ai] if alphas else ai}/{escaped(value, everything=everything, small=small)}"
        for ai, value in pairs
    )
    assert canonical_key(data.draw(STARTS) + path + data.draw(ENDS)) == canonical


@pytest.mark.parametrize("size", [8, 12, 13, 14])
@given(data=st.data())
def test_a_gtin_of_any_size_is_the_same_gtin(size: int, data: st.DataObject) -> None:
    written = data.draw(checked(size).filter(lambda gtin: not gtin.startswith("000000")))
    fourteen = Gtin.parse(written).as_gtin_14()
    assert canonical_key(f"https://x.example/gtin/{written}") == f"https://id.gs1.org/01/{fourteen}"
    assert (
        canonical_key(f"https://x.example/01/{written.zfill(14)}/21/A")
        == f"https://id.gs1.org/01/{fourteen}/21/A"
    )


KEYS_OF_URNS = {
    "urn:epc:id:sgtin:9524321.001234.7": "01/09524321012340/21/7",
    "urn:epc:class:lgtin:9524321.001234.L1": "01/09524321012340/10/L1",
    "urn:epc:id:sscc:9524321.1000000007": "00/195243210000000078",
    "urn:epc:id:sgln:9524321.00001.0": "414/9524321000019",
    "urn:epc:id:sgln:9524321.00001.dock": "414/9524321000019/254/dock",
    "urn:epc:id:pgln:9524321.00002": "417/9524321000026",
    "urn:epc:id:grai:9524321.00003.77": "8003/0952432100003377",
    "urn:epc:id:giai:9524321.M1": "8004/9524321M1",
    "urn:epc:id:gsrn:9524321.0000000004": "8018/952432100000000042",
    "urn:epc:id:gsrnp:9524321.0000000005": "8017/952432100000000059",
    "urn:epc:id:gdti:9524321.00006.R1": "253/9524321000064R1",
    "urn:epc:id:sgcn:9524321.00007.08": "255/952432100007108",
    "urn:epc:id:cpi:9524321.AB1.42": "8010/9524321AB1/8011/42",
    "urn:epc:id:ginc:9524321.C9": "401/9524321C9",
    "urn:epc:id:gsin:9524321.000000008": "402/95243210000000088",
    "urn:epc:id:itip:9524321.001234.01.02.S1": "8006/095243210123400102/21/S1",
    "urn:epc:id:upui:9524321.001234.T1": "01/09524321012340/235/T1",
    "urn:epc:idpat:sgtin:9524321.001234.*": "01/09524321012340",
    "urn:epc:idpat:upui:9524321.001234.*": "01/09524321012340",
    "urn:epc:idpat:itip:9524321.001234.01.02.*": "8006/095243210123400102",
    "urn:epc:idpat:cpi:9524321.AB1.*": "8010/9524321AB1",
    "urn:epc:idpat:grai:9524321.00003.*": "8003/09524321000033",
    "urn:epc:idpat:gdti:9524321.00006.*": "253/9524321000064",
    "urn:epc:idpat:sgcn:9524321.00007.*": "255/9524321000071",
}


@pytest.mark.parametrize("urn", KEYS_OF_URNS)
def test_every_epc_scheme_with_a_gs1_key_has_that_key(urn: str) -> None:
    key = canonical_key(urn)
    assert key == f"https://id.gs1.org/{KEYS_OF_URNS[urn]}"
    assert GS1DigitalLinkURI.parse(key).as_canonical_uri() == key


@pytest.mark.parametrize(
    "uri",
    [
        # EPC schemes of others than GS1, and those whose pattern is not of one class
        "urn:epc:id:gid:95100000.12345.400", "urn:epc:id:usdod:2S194.12345678901", "urn:epc:id:adi:35962.PQ7VZ4.M37GXB92",
        "urn:epc:id:bic:CSQU3054383", "urn:epc:id:imovn:9176187", "urn:epc:idpat:sgtin:9524321.*.*", "urn:epc:idpat:sscc:9524321.*",
        "urn:epc:idpat:sgln:9524321.00001.*", "urn:epc:idpat:giai:9524321.*", "urn:epc:idpat:pgln:9524321.*",
        "urn:epc:tag:sgtin-96:3.9524321.001234.7", "urn:epc:raw:64.x00001234DEADBEEF",
        # compressed Digital Links, and application identifiers that are not read
        "https://id.gs1.org/ARHKVAdpQg", "https://dlnkd.example/DBHKVAdpQgqrLhtv", "https://x.example/8013/9524321GMN1Q",
        "https://x.example/8018/952432100000000042/8019/3", "https://x.example/414/9524321000019/7040/1ABC",
        "https://x.example/415/9524321000019/8020/REF", "https://x.example/GTIN/09524321012340",
        # what is no GS1 identifier at all
        "https://example.org/parcels/42?x=1", "urn:uuid:3699c0f4-c4f8-4b29-9c4c-ce2b8e84932d", "did:web:example.org", "tag:x,2026:y",
        "HTTPS://Example.ORG/Keep/My/Case",
    ],
)  # fmt: skip
def test_other_uris_are_kept_as_they_are(uri: str) -> None:
    assert canonical_key(uri) == uri


def test_units_and_offsets_are_kept_as_written() -> None:
    facts = facts_of(
        object_event(
            eventTime="2026-01-02T05:04:05.678+02:00",
            eventTimeZoneOffset="-03:30",
            quantityList=[{"epcClass": "urn:epc:idpat:sgtin:9524321.001234.*", "quantity": 1.50, "uom": "KGM"},
                          {"epcClass": "urn:epc:idpat:sgtin:9524321.001234.*", "quantity": 3, "uom": "XPX"}],
        )
    )  # fmt: skip
    assert [(each.quantity, each.unit) for each in facts.quantities[Role.CLASS]] == [
        ("1.5", "KGM"),
        ("3", "XPX"),
    ]
    assert (facts.time_us, facts.offset) == (1_767_323_045_678_000, "-03:30")
