"""Goods and places out of JSON and CSV: what is read, and every fault with its place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.errors import RegistryFileError
from goodstrace.registry_files import GOODS, PLACES, read_file
from services.collector.registry.contents import read_goods, read_place

GOODS_CSV = (
    "\ufeffgtin,name.en,name.de,pictures,attribute.origin\r\n"
    '10614141073464,"Tea, green",Grüntee,https://a.example/1.jpg https://a.example/2.jpg#sha256='
    + "0"
    * 64
    + ",LK\r\n"
    "614141007349,Salt,,,\r\n"
)
PLACES_CSV = (
    "gln,name.en,kind,street,postalCode,city,region,country,latitude,longitude\n"
    "4012345000009,Plant,factory,Road 1,8000,Zurich,ZH,CH,47.37,8.54\n"
)


def test_goods_come_from_csv() -> None:
    first, second = read_file(GOODS_CSV, GOODS, "goods.csv")
    assert first.place == "goods.csv: line 2"
    assert first.content == {
        "key": "https://id.gs1.org/01/10614141073464",
        "names": {"en": "Tea, green", "de": "Grüntee"},
        "pictures": [
            {"uri": "https://a.example/1.jpg"},
            {"uri": "https://a.example/2.jpg", "sha256": "0" * 64},
        ],
        "attributes": {"origin": "LK"},
    }
    assert second.content == {"key": "https://id.gs1.org/01/00614141007349", "names": {"en": "Salt"}}
    assert read_goods(second.content).key == "https://id.gs1.org/01/00614141007349"


def test_places_come_from_csv() -> None:
    (place,) = read_file(PLACES_CSV, PLACES, "p.csv")
    found = read_place(place.content)
    assert found.key == "https://id.gs1.org/414/4012345000009"
    assert found.coordinates is not None
    assert (found.coordinates.latitude, found.country, found.postal_code) == (47.37, "CH", "8000")


def test_json_holds_one_or_many() -> None:
    one = {"key": "urn:a:b", "names": {"en": "A"}, "pictures": ["https://a.example/1.jpg"]}
    (entry,) = read_file(json.dumps(one), GOODS, "g.json")
    assert entry.content["pictures"] == [{"uri": "https://a.example/1.jpg"}]
    many = read_file(json.dumps([one, {"gtin": "40123455", "names": {"en": "B"}}]), GOODS, "g.json")
    assert [each.place for each in many] == ["g.json: /0", "g.json: /1"]
    assert many[1].content["key"] == "https://id.gs1.org/01/00000040123455"


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        ("", GOODS, "g: there is nothing"),
        ("[]", GOODS, "g: there is nothing"),
        ("gtin,name.en\n", GOODS, "g: there is nothing"),
        ("{", GOODS, "g: not JSON"),
        ("[1]", GOODS, "g: /0: must be an object"),
        ('{"names": {}}', GOODS, "g: has neither key nor gtin"),
        ('{"gtin": "12", "names": {}}', GOODS, "g: gtin must be 8 or 12 or 13 or 14 digits"),
        ('{"gtin": "40123455", "key": "urn:a"}', GOODS, "g: gtin must be"),
        ('{"gln": "401234500000x"}', PLACES, "g: gln must be 13 digits"),
        ("gtin,colour\n40123455,red\n", GOODS, "g: line 2: there is no column 'colour'"),
        ("gtin,kind\n40123455,red\n", GOODS, "g: line 2: there is no column 'kind'"),
        ("gtin,gtin\n1,2\n", GOODS, "g: a column is named twice"),
        ("gtin,name.en\n40123455\n", GOODS, "g: line 2: has 1 fields where there are 2 columns"),
        ("gtin,name.en\n40123455,A,B\n", GOODS, "g: line 2: has 3 fields"),
        ('gtin,name.en\n40123455,"A\n', GOODS, "g: line 1: unexpected end"),
        ("gln,latitude\n4012345000009,north\n", PLACES, "g: line 2: latitude is no number: 'north'"),
    ],
)
def test_a_fault_names_its_place(text: str, kind: str, place: str) -> None:
    with pytest.raises(RegistryFileError) as refused:
        read_file(text, kind, "g")
    assert str(refused.value).startswith(place)


@given(
    st.text(max_size=80) | st.text("{}[],:\"\n\r'keygtin.0 ", max_size=60), st.sampled_from([GOODS, PLACES])
)
def test_any_text_is_read_or_refused(text: str, kind: str) -> None:
    try:
        found = read_file(text, kind, "g")
    except RegistryFileError:
        return
    assert all(each.content["key"] for each in found)
