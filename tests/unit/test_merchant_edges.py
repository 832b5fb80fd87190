"""Who is who at every edge but a plain capture: streams, keys, jobs, rejections, the ingress."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.collector import rejections_api
from services.collector.arrivals import Arrival, take
from services.collector.errors import UnregisteredError
from services.collector.ingress import Ingress
from services.collector.registry.gate import DefaultLimits
from services.collector.rejection_desk import RejectionDesk
from services.runtime import envelope
from services.runtime.envelope import Record
from services.runtime.merchants.errors import ForbiddenError
from services.runtime.settings import KafkaSettings
from tests.unit.collector_builders import NOW_MS, document, object_event
from tests.unit.registry_builders import OPERATOR, Registry, registry
from tests.unit.test_collector_rejections import Desk, Looks, Store, Topic

OWN = "urn:epc:id:sgtin:0614141.107346.2017"
FOREIGN = "urn:epc:id:sgtin:0999999.107346.2017"


def adding(epc: str, number: int = 0) -> dict[str, Any]:
    return object_event(action="ADD", bizStep="commissioning", epcList=[epc], eventID=f"urn:e:{number}")


def line(number: int, epc: str = OWN) -> bytes:
    return json.dumps(adding(epc, number)).encode() + b"\n"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def stream(here: Registry, body: bytes | AsyncIterator[bytes], key: str) -> httpx.Response:
    headers = {"content-type": "application/x-ndjson", **bearer(key)}
    return await here.http.post("/epcis/v2/capture", content=body, headers=headers)


def merchants_of(here: Registry) -> list[int]:
    """Whose captures are in Kafka; registrations are left out."""
    records = map(envelope.decode, here.kafka.values("goods.collected"))
    return [record.merchant for record in records if record.parts[0].name == "event"]


async def test_lines_are_their_merchants_and_what_is_not_its_own_is_said_of_the_line() -> None:
    async with registry() as here:
        number, key = await here.merchant(prefixes=["0614141"])
        answer = await stream(here, line(1) + line(2, FOREIGN), key)
        first, second = (json.loads(each) for each in answer.text.splitlines())
        assert first["eventID"] == "urn:e:1"
        assert second["problem"]["status"] == 403
        assert merchants_of(here) == [number]
        assert (await stream(here, line(3), "")).status_code == 401


async def test_a_key_revoked_within_a_stream_ends_it_and_says_how_far_it_came() -> None:
    async with registry() as here:
        number, key = await here.merchant(prefixes=["0614141"])

        async def body() -> AsyncIterator[bytes]:
            yield line(1)
            for _ in range(100_000):
                if merchants_of(here):
                    break
                await asyncio.sleep(0)
            identifier = key.split("_")[1]
            await here.operate("DELETE", f"merchants/{number}/keys/{identifier}")
            yield line(2)

        first, last = ((await stream(here, body(), key)).text).splitlines()
        assert json.loads(first)["eventID"] == "urn:e:1"
        assert (json.loads(last)["problem"]["status"], json.loads(last)["linesAnswered"]) == (401, 1)
        assert merchants_of(here) == [number]


async def test_a_stream_over_its_rate_is_told_so() -> None:
    async with registry(defaults=DefaultLimits(events_per_s=1, burst_s=1)) as here:
        _, key = await here.merchant(prefixes=["0614141"])
        assert (await stream(here, line(1) + line(2) + line(3), key)).status_code == 200
        over = await stream(here, line(4), key)
        assert (over.status_code, over.headers["retry-after"]) == (429, "2")


async def test_an_idempotency_key_is_its_merchants_own_and_is_free_again_after_a_rate() -> None:
    async with registry(defaults=DefaultLimits(events_per_s=1, burst_s=1)) as here:
        (_, one), (_, other) = await here.merchant(everything=True), await here.merchant(everything=True)
        body = document(adding(OWN), adding(OWN, 1), adding(OWN, 2))
        named = {"idempotency-key": '"k"'}
        first = await here.capture(body, one, **named)
        second = await here.capture(body, other, **named)
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.headers["location"] != second.headers["location"]
        assert (await here.capture(body, one, **{"idempotency-key": '"l"'})).status_code == 429
        here.now_s = 10.0
        assert (await here.capture(body, one, **{"idempotency-key": '"l"'})).status_code == 202


async def test_a_job_is_shown_to_its_merchant_and_to_operators_alone() -> None:
    async with registry() as here:
        (number, one), (_, other) = await here.merchant(everything=True), await here.merchant(everything=True)
        place = (await here.capture(document(adding(OWN)), one)).headers["location"]
        got = {key: await here.http.get(place, headers=bearer(key)) for key in (one, other, OPERATOR)}
        assert [each.status_code for each in got.values()] == [200, 404, 200]
        assert (await here.http.get(place)).status_code == 401
        path = "/epcis/v2/capture"
        listed = {key: (await here.http.get(path, headers=bearer(key))).json() for key in (one, other)}
        assert [len(each) for each in listed.values()] == [1, 0]
        whose = await here.http.get(path, headers=bearer(OPERATOR), params={"merchant": number})
        assert whose.json() == listed[one]
        nobodys = await here.http.get(path, headers=bearer(OPERATOR))
        assert (nobodys.status_code, nobodys.json()["parameter"]) == (400, "merchant")


async def test_rejections_are_their_merchants_and_operators_see_all() -> None:
    async with registry() as here:
        (number, one), (_, other) = await here.merchant(prefixes=["0614141"]), await here.merchant()
        taken = await here.capture(
            document(adding(FOREIGN)), one, **{"gs1-capture-error-behaviour": "proceed"}
        )
        assert taken.status_code == 202
        store, topic = Store(), Topic()
        desk = RejectionDesk(store, topic, here.running.intake, Looks(), lambda: NOW_MS)
        rejections_api.join(here.running.app, desk, here.metrics)
        (name,) = added(store, topic, here)
        url = f"/rejections/v1/{name}"
        assert (await here.http.get(url)).status_code == 401
        for method, path in (("GET", url), ("GET", f"{url}/content"), ("POST", f"{url}/resubmit")):
            assert (await here.http.request(method, path, headers=bearer(other))).status_code == 404
        shown = await here.http.get(url, headers=bearer(OPERATOR))
        assert (shown.json()["reason"], shown.json()["merchant"]) == ("FORBIDDEN", number)
        lists = [
            len((await here.http.get("/rejections/v1", headers=bearer(key))).json()["rejections"])
            for key in (one, other, OPERATOR)
        ]
        assert lists == [1, 0, 1]
        again = await here.http.post(f"{url}/resubmit", headers=bearer(one))
        assert again.status_code == 403
        await here.operate("PATCH", f"merchants/{number}", json={"prefixes": ["0614141", "0999999"]})
        again = await here.http.post(f"{url}/resubmit", headers=bearer(OPERATOR))
        assert again.status_code == 202, again.text
        assert merchants_of(here) == [number]


def added(store: Store, topic: Topic, here: Registry) -> list[str]:
    """Let the projector find what was refused."""
    records: list[Record] = [envelope.decode(value) for value in here.kafka.values("goods.rejected")]
    return Desk.add(_Shelf(store, topic), *records)  # type: ignore[arg-type]  # what it uses of a desk


class _Shelf:
    def __init__(self, store: Store, topic: Topic) -> None:
        self.store, self.topic = store, topic


async def test_the_ingress_waits_for_its_merchant_and_is_held_to_what_that_one_may_say() -> None:
    async with registry() as here:
        kafka = KafkaSettings()  # type: ignore[call-arg]  # the mypy of pydantic sees aliases only
        number, _ = await here.merchant(prefixes=["0614141"])
        made = {
            merchant: Ingress(
                kafka=kafka,
                instance="here",
                preparer=here.running.intake._preparer,
                gate=here.gate,
                merchant=merchant,
                beginnings=None,  # type: ignore[arg-type]  # never begun
                keeper=here.running.keeper,
                ranges=here.running.intake._ranges,
                metrics=here.metrics,
                log=None,  # type: ignore[arg-type]
            )
            for merchant in (number, number + 1)
        }
        with pytest.raises(UnregisteredError):
            await made[number + 1]._caller()
        caller = await made[number]._caller()
        assert (caller.merchant, caller.rates) == (number, {})
        body = document(adding(OWN), adding(FOREIGN))
        prepared = take(here.running.intake._preparer, Arrival("goods.ingress", 0, 0, caller, body))
        assert [each.value for each in prepared.refused] == ["FORBIDDEN"]
        await here.operate("PATCH", f"merchants/{number}", json={"status": "suspended"})
        with pytest.raises(ForbiddenError):
            await here.gate.on_behalf_of(number)
