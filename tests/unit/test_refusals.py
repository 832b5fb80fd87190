"""Records of refusals: each has its own until there are too many, none holds what was typed, and nobody waits for them."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from services.runtime import envelope
from services.runtime.access.current import acting
from services.runtime.access.guard import Reason, Refusal
from services.runtime.access.naming import recorded_name
from services.runtime.access.networks import network_of
from services.runtime.access.values import EVERYBODY, NOBODY, Means, Principal, Role
from services.runtime.acknowledged import Outgoing
from services.runtime.call_errors import InvalidRequestError
from services.sealing.browse import Browse, BrowseKind, BrowseRecorder, NotRecordedError, contents_of
from services.sealing.crowd import EACH_S, NETWORK_S
from services.sealing.refusals import RefusalMetrics, Refusals, browse_of
from tests.opened_browses import MemoryPeople

ANN = Principal(means=Means.TOKEN, account="ab", name="ann", roles=frozenset({Role.SHOPPER}), session="s")
TRACE = "/goodstrace.query.v1.TraceService/Trace"


class Recorder:
    """Keeps records; can be told to fail."""

    def __init__(self) -> None:
        self.kept: list[Browse] = []
        self.away = False

    async def record(self, browse: Browse) -> str:
        if self.away:
            raise NotRecordedError("Kafka is away")
        self.kept.append(browse)
        return "ab"


class Noting:
    """Refusals over a recorder in memory; `now_s` is the clock."""

    def __init__(self) -> None:
        self.recorder, self.registry, self.now_s = Recorder(), CollectorRegistry(), 0.0
        metrics = RefusalMetrics("query", self.registry)
        recorder: Any = self.recorder
        self.refusals = Refusals(recorder, metrics, structlog.get_logger(), lambda: self.now_s)

    def counted(self, reason: Reason) -> float | None:
        labels = {"service": "query", "reason": reason.value}
        return self.registry.get_sample_value("goodstrace_access_refusals_total", labels)

    @property
    def unrecorded(self) -> float | None:
        return self.registry.get_sample_value("goodstrace_access_refusals_unrecorded_total")


@pytest.fixture
def noting() -> Noting:
    return Noting()


async def test_each_refusal_is_a_record(noting: Noting) -> None:
    assert noting.counted(Reason.ROLE) == 0
    noting.refusals.note(Refusal("query", TRACE, ANN, Reason.ROLE, "192.0.2.0/24"))
    await noting.refusals.flush()
    [kept] = noting.recorder.kept
    assert (kept.kind, kept.user, kept.method, kept.means) == (BrowseKind.REFUSAL, "ann", "Trace", "token")
    assert (kept.network, kept.refused, kept.times, kept.events) == ("192.0.2.0/24", "role", 1, 0)
    assert noting.counted(Reason.ROLE) == 1


async def test_above_the_rate_they_are_counted_together(noting: Noting) -> None:
    for _ in range(500):
        noting.refusals.note(Refusal("query", TRACE, ANN, Reason.CREDENTIAL, "192.0.2.0/24"))
    await noting.refusals.flush()
    assert len(noting.recorder.kept) == NETWORK_S + 1
    [together] = [each for each in noting.recorder.kept if each.times > 1]
    assert (together.times, together.user, together.network) == (
        500 - NETWORK_S,
        "anonymous",
        "192.0.2.0/24",
    )
    assert sum(each.times for each in noting.recorder.kept) == 500 == noting.counted(Reason.CREDENTIAL)
    noting.now_s = 1.0
    noting.refusals.note(Refusal("query", TRACE, ANN, Reason.CREDENTIAL, ""))
    await noting.refusals.flush()
    assert noting.recorder.kept[-1].times == 1


async def test_however_many_kinds_there_are_few_records_are_made(noting: Noting) -> None:
    for number in range(1000):
        reason = list(Reason)[number % len(Reason)]
        noting.refusals.note(Refusal("query", f"GET /{number}", NOBODY, reason, ""))
    await noting.refusals.flush()
    assert len(noting.recorder.kept) <= EACH_S + 10
    assert sum(each.times for each in noting.recorder.kept) == 1000


async def test_where_kafka_is_away_it_is_counted_and_nobody_is_kept_waiting(noting: Noting) -> None:
    noting.recorder.away = True
    for _ in range(EACH_S + 5):
        noting.refusals.note(Refusal("query", TRACE, NOBODY, Reason.NOTHING_SHOWN, ""))
    await noting.refusals.flush()
    assert noting.unrecorded == EACH_S + 5


async def test_what_was_counted_is_recorded_when_the_service_stops(noting: Noting) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(noting.refusals.run(stop))
    for _ in range(30):
        noting.refusals.note(Refusal("query", TRACE, NOBODY, Reason.NOTHING_SHOWN, ""))
    stop.set()
    await running
    assert sum(each.times for each in noting.recorder.kept) == 30


def test_a_record_of_a_refusal_says_what_it_is() -> None:
    browse = browse_of(Refusal("query", TRACE, NOBODY, Reason.CREDENTIAL, "192.0.2.0/24"), 3)
    parts = {name: json.loads(content) for name, content in contents_of(browse).items()}
    assert parts["who"] == {"user": "anonymous", "network": "192.0.2.0/24"}
    assert parts["what"] == {"checkpoints": [], "keys": [], "kind": "refusal", "method": "Trace"}
    assert parts["outcome"] == {"events": 0, "refused": "credential", "times": 3}


@pytest.mark.parametrize("kind", [BrowseKind.LOOK, BrowseKind.ACCOUNT_CHANGE])
async def test_a_record_says_by_what_means_who_calls_was_known(kind: BrowseKind) -> None:
    sent: list[bytes] = []
    people = MemoryPeople()

    class Producer:
        async def send_together(self, records: Sequence[Outgoing], timeout_s: float) -> None:
            del timeout_s
            sent.append(people.opened(envelope.decode(records[0].value)).part("who").content)

    producer: Any = Producer()
    recorder = BrowseRecorder(
        producer,
        people,
        topic="t",
        watched="w",
        partitions=1,
        secret=bytes(32),
        timeout_s=1,
        observe_seconds=lambda _: None,
    )
    look = Browse(user="ann", method="Trace", keys=(), sizes={}, purpose="", events=0, kind=kind)
    merchant = Principal(means=Means.API_KEY, name="merchant:7", roles=frozenset({Role.MERCHANT}), merchant=7)
    with acting(merchant):
        await recorder.record(look)
    await recorder.record(look)
    assert json.loads(sent[0]) == {"means": "api-key", "merchant": 7, "role": "merchant", "user": "ann"}
    assert b"means" not in sent[1]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
        ("unknown", ""),
    ],
)
def test_a_network_is_no_address(address: str, network: str) -> None:
    assert network_of(address) == network


@given(st.text(max_size=60))
def test_any_text_is_a_network_or_nothing(text: str) -> None:
    assert network_of(text) == "" or "/" in network_of(text)


def test_only_a_platform_says_for_whom_it_asks() -> None:
    shop = Principal(name="shop", roles=frozenset({Role.PLATFORM}))
    assert recorded_name(shop, ["ann"]) == "shop/ann"
    assert recorded_name(shop, []) == "shop"
    assert recorded_name(ANN, ["somebody else"]) == "ann"
    assert recorded_name(NOBODY, ["somebody else"]) == "anonymous"
    assert recorded_name(EVERYBODY, ["ann"]) == "ann"
    assert recorded_name(EVERYBODY, []) == "anonymous"
    for who, told in ((shop, [""]), (shop, ["a", "b"]), (shop, ["a" * 124]), (EVERYBODY, ["a" * 129])):
        with pytest.raises(InvalidRequestError):
            recorded_name(who, told)
