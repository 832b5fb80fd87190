"""Three merchants who keep things from one another, a stranger and nobody, over the real services: each sees what the policies say."""

import asyncio
import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc
import httpx
import pytest

from deploy.stack import Stack
from goodstrace.capture import CaptureClient, Job
from goodstrace.client import Client
from goodstrace.errors import CallError
from goodstrace.log_keys import LogKeys
from goodstrace.query.v1 import goods_pb2, recall_pb2, subscribe_pb2, trace_pb2, trace_pb2_grpc
from goodstrace.registry import RegistryClient
from services.query.epcis_parameters import EventsQuery
from services.query.epcis_walk import Place
from services.runtime.page_tokens import PageTokens, fixed_key
from tests.deadlines import DEADLINE_S
from tests.opened_browses import opened_parts
from tests.system.harness import Sealed, System, eventually
from tests.unit.collector_builders import document
from tests.unit.visible_world import CARRIER, EVENTS, ITEM, MAKER, PREFIXES, SHOP, STRANGER

NOBODY = 0
POLICIES: dict[int, Any] = {
    MAKER: {"default": "private", "steps": {"logistics": "public"}},
    SHOP: {"default": "public", "steps": {"sale": "partners"}},
}
"""The carrier says nothing: what it does its partners see."""
SEES = {
    NOBODY: {2, 3, 6},
    MAKER: {1, 2, 3, 5, 6},
    CARRIER: {2, 3, 4, 5, 6},
    SHOP: {2, 3, 5, 6, 7},
    STRANGER: {2, 3, 6},
}
"""By viewer the numbers of the events."""


@dataclass(frozen=True)
class Traded:
    """The system with the chain captured: keys and numbers by role, the sealed records by number of their event."""

    system: System
    keys: dict[int, str]
    merchants: dict[int, int]
    records: dict[int, Sealed]

    def client(self, viewer: int) -> Client:
        return Client(
            self.system.query_target,
            LogKeys.load(self.system.key_dir),
            token=self.keys[viewer],
            timeout_s=DEADLINE_S,
        )

    def metadata(self, viewer: int) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.keys[viewer]}"),)

    def numbers(self, places: set[tuple[str, int]]) -> set[int]:
        return {number for number, each in self.records.items() if (each.log, each.index) in places}


@pytest.fixture(scope="module")
def traded(stack: Stack, systems: Callable[..., System]) -> Traded:
    system = systems(stack, GOODSTRACE_ACCOUNTS="required").start()
    operator = system.operator_token_file.read_text().strip()
    keys, merchants = {0: operator}, {}  # who is no merchant sees what is public
    with RegistryClient(system.capture_url, operator) as registry:
        for role, prefix in PREFIXES.items():
            content: dict[str, Any] = {"name": f"merchant {role}", "prefixes": [prefix]}
            made = registry.add(content | ({"visibility": POLICIES[role]} if role in POLICIES else {}))
            merchants[role] = made["merchant"]
            keys[role] = registry.new_key(made["merchant"])["apiKey"]
    for role, event in EVENTS:
        with CaptureClient(system.capture_url, timeout_s=DEADLINE_S, token=keys[role]) as collector:
            taken = collector.send(document(event))
            assert isinstance(taken, Job), "\n".join(taken.lines())
            assert collector.wait(taken, deadline_s=DEADLINE_S).counts["accepted"] == 1
    eventually(lambda: system.sealed_count() >= 1 + len(PREFIXES) + len(EVENTS), what="all is sealed")
    events = [each for each in system.sealed() if "event" in each.parts]
    records = {int(each.facts.event_id[-12:]): each for each in events}
    assert len(records) == len(EVENTS)
    return Traded(system, keys, merchants, records)


@pytest.mark.parametrize("viewer", SEES)
def test_each_sees_what_the_model_says_and_the_chain_verifies(traded: Traded, viewer: int) -> None:
    with traded.client(viewer) as client:
        answer = client.trace(ITEM)
        goods = client.goods(ITEM)
        downstream = client.trace(ITEM, direction="downstream")
        *_, streamed = client.stream_trace(ITEM)
        recalled = [each for piece in client.recall(ITEM) for each in piece.withheld_entries]
    assert streamed.withheld_entries == answer.withheld_entries
    assert sorted(each.place for each in recalled) == [each.place for each in downstream.withheld_entries]
    assert traded.numbers({each.place for each in recalled}) == set(range(1, 8)) - SEES[viewer]
    shown = traded.numbers({(each.event.position.log, each.event.position.index) for each in answer.events})
    withheld = traded.numbers({each.place for each in answer.withheld_entries})
    assert shown == SEES[viewer]
    assert withheld == set(range(1, 8)) - SEES[viewer]
    assert answer.tree_verified
    captured_by = {traded.merchants[EVENTS[number - 1][0]] for number in set(range(1, 8)) - SEES[viewer]}
    assert {each.entry.entry.merchant for each in answer.withheld_entries} == captured_by
    of_goods = {(each.position.log, each.position.index) for each in goods.events.values()}
    assert traded.numbers(of_goods) <= SEES[viewer]
    assert traded.numbers({each.place for each in goods.withheld}) == {1, 2, 6, 7} - SEES[viewer]


def _answers(traded: Traded, viewer: int) -> list[bytes]:
    """All that leaves by any way for somebody who asks for everything."""
    metadata = traded.metadata(viewer)
    with grpc.insecure_channel(traded.system.query_target) as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        call: dict[str, Any] = {"timeout": DEADLINE_S, "metadata": metadata}
        found = [
            stub.Trace(trace_pb2.TraceRequest(key=ITEM), **call),
            stub.GetGoods(goods_pb2.GetGoodsRequest(key=ITEM), **call),
        ]
        for number in traded.records:
            event_hash = traded.records[number].facts.event_hash
            named = stub.GetEvent(trace_pb2.GetEventRequest(event_id=event_hash), **call)
            # What was asked for comes back as the name by which it was found.
            for each in named.withheld_entries:
                each.found_by.ClearField("name")
            found.append(named)
        asked = trace_pb2.StreamTraceRequest(trace=trace_pb2.TraceRequest(key=ITEM))
        found += [*stub.StreamTrace(asked, **call), *stub.Recall(recall_pb2.RecallRequest(key=ITEM), **call)]
        beginning = subscribe_pb2.SubscribeRequest(start=subscribe_pb2.SUBSCRIBE_START_BEGINNING)
        came = 0
        for message in stub.Subscribe(beginning, **call):
            found.append(message)
            came += len(message.events)
            if message.caught_up and came:
                break
    sent = [each.SerializeToString() for each in found]
    paths = ("/events?perPage=1000", "/epcs", "/readPoints", "/bizLocations")
    for path in paths:
        answer = httpx.get(
            f"{traded.system.log_url}/epcis/v2{path}", headers=dict(metadata), timeout=DEADLINE_S
        )
        assert answer.status_code == 200, answer.text
        sent.append(answer.content)
    return sent


@pytest.mark.parametrize("viewer", SEES)
def test_nothing_of_what_is_withheld_leaves_by_any_way(traded: Traded, viewer: int) -> None:
    sent = b"".join(_answers(traded, viewer))
    for number, record in traded.records.items():
        secrets = [record.parts["event"], record.parts["facts"], record.facts.event_id.encode()]
        secrets += [b"T03:%02d:00" % number, record.facts.event_hash.encode()]
        for secret in secrets:
            # The same search finds what may be seen, so that it would find a leak.
            assert (secret in sent) == (number in SEES[viewer]), (number, secret[:80])


def test_page_tokens_tell_nothing_and_nobody_makes_one(traded: Traded) -> None:
    """They named the records that a page had gone past, and came from the index secret, which clients are given."""
    url, asked = f"{traded.system.log_url}/epcis/v2/events", {"perPage": "1"}
    headers = dict(traded.metadata(STRANGER))
    first = httpx.get(url, params=asked, headers=headers, timeout=DEADLINE_S)
    token = parse_qs(urlsplit(first.links["next"]["url"]).query)["nextPageToken"][0]
    said = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert b"goods/" not in said
    assert b"sizes" not in said
    second = httpx.get(first.links["next"]["url"], headers=headers, timeout=DEADLINE_S)
    assert second.status_code == 200, second.text

    secret = bytes.fromhex((traded.system.key_dir / "index-secret").read_text().strip())
    bound = EventsQuery({}, {}).encode()
    state = b'{"sizes":{"browse/0":1}}'
    before = hmac.digest(hmac.digest(secret, b"goodstrace page token v1", "sha256"), bound, "sha256")
    forged = [base64.urlsafe_b64encode(hmac.digest(before, state, "sha256")[:16] + state).decode()]
    tokens = PageTokens(fixed_key(secret), Place)
    forged.append(asyncio.run(tokens.seal(bound, Place({"browse/0": 1}))))
    for each in forged:
        refused = httpx.get(
            url, params={**asked, "nextPageToken": each.rstrip("=")}, headers=headers, timeout=DEADLINE_S
        )
        assert refused.status_code == 400, refused.text
        assert "begin again" in refused.text


def test_a_key_that_does_not_count_is_refused_and_looks_name_the_merchant(traded: Traded) -> None:
    wrong = traded.keys[MAKER][:-1] + ("A" if traded.keys[MAKER][-1] != "A" else "B")
    client = Client(traded.system.query_target, LogKeys.load(traded.system.key_dir), token=wrong)
    with client, pytest.raises(CallError) as refused:
        client.trace(ITEM)
    assert refused.value.code == "UNAUTHENTICATED"
    with traded.client(SHOP) as shop:
        browse_id = shop.trace(ITEM).browse_ids[0]

    def looked() -> Sealed | None:
        return next((each for each in traded.system.sealed("browse/") if each.id == browse_id), None)

    record = eventually(looked, what="the look is sealed")
    assert record is not None
    parts = opened_parts(bytes.fromhex(record.id), record.parts, traded.system.user_keys())
    assert b'"merchant":%d' % traded.merchants[SHOP] in parts["who"]
    assert b"merchant" not in record.parts["who"]


def test_a_policy_that_changes_counts_within_seconds(traded: Traded, tmp_path: Path) -> None:
    """Last of all, since it changes what the others see. By the command line."""
    system = traded.system
    key_file = tmp_path / "stranger.key"
    key_file.write_text(traded.keys[STRANGER])
    before = system.cli("trace", ITEM, "--api-key-file", str(key_file))
    assert before.returncode == 0, before.stderr
    assert "4 events withheld" in before.stdout
    assert f"by merchant {traded.merchants[MAKER]}" in before.stdout
    number = str(traded.merchants[CARRIER])
    changed = system.cli("merchants", "visibility", number, "public")
    assert changed.returncode == 0, changed.stderr

    def seen() -> bool:
        with traded.client(STRANGER) as client:
            return client.trace(ITEM).total_withheld == 2

    eventually(seen, deadline_s=DEADLINE_S, what="the carrier's events are shown")
