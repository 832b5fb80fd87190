import re
import string
from urllib.parse import unquote

import pytest
from biip.gs1_digital_link_uris import GS1DigitalLinkURI
from hypothesis import assume, given
from hypothesis import strategies as st

from goodstrace.identifiers import Grade, Named, canonical_key, class_of, grade, hash_form, lot_of, named
from tests.vector_files import vectors

ROWS = vectors("identifiers")["rows"]

CSET_82 = "!\"%&'()*+,-./0123456789:;<=>?_" + string.ascii_letters
SERIALS = st.text(CSET_82, min_size=1, max_size=20)
GTINS = st.builds(
    lambda company, item: (company, item[: 13 - len(company)]),
    st.text("0123456789", min_size=6, max_size=12),
    st.text("0123456789", min_size=13, max_size=13),
)


IN_URNS = re.compile(r"(?:%[0-9A-Fa-f]{2}|[!'()*+,\-.0-9:;=A-Z_a-z])+")
"""What a serial in a URN may be written with, a character at a time as the standard says it (EPC Tag Data Standard, GS3A3Char)."""


def in_urn(value: str) -> str:
    return "".join(f"%{ord(char):02x}" if char in '"%&/<>?' else char for char in value)


def in_link(value: str) -> str:
    return "".join(char if char.isalnum() else f"%{ord(char):02x}" for char in value)


def gtin14(company: str, item: str) -> str:
    digits = item[0] + company + item[1:]
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(digits))
    return digits + str(-total % 10)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["uri"])
def test_published_vectors(row: dict[str, str]) -> None:
    key = canonical_key(row["uri"])
    assert key == row["key"]
    assert canonical_key(key) == key
    assert grade(row["uri"]) == grade(key) == row["grade"]
    assert lot_of(row["uri"]) == row.get("lot")
    assert class_of(row["uri"]) == class_of(key) == row.get("class")


def test_published_vectors_show_every_grade() -> None:
    assert len(ROWS) >= 60
    assert {row["grade"] for row in ROWS} == set(Grade)


@pytest.mark.parametrize(
    "key", sorted({row["key"] for row in ROWS if row["grade"] != "other" and "gs1" in row["key"]})
)
def test_biip_writes_the_same_canonical_link(key: str) -> None:
    assert GS1DigitalLinkURI.parse(key).as_canonical_uri() == key


@given(st.text())
def test_any_text_has_a_key_that_is_its_own_key(text: str) -> None:
    key = canonical_key(text)
    assert canonical_key(key) == key
    assert grade(text) in Grade
    assert hash_form(hash_form(text)) == hash_form(text)
    lot_of(text)
    class_of(text)


PIECES = st.sampled_from([
    "urn:epc:id:", "urn:epc:idpat:", "urn:epc:class:", "sgtin:", "lgtin:", "sgln:", "cpi:", "grai:", "itip:", "giai:",
    "https://id.gs1.org", "http://x.example", "/01/", "/10/", "/21/", "/22/", "/235/", "/414/", "/254/", "/8010/",
    "/8003/", "/8004/", "/gtin/", "/", ".", "0", "*", "%2F", "%2", "%ff", "%00", "?", "#", "9524321", "001234",
    "09524321012340", "9524321000019", "0614141.12345", "é", "\ud800", "\n", "~", "²",
])  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("".join))
def test_what_looks_like_an_identifier_never_raises_and_settles_at_once(text: str) -> None:
    key = canonical_key(text)
    assert canonical_key(key) == key
    assert grade(text) == grade(key)
    lot, item_class = lot_of(text), class_of(text)
    assert named(text) == Named(key, grade(text), lot or "")
    assert lot is None or (canonical_key(lot), grade(lot)) == (lot, Grade.LOT)
    assert item_class is None or grade(item_class) == Grade.CLASS


@given(GTINS, SERIALS, SERIALS, st.sampled_from(["https://id.gs1.org", "http://shop.example/a/01/b"]))
def test_urn_and_digital_link_of_a_serial_agree(
    gtin: tuple[str, str], serial: str, lot: str, start: str
) -> None:
    company, item = gtin
    key = canonical_key(f"urn:epc:id:sgtin:{company}.{item}.{in_urn(serial)}")
    link = f"{start}/01/{gtin14(company, item)}/10/{in_link(lot)}/21/{in_link(serial)}?x=1"
    assert canonical_key(link) == key
    assert grade(key) is Grade.ITEM
    lot_key = canonical_key(f"urn:epc:class:lgtin:{company}.{item}.{in_urn(lot)}")
    assert lot_of(link) == lot_key
    assert lot_of(key) is None
    assert class_of(key) == class_of(lot_key) == canonical_key(f"urn:epc:idpat:sgtin:{company}.{item}.*")


@given(GTINS, SERIALS, SERIALS)
def test_different_serials_have_different_keys(gtin: tuple[str, str], one: str, other: str) -> None:
    assume(one != other)
    start = f"urn:epc:id:sgtin:{gtin[0]}.{gtin[1]}."
    assert canonical_key(start + in_urn(one)) != canonical_key(start + in_urn(other))


@given(GTINS, st.integers(1, 9))
def test_a_wrong_check_digit_is_no_gs1_identifier(gtin: tuple[str, str], off: int) -> None:
    right = gtin14(*gtin)
    uri = f"https://id.gs1.org/01/{right[:-1]}{(int(right[-1]) + off) % 10}/21/A?x=1"
    assert canonical_key(uri) == uri
    assert grade(uri) is Grade.OTHER
    assert hash_form(uri) == uri.removesuffix("?x=1")


def test_a_path_of_many_identifiers_is_read_from_its_end_only() -> None:
    assert grade("https://x.example" + "/01/09524321012340" * 50_000) is Grade.CLASS


def test_the_event_hash_keeps_the_extension_zero_of_a_digital_link() -> None:
    uri = "https://id.gs1.org/414/9524321000019/254/0"
    assert hash_form(uri) == uri
    assert canonical_key(uri) == "https://id.gs1.org/414/9524321000019"
    assert hash_form("urn:epc:id:sgln:9524321.00001.0") == "https://id.gs1.org/414/9524321000019"


@given(st.text("aZ09%%%%2f4/*.-_ é", max_size=24))
def test_a_serial_in_a_urn_is_one_by_what_each_of_its_characters_is(text: str) -> None:
    uri = f"urn:epc:id:sgtin:0614141.112345.{text}"
    serial = unquote(text)
    well_formed = IN_URNS.fullmatch(text) is not None and set(serial) <= set(CSET_82)
    assert (canonical_key(uri) != uri) == (well_formed and 1 <= len(serial) <= 20)
