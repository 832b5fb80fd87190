"""`/registry/v1`: who may register what, what is sealed, what is told."""

import asyncio
import json
from typing import Any

import pytest

from goodstrace import entry
from goodstrace.entry import Kind, TagKind
from services.collector.flow import StageName
from services.collector.registry import registrations
from services.collector.registry.under_way import LASTS_MS
from services.runtime import envelope
from services.runtime.errors import UnavailableError
from services.runtime.merchants.values import What
from services.sealing.entries import check
from tests.unit.collector_builders import NOW_MS, SECRET, document, items_of, object_event, run_all
from tests.unit.registry_builders import registry

GTIN = "https://id.gs1.org/01/10614141073464"
GOODS = {
    "key": "https://shop.example/01/10614141073464",
    "names": {"en": "Tea", "de-CH": "Tee"},
    "pictures": [{"uri": "https://shop.example/tea.jpg", "sha256": "0" * 64}],
    "attributes": {"origin": "LK"},
}
PLACE = {
    "key": "urn:epc:id:sgln:0614141.07346.0",
    "names": {"en": "Plant"},
    "kind": "plant",
    "street": "Road 1",
    "postalCode": "8000",
    "city": "Zurich",
    "country": "CH",
    "coordinates": {"latitude": 47.37, "longitude": 8.54},
}


async def test_only_the_operator_registers_merchants_and_makes_keys() -> None:
    async with registry() as here:
        number, key = await here.merchant()
        for headers, status in (
            ({}, 401),
            ({"authorization": f"Bearer {key}"}, 403),
            ({"authorization": "Bearer operator-tokem"}, 401),
        ):
            for method, path in (
                ("POST", "merchants"),
                ("GET", "merchants"),
                ("PATCH", f"merchants/{number}"),
                ("POST", f"merchants/{number}/keys"),
            ):
                answer = await here.http.request(method, f"/registry/v1/{path}", headers=headers, json={})
                assert answer.status_code == status, (method, path)
                assert answer.headers["content-type"] == "application/problem+json"
        here.authenticator._operator_token = b""
        assert (await here.operate("GET", "merchants")).status_code == 401
        nothing = {"authorization": "Bearer "}
        assert (await here.http.get("/registry/v1/merchants", headers=nothing)).status_code == 401


async def test_a_merchant_sees_itself_and_no_other_one() -> None:
    async with registry() as here:
        number, key = await here.merchant(prefixes=["0614141"])
        other, _ = await here.merchant(name="Bo")
        headers = {"authorization": f"Bearer {key}"}
        me = (await here.http.get("/registry/v1/me", headers=headers)).json()
        assert me["content"] == {"name": "Ann", "prefixes": ["0614141"]}
        assert (await here.http.get(f"/registry/v1/merchants/{number}", headers=headers)).json() == me
        for path in (f"merchants/{other}", f"merchants/{other}/keys"):
            assert (await here.http.get(f"/registry/v1/{path}", headers=headers)).status_code == 403
        rows = (await here.operate("GET", "merchants?limit=1")).json()["merchants"]
        assert [row["merchant"] for row in rows] == [number]
        rows = (await here.operate("GET", f"merchants?after={number}")).json()["merchants"]
        assert [row["content"]["name"] for row in rows] == ["Bo"]


async def test_a_key_is_told_once_and_only_its_digest_is_kept() -> None:
    async with registry() as here:
        number, key = await here.merchant()
        listed = (await here.operate("GET", f"merchants/{number}/keys")).json()["keys"]
        assert [each["id"] for each in listed] == [key.split("_")[1]]
        assert key.split("_", 2)[2] not in json.dumps(listed)
        assert key.split("_", 2)[2].encode() not in b"".join(
            value for writes in here.kafka.transactions for write in writes for value in write.values
        )
        (kept,) = here.store.rows.values()
        assert len(kept.digest) == 32
        mine = {"authorization": f"Bearer {key}"}
        gone = await here.http.delete(f"/registry/v1/merchants/{number}/keys/{kept.id}", headers=mine)
        assert gone.status_code == 204
        assert (await here.http.get("/registry/v1/me", headers=mine)).status_code == 401
        assert (await here.operate("DELETE", f"merchants/{number}/keys/{'0' * 16}")).status_code == 404
        assert (await here.operate("POST", "merchants/99/keys")).status_code == 404


async def test_what_is_registered_is_sealed_and_its_document_follows() -> None:
    async with registry() as here:
        number, key = await here.merchant(prefixes=["0614141"])
        headers = {"authorization": f"Bearer {key}"}
        for kind, content, wanted in (
            ("goods", GOODS, GTIN),
            ("places", PLACE, "https://id.gs1.org/414/0614141073467"),
        ):
            put = await here.http.put(f"/registry/v1/{kind}", json=content, headers=headers)
            assert put.status_code == 200, put.text
            assert put.json()["key"] == wanted
            assert put.json()["content"] == {**content, "key": wanted}
            shown = await here.http.get(
                f"/registry/v1/{kind}", params={"key": str(content["key"])}, headers=headers
            )
            assert shown.json() == put.json()
            again = await here.http.put(f"/registry/v1/{kind}", json=content, headers=headers)
            assert again.json()["recordID"] == put.json()["recordID"]
        values = here.kafka.values("goods.collected")
    output = run_all(values)
    assert not output.rejected
    assert len(items_of(output)) == 3
    for item, name in zip(items_of(output), ("merchant", "goods", "place"), strict=True):
        sealed = check(item.record)
        assert (sealed.kind, sealed.merchant) == (Kind.REGISTRATION, number)
        found = registrations.registered(item.record)
        assert found.registration.what == name
        assert item.record.tags == (entry.tag(SECRET, TagKind.REGISTRATION, found.registration.key),)
    assert run_all(values).passed == output.passed
    again = registrations.changes(envelope.decode(each) for each in output.passed[StageName.STORE])
    assert {
        (what, own): change["$max"]["registered"]
        for what, told in again.items()
        for own, change in told.items()
    } == here.store.documents


async def test_the_newest_registration_counts_whatever_the_order_also_when_it_says_what_an_earlier_one_did() -> (
    None
):
    async with registry() as here:
        number, _ = await here.merchant(prefixes=["0614141"])
        for status in ("suspended", "active", "suspended"):
            answer = await here.operate("PATCH", f"merchants/{number}", json={"status": status})
            assert answer.status_code == 200
        output = run_all(here.kafka.values("goods.collected"))
    assert len(items_of(output)) == 4  # none is a duplicate of the one with the same content before
    records = [item.record for item in items_of(output)]
    for order in (records, records[::-1], records[2:] + records[:2]):
        told = registrations.changes(order)[What.MERCHANT][number]["$max"]["registered"]
        assert told["content"]["status"] == "suspended"
        assert told["time_ms"] == NOW_MS + 3


async def test_a_merchant_registers_only_what_is_its_own() -> None:
    async with registry() as here:
        _, key = await here.merchant(prefixes=["0999999"])
        headers = {"authorization": f"Bearer {key}"}
        for content in (GOODS, {**GOODS, "key": "urn:x:1"}):
            answer = await here.http.put("/registry/v1/goods", json=content, headers=headers)
            assert answer.status_code == 403
        assert (
            await here.http.get("/registry/v1/goods", params={"key": GTIN}, headers=headers)
        ).status_code == 404


async def test_a_prefix_belongs_to_one_merchant() -> None:
    async with registry() as here:
        number, _ = await here.merchant(prefixes=["0614141"])
        taken = await here.operate("POST", "merchants", json={"name": "Bo", "prefixes": ["06141"]})
        assert taken.status_code == 409
        assert taken.json()["detail"] == f"06141 overlaps with what merchant {number} speaks for"
        other, _ = await here.merchant(name="Bo", prefixes=["0999999"])
        taken = await here.operate("PATCH", f"merchants/{other}", json={"prefixes": ["0614141"]})
        assert taken.status_code == 409
        freed = await here.operate("PATCH", f"merchants/{number}", json={"prefixes": None})
        assert freed.status_code == 200
        assert (
            await here.operate("PATCH", f"merchants/{other}", json={"prefixes": ["0614141"]})
        ).status_code == 200


MERCHANT_FAULTS: list[tuple[Any, str]] = [
    ({}, ""),
    ([], ""),
    ({"name": ""}, "/name"),
    ({"name": "A", "colour": "red"}, ""),
    ({"name": "A", "prefixes": ["0614141", "12a4"]}, "/prefixes/1"),
    ({"name": "A", "prefixes": ["123"]}, "/prefixes/0"),
    ({"name": "A", "glns": ["0614141"]}, "/glns/0"),
    ({"name": "A", "uris": ["no uri"]}, "/uris/0"),
    ({"name": "A", "status": "gone"}, "/status"),
    ({"name": "A", "limits": {"eventsPerS": -1}}, "/limits/eventsPerS"),
    ({"name": "A", "delegations": [{"to": 0, "scope": "0614141", "untilMs": 1}]}, "/delegations/0/to"),
    ({"name": "A", "delegations": [{"to": 1, "scope": "0614141", "untilMs": 1}]}, "/delegations/0/scope"),
    (
        {"name": "A", "prefixes": ["0614141"], "delegations": [{"to": 9, "scope": "0614141", "untilMs": 1}]},
        "/delegations/0/to",
    ),
]


@pytest.mark.parametrize(("values", "pointer"), MERCHANT_FAULTS)
async def test_a_fault_is_told_with_its_place(values: Any, pointer: str) -> None:
    async with registry() as here:
        answer = await here.operate("POST", "merchants", json=values)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"] == pointer
        assert not here.kafka.transactions


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"names": {}}, "/names"),
        ({"names": {"not a language": "x"}}, "/names"),
        ({"pictures": [{"uri": "https://a.example/", "sha256": "0"}]}, "/pictures/0/sha256"),
        ({"attributes": {"": "x"}}, "/attributes"),
        (
            {"attributes": {"colour": "green", "minimumTemperature": "-25 C"}},
            "/attributes/minimumTemperature",
        ),
        ({"attributes": {"gs1:maximumTemperature": "1e999"}}, "/attributes/gs1:maximumTemperature"),
        (
            {"attributes": {"maximumTemperature": "46.4", "maximumTemperatureUnit": "FAH"}},
            "/attributes/maximumTemperatureUnit",
        ),
        (
            {"attributes": {"maximumTemperature": "46.4", "gdsn:temperature/unitCode": "KEL"}},
            "/attributes/gdsn:temperature~1unitCode",
        ),
    ],
)
async def test_faults_of_goods_are_told_with_their_place(change: Any, pointer: str) -> None:
    async with registry() as here:
        _, key = await here.merchant(everything=True)
        answer = await here.http.put(
            "/registry/v1/goods", json={**GOODS, **change}, headers={"x-api-key": key}
        )
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"].startswith(pointer)


async def test_limits_of_temperature_in_degrees_celsius_are_taken() -> None:
    attributes = {
        "minimumTemperature": "-25",
        "maximumTemperature": " -18.5 ",
        "maximumTemperatureUnit": "CEL",
    }
    async with registry() as here:
        _, key = await here.merchant(everything=True)
        for told in (
            attributes,
            {"weightUnit": "GRM", "temperatureUnit": "FAH", "maximumTemperatureUnit": "FAH"},
        ):
            answer = await here.http.put(
                "/registry/v1/goods", json={**GOODS, "attributes": told}, headers={"x-api-key": key}
            )
            assert answer.status_code == 200, answer.text


async def test_what_is_no_json_or_too_much_of_it_is_refused() -> None:
    async with registry() as here:
        for body, status in (
            (b'{"name": "A", "name": "B"}', 400),
            (b"{", 400),
            (b'{"name": "\xff"}', 400),
            (b" " * 300_000, 413),
        ):
            assert (await here.operate("POST", "merchants", content=body)).status_code == status
        assert (await here.operate("GET", "merchants?limit=0")).status_code == 400
        assert (await here.operate("GET", "merchants?limit=x")).status_code == 400
        assert (await here.operate("GET", "merchants/x")).status_code == 400
        assert (await here.operate("GET", "merchants/9")).status_code == 404
        assert (await here.operate("POST", f"merchants/1/keys?label={'x' * 201}")).status_code == 400


async def test_while_kafka_or_the_store_is_away_nothing_is_registered_or_it_follows_later() -> None:
    async with registry() as here:
        here.store.away = True
        assert (await here.operate("POST", "merchants", json={"name": "A"})).status_code == 503
        assert not here.kafka.transactions


async def test_two_collectors_do_not_register_one_prefix_twice() -> None:
    async with registry() as here, registry(store=here.store) as there:
        for number in range(10):
            prefix = f"06141{number}"
            answers = await asyncio.gather(
                *(
                    each.operate("POST", "merchants", json={"name": name, "prefixes": [prefix + more]})
                    for each, name, more in ((here, "A", ""), (there, "B", "1"), (there, "C", "1"))
                )
            )
            assert sorted(each.status_code for each in answers) == [201, 409, 409]
        assert not here.store.all_under_way.registrations


async def test_two_collectors_change_one_merchant_one_after_the_other() -> None:
    async with registry() as here, registry(store=here.store) as there:
        number, _ = await here.merchant(prefixes=["0614141"])
        changes = [{"glns": ["4012345000009"]}, {"uris": ["urn:a:b"]}, {"status": "suspended"}]
        answers = await asyncio.gather(
            *(
                each.operate("PATCH", f"merchants/{number}", json=change)
                for each, change in zip((here, there, here), changes, strict=True)
            )
        )
        assert [each.status_code for each in answers] == [200] * 3
        content = (await here.operate("GET", f"merchants/{number}")).json()["content"]
        assert content == {"name": "Ann", "prefixes": ["0614141"], **changes[0], **changes[1], **changes[2]}


async def test_what_a_killed_collector_was_registering_counts_until_its_fate_is_known() -> None:
    async with registry() as here:
        here.kafka.failures = [UnavailableError("away")]
        wanted = {"name": "A", "prefixes": ["0614141"]}
        assert (await here.operate("POST", "merchants", json=wanted)).status_code == 503
        refused = await here.operate("POST", "merchants", json={"name": "B", "prefixes": ["06141412"]})
        assert (refused.status_code, "two minutes" in refused.json()["detail"]) == (409, True)
        assert (
            await here.operate("POST", "merchants", json={"name": "C", "prefixes": ["07"]})
        ).status_code == 400
        assert (
            await here.operate("POST", "merchants", json={"name": "C", "prefixes": ["0799"]})
        ).status_code == 201
        here.now_s += LASTS_MS / 1000
        assert (await here.operate("POST", "merchants", json=wanted)).status_code == 201


async def test_the_api_is_described() -> None:
    async with registry() as here:
        described = (await here.http.get("/openapi.json")).json()
    assert {
        "/registry/v1/merchants",
        "/registry/v1/goods",
        "/registry/v1/places",
        "/registry/v1/me",
    } <= described["paths"].keys()
    assert "prefixes" in json.dumps(described["paths"]["/registry/v1/merchants"]["post"]["requestBody"])


async def test_registrations_and_events_do_not_meet() -> None:
    async with registry() as here:
        _, key = await here.merchant(prefixes=["0614141"])
        headers = {"authorization": f"Bearer {key}"}
        await here.http.put("/registry/v1/goods", json=GOODS, headers=headers)
        await here.capture(document(object_event(epcList=[GTIN + "/21/1"])), key)
        output = run_all(here.kafka.values("goods.collected"))
    registered, event = items_of(output)[1].record, items_of(output)[2].record
    assert not set(registered.tags) & set(event.tags)
