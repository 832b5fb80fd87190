"""Forms of merchants: what is registered, what is said beside a field, whose accounts, and forms of other sites."""

import re
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query.web.merchant import registering
from services.query.web.merchant.registry import MAX_FORM_BYTES
from services.query.web.neighbours import NeighbourAwayError
from services.runtime.access.values import EVERYBODY, NOBODY
from tests.merchant_world import FARM, MerchantWorld, person
from tests.unit.test_web_pages import PAYLOAD, assert_harmless, client
from tests.web_world import SHOPPER

GTIN = "07038011002013"
KEY = f"https://id.gs1.org/01/{GTIN}"
GLN = "7038011000019"
FORMS = ("/merchant/goods/new", "/merchant/places/new", "/merchant/staff")
SUM = "a" * 64


@pytest.fixture
def world() -> MerchantWorld:
    return MerchantWorld()


async def filled(world: MerchantWorld, path: str, headers: Any = None, **fields: str) -> httpx.Response:
    """Open a form, fill it in and send it."""
    async with client(world) as asking:
        page = await asking.get(path)
        token = re.search(r'name="csrf" value="(\w+)"', page.text)
        assert token, page.text
        assert "content-encoding" not in page.headers  # a secret beside what others write
        return await asking.post(path, data={"csrf": token[1], **fields}, headers=headers or {})


async def test_goods_are_registered_with_the_token_of_who_is_signed_in(world: MerchantWorld) -> None:
    fields = {
        "key": GTIN,
        "name_en": "Salmon",
        "name_zh_hans": "三文鱼",
        "names_more": "de=Lachs\nfr=Saumon",
        "picture_1": "https://pictures.example/1.jpg",
        "sha256_1": SUM.upper(),
        "attributes": "origin=NO\nallergen=fish",
    }
    answer = await filled(world, "/merchant/goods/new", {"Authorization": "Bearer access-1"}, **fields)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith("/merchant/goods/new?done=")
    assert world.registry.tokens[-1] == "access-1"
    assert world.registry.rows["goods", KEY] == {
        "key": KEY,
        "names": {"en": "Salmon", "zh-Hans": "三文鱼", "de": "Lachs", "fr": "Saumon"},
        "pictures": [{"uri": "https://pictures.example/1.jpg", "sha256": SUM}],
        "attributes": {"origin": "NO", "allergen": "fish"},
    }
    async with client(world) as asking:
        assert f"(01) {GTIN}" in (await asking.get(answer.headers["location"])).text
        again = (await asking.get(f"/merchant/goods/new?key={GTIN}")).text
    for text in ("Salmon", "三文鱼", "de=Lachs", SUM, "allergen=fish"):
        assert text in again


async def test_places_are_registered_and_listed(world: MerchantWorld) -> None:
    fields = {
        "key": GLN,
        "name_en": "Works",
        "kind": "works",
        "street": "Kaien 1",
        "postal_code": "8006",
        "city": "Bodø",
        "region": "Nordland",
        "country": "no",
        "latitude": "67.28",
        "longitude": "14.40",
    }
    answer = await filled(world, "/merchant/places/new", **fields)
    assert answer.status_code == 303, answer.text
    [content] = world.registry.rows.values()
    assert content["key"] == f"https://id.gs1.org/414/{GLN}"
    assert (content["country"], content["coordinates"]) == ("NO", {"latitude": 67.28, "longitude": 14.4})
    async with client(world) as asking:
        page = (await asking.get("/merchant/places")).text
        assert "Kaien 1 8006 Bodø Nordland NO" in page
        form = re.search(r'href="(/merchant/places/new\?key=[^"]+)"', page)
        assert form
        again = (await asking.get(form[1])).text
    assert 'value="67.28"' in again


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/merchant/goods/new", "key", "07038011002014"),
        ("/merchant/goods/new", "key", ""),
        ("/merchant/goods/new", "name_en", "  "),
        ("/merchant/goods/new", "name_en", "x" * 201),
        ("/merchant/goods/new", "names_more", "Lachs"),
        ("/merchant/goods/new", "names_more", "not a language=x"),
        ("/merchant/goods/new", "picture_1", "javascript:alert(1)"),
        ("/merchant/goods/new", "sha256_1", "abc"),
        ("/merchant/goods/new", "attributes", "a=1\na=2"),
        ("/merchant/places/new", "key", "7038011000010"),
        ("/merchant/places/new", "country", "Norway"),
        ("/merchant/places/new", "latitude", "91"),
        ("/merchant/places/new", "longitude", "nan"),
        ("/merchant/places/new", "street", "x" * 201),
    ],
)
async def test_what_is_wrong_stands_beside_its_field(
    world: MerchantWorld, path: str, field: str, value: str
) -> None:
    good = {"key": GTIN if "goods" in path else GLN, "name_en": "Salmon", "latitude": "1", "longitude": "1"}
    good |= {"picture_1": "https://a.example/1", "sha256_1": SUM} if "goods" in path else {}
    answer = await filled(world, path, **{**good, field: value})
    assert answer.status_code == 400
    assert f'id="{field}-fault"' in answer.text
    assert re.search(rf'id="{field}"[^>]* aria-invalid="true"[^>]*{field}-fault', answer.text)
    assert answer.text.count('class="fault"') == 1
    assert world.registry.rows == {}


async def test_keys_of_others_and_a_registry_that_is_away_are_told(world: MerchantWorld) -> None:
    foreign = await filled(world, "/merchant/goods/new", key="07038010001017", name_en="Salmon")
    assert foreign.status_code == 403
    assert "not your company" in foreign.text
    assert 'value="Salmon"' in foreign.text  # nothing has to be typed again
    async with client(world) as asking:
        token = re.search(r'value="(\w{64})"', (await asking.get("/merchant/goods/new")).text)
        assert token
        world.registry.fails_with = NeighbourAwayError("away")
        answer = await asking.post(
            "/merchant/goods/new", data={"csrf": token[1], "key": GTIN, "name_en": "x"}
        )
    assert answer.status_code == 503


async def test_people_are_made_disabled_and_given_a_new_password(world: MerchantWorld) -> None:
    made = await filled(world, "/merchant/staff", action="create", name="carl")
    assert (made.status_code, "three quiet owls" in made.text) == (200, True)
    assert made.headers["cache-control"] == "no-store"
    [request] = world.people.asked
    assert not request.account.roles
    async with client(world) as asking:
        assert "three quiet owls" not in (await asking.get("/merchant/staff")).text
    taken = await filled(world, "/merchant/staff", action="create", name="bea")
    assert (taken.status_code, 'id="name-fault"' in taken.text) == (409, True)
    wrong = await filled(world, "/merchant/staff", action="create", name=PAYLOAD)
    assert (wrong.status_code, 'id="name-fault"' in wrong.text) == (400, True)
    assert_harmless(wrong.text)
    done = await filled(world, "/merchant/staff", action="disable", name="bea")
    assert (done.status_code, done.headers["location"]) == (303, "/merchant/staff")
    assert world.people.accounts["bea"].status == "disabled"
    await filled(world, "/merchant/staff", action="enable", name="bea")
    assert world.people.accounts["bea"].status == "active"
    reset = await filled(world, "/merchant/staff", action="reset", name="bea")
    assert "five loud hens" in reset.text
    assert (await filled(world, "/merchant/staff", action="own", name="bea")).status_code == 400
    world.who = person(FARM)
    async with client(world) as asking:
        # As a word: a token against forgery is hexadecimal.
        assert re.search(r"\bbea\b", (await asking.get("/merchant/staff")).text) is None


@pytest.mark.parametrize("path", FORMS)
async def test_forms_of_other_sites_and_of_nobody_are_refused(world: MerchantWorld, path: str) -> None:
    fields = {"key": GTIN, "name_en": "x", "action": "create", "name": "eve"}
    for wrong in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ):
        assert (await filled(world, path, wrong, **fields)).status_code == 403
    async with client(world) as asking:
        assert (await asking.post(path, data=fields)).status_code == 403
        await asking.get(path)
        assert (await asking.post(path, data={**fields, "csrf": "0" * 64})).status_code == 403
        huge = {**fields, "x": "y" * (MAX_FORM_BYTES + 1)}
        assert (await asking.post(path, data=huge)).status_code == 400
        for who, status in ((NOBODY, 401), (SHOPPER, 403), (EVERYBODY, 403)):
            world.who = who
            assert (await asking.get(path)).status_code == status
            assert (await asking.post(path, data=fields)).status_code == status
    assert world.registry.rows == {}
    assert "eve" not in world.people.accounts


@pytest.mark.parametrize("path", FORMS[:2])
async def test_markup_in_forms_is_text(world: MerchantWorld, path: str) -> None:
    names = ("key", "name_en", "names_more", "picture_1", "attributes", "street", "kind", "country")
    answer = await filled(world, path, **dict.fromkeys(names, PAYLOAD))
    assert answer.status_code == 400
    assert answer.text.count("&lt;script&gt;") >= 4
    assert_harmless(answer.text)
    async with client(world) as asking:
        for query in ("done", "key"):
            page = await asking.get(path, params={query: f"urn:x:{PAYLOAD}"})
            assert page.status_code == 200
            assert_harmless(page.text)
        assert_harmless((await asking.get(path, params={"done": "//evil.example"})).text)


def test_limits_of_temperature_that_the_registry_would_refuse_are_said_to_be_wrong() -> None:
    typed = {"key": GTIN, "name_en": "Tea", "attributes": "origin=LK\nmaximumTemperature=46.4"}
    assert registering.read_goods(typed)[1] == {}
    for more in ("\nminimumTemperature=-25 C", "\nmaximumTemperatureUnit=FAH"):
        _, faults = registering.read_goods({**typed, "attributes": typed["attributes"] + more})
        assert faults == {"attributes": "celsius"}


TEXT = st.text(max_size=60)
LINES = st.dictionaries(
    st.text("abcxyz-", min_size=1, max_size=8), st.text("0aä=三 ", min_size=1, max_size=20).map(str.strip).filter(bool), max_size=4
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["key", "name_en", "names_more", "picture_1", "sha256_1", "attributes", "country", "latitude", "longitude", "street"]), TEXT))  # fmt: skip
def test_whatever_is_typed_is_read_or_said_to_be_wrong(fields: dict[str, str]) -> None:
    for read in (registering.read_goods, registering.read_place):
        content, faults = read(fields)
        assert faults or content["names"]
        assert all(re.fullmatch(r"[a-z_0-9]+", name) for name in faults)


@given(LINES, st.text("abc 三文鱼", min_size=1, max_size=50).map(str.strip).filter(bool))
def test_a_form_that_is_filled_with_what_is_registered_says_the_same(
    attributes: dict[str, str], name: str
) -> None:
    typed: dict[str, Any] = {
        "key": GTIN,
        "name_zh_hant": name,
        "attributes": "\n".join(f"{each}={value}" for each, value in attributes.items()),
    }
    content, faults = registering.read_goods(typed)
    assert not faults
    assert registering.read_goods(registering.goods_fields(content)) == (content, {})
    assert content["key"] == KEY
