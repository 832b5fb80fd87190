"""Who may capture what: keys, prefixes, delegations, rates, suspension, through the capture API."""

from typing import Any

import httpx
import pytest

from services.collector.registry.claims import Policy
from services.collector.registry.gate import DefaultLimits
from services.runtime import envelope
from tests.memory_registry import MemoryRegistry, check_registry
from tests.unit.collector_builders import NOW_MS, document, object_event
from tests.unit.registry_builders import OPERATOR, Registry, ever_new, registry

OWN = "urn:epc:id:sgtin:0614141.107346.2017"
FOREIGN = "urn:epc:id:sgtin:0999999.107346.2017"


def adding(*epcs: str, **changes: Any) -> bytes:
    return document(object_event(action="ADD", bizStep="commissioning", epcList=list(epcs), **changes))


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return dict(answer.json())


async def test_the_store_in_memory_keeps_the_contract() -> None:
    await check_registry(MemoryRegistry(), ever_new())  # type: ignore[arg-type]


async def test_a_merchant_captures_under_its_number_with_either_header() -> None:
    async with registry() as here:
        number, key = await here.merchant(prefixes=["0614141"])
        for headers in ({"authorization": f"bearer {key}"}, {"x-api-key": key}):
            answer = await here.http.post(
                "/epcis/v2/capture",
                content=adding(OWN),
                headers={"content-type": "application/json", **headers},
            )
            assert answer.status_code == 202
        values = here.kafka.values("goods.collected")
    assert [envelope.decode(each).merchant for each in values[1:]] == [
        number
    ] * 2  # the first is the registration


async def test_without_a_good_key_nothing_is_taken() -> None:
    async with registry() as here:
        _, key = await here.merchant(prefixes=["0614141"])
        before = len(here.kafka.transactions)
        nobody = await here.capture(adding(OWN))
        assert nobody.headers["www-authenticate"] == 'Bearer realm="goodstrace"'
        problem(nobody, 401)
        forged = [
            key[:-1] + ("A" if key[-1] != "A" else "B"),
            "gst_" + "0" * 16 + key[20:],
            key[:-1],
            "gst_",
            "eyJhbGciOiJub25lIn0..",
            "\u00e4",
        ]
        for wrong in forged:
            answer = await here.capture(adding(OWN), **{"x-api-key": wrong.encode("latin-1")})
            problem(answer, 401)
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        problem(await here.capture(adding(OWN), OPERATOR), 403)
        problem(await here.capture(adding(OWN), key, **{"x-api-key": key}), 401)
        problem(await here.capture(adding(OWN), authorization=f"Basic {key}"), 401)
        assert len(here.kafka.transactions) == before


async def test_a_revoked_key_is_no_key_at_once_here_and_elsewhere_when_two_seconds_are_over() -> None:
    async with registry() as here, registry() as elsewhere:
        elsewhere.store.documents, elsewhere.store.rows = here.store.documents, here.store.rows
        number, key = await here.merchant(prefixes=["0614141"])
        for each in (here, elsewhere):
            assert (await each.capture(adding(OWN), key)).status_code == 202
        identifier = key.split("_")[1]
        gone = await here.operate("DELETE", f"merchants/{number}/keys/{identifier}")
        assert gone.status_code == 204
        problem(await here.capture(adding(OWN), key), 401)
        assert (await elsewhere.capture(adding(OWN), key)).status_code == 202
        elsewhere.now_s = 2.0
        problem(await elsewhere.capture(adding(OWN), key), 401)


async def test_a_suspended_merchant_is_forbidden_and_takes_its_delegations_with_it() -> None:
    async with registry() as here:
        other, other_key = await here.merchant()
        given = [{"to": other, "scope": "0614141", "untilMs": NOW_MS + 60_000}]
        number, key = await here.merchant(prefixes=["0614141"], delegations=given)
        assert (await here.capture(adding(OWN), other_key)).status_code == 202
        assert (
            await here.operate("PATCH", f"merchants/{number}", json={"status": "suspended"})
        ).status_code == 200
        assert "suspended" in problem(await here.capture(adding(OWN), key), 403)["detail"]
        problem(await here.capture(adding(OWN), other_key), 403)
        await here.operate("PATCH", f"merchants/{number}", json={"status": "active"})
        assert (await here.capture(adding(OWN), key)).status_code == 202


async def test_another_prefix_is_refused_by_event_and_field_unless_it_is_delegated_in_time() -> None:
    body = document(
        object_event(action="ADD", epcList=[OWN]), object_event(action="ADD", epcList=[OWN, FOREIGN])
    )
    async with registry() as here:
        number, key = await here.merchant(prefixes=["0614141"])
        told = problem(await here.capture(body, key), 403)
        assert told["type"] == "epcisException:SecurityException"
        assert [each["pointer"] for each in told["errors"]] == ["/epcisBody/eventList/1/epcList/1"]
        assert "https://id.gs1.org/01/10999999073461/21/2017" in told["errors"][0]["detail"]
        assert not here.kafka.values("goods.collected")[1:]
        given = [{"to": number, "scope": "0999999", "untilMs": NOW_MS + 60_000}]
        await here.merchant(name="Bo", prefixes=["0999999"], delegations=given)
        assert (await here.capture(body, key)).status_code == 202
        here.now_s = 60.0
        problem(await here.capture(body, key), 403)


async def test_with_proceed_the_foreign_event_goes_to_the_rejected() -> None:
    body = document(
        object_event(action="ADD", epcList=[OWN]),
        object_event(action="ADD", epcList=[FOREIGN], eventID="urn:e:2"),
    )
    async with registry() as here:
        _, key = await here.merchant(prefixes=["0614141"])
        answer = await here.capture(body, key, **{"GS1-Capture-Error-Behaviour": "proceed"})
        assert answer.status_code == 202
        (refused,) = here.kafka.values("goods.rejected")
    rejection = envelope.decode(refused).rejection
    assert rejection is not None
    assert (rejection.stage, rejection.reason) == ("collect", "FORBIDDEN")
    assert rejection.detail.startswith("/epcisBody/eventList/1/epcList/0: ")


async def test_a_bad_event_beside_a_foreign_one_makes_it_a_bad_document() -> None:
    body = document(object_event(action="ADD", epcList=[FOREIGN]), object_event(action="X"))
    async with registry() as here:
        _, key = await here.merchant(prefixes=["0614141"])
        assert len(problem(await here.capture(body, key), 400)["errors"]) == 2


async def test_others_goods_may_be_observed_and_moved_but_not_under_the_strict_policy() -> None:
    moved = document(
        object_event(epcList=[FOREIGN]),
        {
            **object_event(type="AggregationEvent", action="ADD", epcList=None),
            "parentID": FOREIGN,
            "childEPCs": [OWN],
        },
        object_event(action="DELETE", epcList=[FOREIGN], bizStep="retail_selling"),
    )
    async with registry() as here:
        _, key = await here.merchant()
        assert (await here.capture(moved, key)).status_code == 202
    async with registry(policy=Policy.STRICT) as here:
        _, key = await here.merchant(prefixes=["0614141"])
        pointers = [each["pointer"] for each in problem(await here.capture(moved, key), 403)["errors"]]
    assert pointers == [
        "/epcisBody/eventList/0/epcList/0",
        "/epcisBody/eventList/1/parentID",
        "/epcisBody/eventList/2/epcList/0",
    ]


async def test_who_speaks_for_everything_speaks_for_everything() -> None:
    async with registry(policy=Policy.STRICT) as here:
        _, key = await here.merchant(everything=True)
        assert (await here.capture(adding(FOREIGN, "urn:x:1"), key)).status_code == 202


async def test_over_the_rate_one_waits_as_long_as_is_said_and_others_do_not() -> None:
    limits = DefaultLimits(events_per_s=10, bytes_per_s=10**6, burst_s=2)
    body = document(*(object_event(eventID=f"urn:e:{number}") for number in range(30)))
    async with registry(defaults=limits) as here:
        _, key = await here.merchant()
        _, other = await here.merchant(limits={"eventsPerS": 1000})
        first = await here.capture(body, key)
        assert first.status_code == 202  # larger than the burst: taken whole, and made up for
        assert first.headers["ratelimit-policy"].startswith('"events";q=20;w=2, "bytes";q=2000000;w=2;qu=')
        assert first.headers["ratelimit"].startswith('"events";r=0;t=4, ')
        told = await here.capture(body, key)
        assert problem(told, 429)["detail"] == "over the rate of 10 events a second"
        assert told.headers["retry-after"] == "1"
        assert (await here.capture(body, other)).status_code == 202
        here.now_s = 1.001
        assert (await here.capture(body, key)).status_code == 202
        assert (await here.capture(body, key)).headers["retry-after"] == "3"
        assert here.metrics.refused_callers.labels("rate-limited")._value.get() == 2


async def test_bytes_and_size_are_limited_by_merchant_too() -> None:
    async with registry() as here:
        _, key = await here.merchant(limits={"bytesPerS": 5, "bodyBytes": 2000})
        _, large = await here.merchant()
        assert (await here.capture(document(object_event()), key)).status_code == 202
        assert int((await here.capture(document(object_event()), key)).headers["retry-after"]) > 1
        here.now_s = 1000.0
        long = document(object_event(**{"x:note": "n" * 2000}))
        problem(await here.capture(long, key), 413)
        assert (await here.capture(long, large)).status_code == 202


async def test_who_is_known_captures_on_while_the_registry_is_away_but_not_for_ever() -> None:
    async with registry() as here:
        _, key = await here.merchant(prefixes=["0614141"])
        assert (await here.capture(adding(OWN), key)).status_code == 202
        here.store.away = True
        here.now_s = 250.0
        assert (await here.capture(adding(OWN), key)).status_code == 202
        calls = here.store.calls
        assert (await here.capture(adding(OWN), key)).status_code == 202
        assert here.store.calls == calls  # nobody else waits for it within the second
        problem(await here.capture(adding(OWN), "gst_" + "1" * 16 + "_" + "x" * 43), 503)
        here.now_s = 302.0
        assert problem(await here.capture(adding(OWN), key), 503)
        here.store.away = False
        assert (await here.capture(adding(OWN), key)).status_code == 202


@pytest.mark.parametrize("policy", list(Policy))
async def test_uris_of_others_are_taken_and_those_of_nobody_are_free(policy: Policy) -> None:
    async with registry(policy=policy) as here:
        await here.merchant(name="Bo", uris=["urn:gdst:bo.example:"])
        _, key = await here.merchant(uris=["urn:gdst:ann.example"])
        assert (await here.capture(adding("urn:gdst:ann.example:product:1"), key)).status_code == 202
        problem(await here.capture(adding("urn:gdst:bo.example:product:1"), key), 403)
        free = await here.capture(adding("urn:uuid:11111111-2222-4333-8444-555555555555"), key)
        assert free.status_code == (202 if policy is Policy.ORIGIN else 403)


async def test_in_open_mode_nobody_is_asked() -> None:
    here = Registry()
    here.gate._directory = None
    caller = await here.gate.admit(None)
    assert (caller.merchant, caller.speech, here.gate.left(caller)) == (1, None, [])
