"""Element strings without brackets: to the key that the same elements have as a Digital Link, and to nothing where they are malformed."""

from urllib.parse import quote

import pytest
from biip.gs1_messages import GS1Message
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.asked_keys import is_gs1, key_asked
from goodstrace.element_strings import FNC1, SYMBOLOGIES, is_marked, key_of_brackets, key_of_scan
from goodstrace.identifiers import canonical_key
from services.query.web.asking import page_of
from tests.unit.test_identifier_kinds import KINDS

GTIN = "09521234543213"
CLASS = f"https://id.gs1.org/01/{GTIN}"
SSCC = "https://id.gs1.org/00/106141412345678908"
SIDE = (
    "17261231",
    f"10SIDE{FNC1}",
    "3103001750",
    f"3922199{FNC1}",
    f"710x{FNC1}",
    f"98 in-house{FNC1}",
    f"02095212345432133724{FNC1}",
)
"""Elements that are no part of most keys: dates, weights, prices, content."""

KIND = st.sampled_from(sorted(KINDS)).flatmap(lambda kind: st.tuples(st.just(kind), *KINDS[kind][:2]))


@pytest.mark.parametrize(
    ("scanned", "key"),
    [
        (f"]d201{GTIN}1726123110A{FNC1}211", f"{CLASS}/21/1"),
        (f"{FNC1}01{GTIN}10A/1", f"{CLASS}/10/A%2F1"),
        (f"]Q3{FNC1}01{GTIN}10A{FNC1}", f"{CLASS}/10/A"),
        (f"]d21726123101{GTIN}", CLASS),
        (f"01{GTIN}211", f"{CLASS}/21/1"),  # as people read it under the code
        ("00106141412345678908", SSCC),
        (f"]C10010614141234567890802{GTIN}3724{FNC1}10LOT", SSCC),  # the lot is that of the content
        (f"]C14149521234543213{FNC1}254x/1", "https://id.gs1.org/414/9521234543213/254/x%2F1"),
        ("]e04149521234543213254x", "https://id.gs1.org/414/9521234543213/254/x"),
        (f"{FNC1}8006{GTIN}0102{FNC1}21x", f"https://id.gs1.org/8006/{GTIN}0102/21/x"),
        (f"8010952123ABC{FNC1}801112", "https://id.gs1.org/8010/952123ABC/8011/12"),
        (f"]d201{GTIN}211{FNC1}211", f"{CLASS}/21/1"),
    ],
)
def test_what_scanners_send_is_found(scanned: str, key: str) -> None:
    assert key_of_scan(scanned) == key
    assert key_asked(f" {scanned}\r\n") == key


@pytest.mark.parametrize(
    "scanned",
    [
        "]d2",
        f"]d2{FNC1}",
        f"]d2{FNC1}{FNC1}01{GTIN}",
        f"]d201{GTIN[:-1]}0",  # its check digit
        f"]d201{GTIN[:-1]}",
        f"]d201{GTIN}21",
        f"]d201{GTIN}21{'x' * 21}",
        f"]d201{GTIN}21{FNC1}10A",
        f"]d201{GTIN}1726{FNC1}211",
        f"]d201{GTIN}211{FNC1}212",  # two serials
        f"]d201{GTIN}18x",  # of nothing
        f"]d201{GTIN}2",
        f"]d201{GTIN}21中",
        f"]d201{GTIN}21a\nb",
        "]d217261231",  # no key
        "]d2https://id.gs1.org/01/09521234543213",
        f"]C110A{FNC1}" * 50,
        f"]d2{'01' + GTIN}" + "17261231" * 41,
    ],
)
def test_what_is_malformed_is_no_key_and_no_error(scanned: str) -> None:
    assert key_of_scan(scanned) is None
    assert not is_gs1(key_asked(scanned) or "")


@pytest.mark.parametrize(
    "typed", ["4019521234567890", "414952123454321", "10ABC", "order 0109521234543213", "2109521234543213"]
)
def test_numbers_of_orders_are_no_element_strings(typed: str) -> None:
    assert key_asked(typed) == typed


@given(KIND, st.lists(st.sampled_from(SIDE), max_size=3), st.sampled_from(SYMBOLOGIES), st.booleans())
def test_an_element_string_has_the_key_of_its_digital_link(
    found: tuple[tuple[str, str], str, str], side: list[str], symbology: str, is_before: bool
) -> None:
    (ai, finer_ai), value, finer = found
    if ai in ("01", "8006"):  # whose lot it would be
        side = [each for each in side if not each.startswith("10")]
    link = f"https://shop.example/{ai}/{quote(value, safe='')}"
    elements = f"{ai}{value}{FNC1}"
    if finer_ai:
        link += f"/{finer_ai}/{quote(finer, safe='')}"
        elements += f"{finer_ai}{finer}{FNC1}"
    text = "".join((*side, elements)) if is_before else "".join((elements, *side))
    assert key_of_scan(symbology + text) == canonical_key(link)
    assert key_of_scan(symbology + text.removesuffix(FNC1)) == canonical_key(link)


@given(
    st.dictionaries(
        st.sampled_from(("10", "21", "240", "98")), st.from_regex("[A-Za-z0-9]{1,20}", fullmatch=True)
    )
)
def test_biip_takes_them_apart_in_the_same_way(values: dict[str, str]) -> None:
    text = f"01{GTIN}17261231" + FNC1.join(ai + value for ai, value in values.items())
    read = GS1Message.parse(text)
    assert key_of_scan(text) == key_of_brackets(read.as_hri())
    assert (key_of_scan(text) or "").endswith(f"/21/{values['21']}" if "21" in values else "")


@given(
    st.one_of(st.text(max_size=60), st.text(f"0123456789A(){FNC1}]dC1", max_size=60)),
    st.sampled_from(("", *SYMBOLOGIES, FNC1, f"01{GTIN}")),
)
def test_no_text_is_an_error(text: str, before: str) -> None:
    key = key_of_scan(before + text)
    assert key is None or (is_gs1(key) and canonical_key(key) == key)
    asked = key_asked(before + text)
    if asked is not None:
        assert page_of(asked).isascii()
    if is_marked(before + text):
        assert asked is None or is_gs1(asked) == (key is not None)


def test_brackets_and_none_have_the_same_key() -> None:
    assert key_of_brackets(f"(17)261231(01){GTIN}(10)A(21) 1 ") == f"{CLASS}/21/1"
    assert key_of_brackets("(10)A") is None
    assert key_of_brackets(f"(01){GTIN}(10)中") is None
