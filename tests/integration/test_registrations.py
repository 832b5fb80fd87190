"""`GetRegistrations` as a process: every registration of a key, proved, page by page, and never without a browse record."""

import json
import os

import grpc
import pytest

from goodstrace.query.v1 import trace_pb2_grpc
from goodstrace.query.v1.registrations_pb2 import GetRegistrationsRequest
from goodstrace.registration import merchant_key
from services.collector.flow import to_wire
from services.collector.registry.registrations import Registration, item_of
from services.collector.stages import State
from services.collector.summarise import Window
from services.runtime.envelope import Record
from services.runtime.merchants.values import What
from tests.deadlines import DEADLINE_S
from tests.handmade import event
from tests.integration.looking import Looking, parts_of, verified
from tests.unit.collector_builders import WHOLE, items_of

KEY = merchant_key(2)
T0_MS = 1_800_000_000_000


def registered(looking: Looking, key: str, name: str, number: int = 2, what: What = What.MERCHANT) -> Record:
    item = item_of(Registration(what, key, number, {"name": name}), T0_MS, os.urandom)
    (stored,) = items_of(WHOLE.run(State(Window(10), looking.secret), [to_wire(item)]))
    return stored.record


async def test_registrations_are_proved_and_paged_and_recorded(looking: Looking) -> None:
    other = registered(looking, merchant_key(3), "Bo", 3)
    goods = registered(looking, "https://id.gs1.org/01/10614141073464", "Tea", 2, What.GOODS)
    noise = event(1, KEY, secret=looking.secret)  # an event that names the same key is no registration
    for number in range(5):
        more = [other, noise, goods] if number == 2 else []
        await looking.seal({number % 2: [registered(looking, KEY, f"Ann {number}"), *more]})
    await looking.start("query")
    async with looking.query_channel() as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        names, token, browses, sizes = [], "", [], []
        while True:
            request = GetRegistrationsRequest(key=KEY, page_size=2, page_token=token, purpose="audit")
            page = await stub.GetRegistrations(
                request, timeout=DEADLINE_S, metadata=(("goodstrace-user", "ann"),)
            )
            checkpoints = await looking.opened(page.checkpoints)
            for each in page.registrations:
                told = json.loads(verified(each, checkpoints)["registration"])
                assert (told["key"], told["merchant"], told["what"]) == (KEY, 2, "merchant")
                names.append(told["content"]["name"])
            browses.append(page.browse_id)
            sizes.append({log: each.size for log, each in checkpoints.items()})
            token = page.next_page_token
            if not token:
                break
            await looking.seal({0: [registered(looking, KEY, "Ann of later")]})
        assert names == [f"Ann {number}" for number in (4, 3, 2, 1, 0)]
        assert len(browses) == 3
        assert sizes[0] == sizes[1] == sizes[2]

        asked = "urn:epc:idpat:sgtin:0614141.107346.*"
        found = await stub.GetRegistrations(GetRegistrationsRequest(key=asked), timeout=DEADLINE_S)
        (one,) = found.registrations
        assert (
            json.loads(verified(one, await looking.opened(found.checkpoints))["registration"])["what"]
            == "goods"
        )
        nothing = await stub.GetRegistrations(GetRegistrationsRequest(key="urn:nobody"), timeout=DEADLINE_S)
        assert (list(nothing.registrations), nothing.next_page_token) == ([], "")
        assert nothing.browse_id

        for wrong, field in (
            (GetRegistrationsRequest(), "key"),
            (GetRegistrationsRequest(key="x" * 2049), "key"),
            (GetRegistrationsRequest(key=KEY, purpose="x" * 257), "purpose"),
            (GetRegistrationsRequest(key=KEY, page_size=1001), "page_size"),
            (GetRegistrationsRequest(key=KEY, page_token="x"), "page_token"),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match=field) as refused:
                await stub.GetRegistrations(wrong, timeout=DEADLINE_S)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    records = await looking.browsed()
    assert {each.id.hex() for each in records} >= {*browses}
    first = next(each for each in records if each.id.hex() == browses[0])
    assert parts_of(first)["what"]["method"] == "GetRegistrations"
    assert parts_of(first)["what"]["keys"] == [KEY]
    assert parts_of(first)["outcome"] == {"events": 2}
    assert parts_of(first)["purpose"] == {"purpose": "audit"}
