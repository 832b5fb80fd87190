"""Four clients send the same 20,000 events over connections that are cut, and the collector is killed twice: each is sealed once.

Each client cuts the load into documents of its own sizes, in an order that differs a little; two send an Idempotency-Key, two do
not; one of each compresses. A proxy cuts a fifth of the requests off, at any moment. Whoever has no answer sends again. What
they were told is then compared with the topics, and with what stands in the logs, byte for byte.
"""

import gzip
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest

from deploy.stack import Stack
from goodstrace.facts import identity
from goodstrace.merkle import leaf_hash, root_of
from goodstrace.simulate import SimulationOptions, simulate
from services.runtime import topics
from services.runtime.envelope import Record
from tests.deadlines import DEADLINE_S
from tests.system.cutting_proxy import CuttingProxy, Moment
from tests.system.harness import Sealed, System, eventually

pytestmark = pytest.mark.slow
EVENTS = 20_000
CLIENTS = 4
CUT = 0.2
KILLS = (0.25, 0.6)  # the collector is killed when this share of all that is to be sent was acknowledged
MOST_EVENTS = 300
WINDOW = 2_000  # so far apart are two events at most that a client sends in another order than the others
ASKED_AGAIN = 20


@dataclass(frozen=True)
class Sending:
    """A document as a client sends it: `headers` and `body` of the request."""

    events: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Told:
    """What one client was told. `places`: the job's location of each document, in the order in which they were sent."""

    sent: list[Sending] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    requests: int = 0
    unanswered: int = 0
    asked_to_wait: Counter[int] = field(default_factory=Counter)

    @property
    def acknowledged(self) -> int:
        return sum(each.events for each in self.sent[: len(self.places)])


@dataclass
class Campaign:
    events: list[bytes]
    clients: list[Told]
    kills: int = 0
    cuts: Counter[Moment] = field(default_factory=Counter)
    seconds: float = 0.0
    sealed_after: float = 0.0
    collected: list[Record] = field(default_factory=list)
    stored: list[Record] = field(default_factory=list)
    rejected: list[Record] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        return sum(each.acknowledged for each in self.clients)

    def captures(self) -> dict[str, int]:
        """Acknowledged capture IDs and their events."""
        return {
            place.rpartition("/")[2]: sending.events
            for told in self.clients
            for sending, place in zip(told.sent, told.places, strict=True)
        }


def load() -> list[bytes]:
    """The events, each as the bytes that all clients send."""
    documents = simulate(SimulationOptions(seed=11, events=EVENTS))
    return [
        json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
        for document in documents
        for event in json.loads(document.to_bytes())["epcisBody"]["eventList"]
    ]


def sendings(client: int, events: Sequence[bytes]) -> Iterator[Sending]:
    """Cut the events into documents as this client does it: from one event to MOST_EVENTS each."""
    rng = random.Random(client)
    keyed, packed = client % 2 == 0, client // 2 % 2 == 0
    ordered = list(events)
    for start in range(0, len(ordered), WINDOW):
        some = ordered[start : start + WINDOW]
        rng.shuffle(some)
        ordered[start : start + WINDOW] = some
    at = 0
    while at < len(ordered):
        some = ordered[at : at + int(MOST_EVENTS ** rng.random()) + rng.choice((0, MOST_EVENTS // 2))]
        at += len(some)
        headers = {"Content-Type": "application/ld+json"}
        if keyed:
            headers["Idempotency-Key"] = f'"client {client} up to {at}"'
        if packed:
            headers["Content-Encoding"] = "gzip"
        body = document_of(some)
        yield Sending(len(some), headers, gzip.compress(body, 1) if packed else body)


def document_of(events: Sequence[bytes]) -> bytes:
    head = (
        b'{"@context":["https://ref.gs1.org/standards/epcis/epcis-context.jsonld"],"type":"EPCISDocument",'
        b'"schemaVersion":"2.0","creationDate":"2026-01-01T00:00:00Z","epcisBody":{"eventList":['
    )
    return head + b",".join(events) + b"]}}"


def send_all(url: str, told: Told) -> None:
    """Send one document after another, each until it is acknowledged."""
    pause = threading.Event()
    with httpx.Client(base_url=url, timeout=30) as http:
        for sending in told.sent:
            while True:
                told.requests += 1
                try:
                    answer = http.post("/epcis/v2/capture", content=sending.body, headers=sending.headers)
                except httpx.HTTPError:
                    told.unanswered += 1
                    pause.wait(0.05)
                    continue
                if answer.status_code == httpx.codes.ACCEPTED:
                    told.places.append(answer.headers["Location"])
                    break
                assert answer.status_code in (409, 503), answer.text
                told.asked_to_wait[answer.status_code] += 1
                pause.wait(min(1.0, float(answer.headers["Retry-After"])))


def kill_in_the_middle(system: System, campaign: Campaign) -> None:
    for share in KILLS:
        eventually(
            lambda share=share: campaign.acknowledged >= share * CLIENTS * EVENTS,
            deadline_s=DEADLINE_S,
            every_s=0.01,
            what=f"{share:.0%} acknowledged",
        )
        system.kill9("collector")
        campaign.kills += 1
        system.restart("collector")


def read_all(system: System, told: Campaign) -> bool:
    """Read the topics into `told`; False where something that was collected has no end yet."""
    told.collected, told.stored, told.rejected = (
        [record for _, record in system.topic_records(name)]
        for name in (topics.GOODS_COLLECTED, topics.GOODS_STORED, topics.GOODS_REJECTED)
    )
    return len(told.stored) + len(told.rejected) == len(told.collected)


@pytest.fixture(scope="module")
def running(stack: Stack, systems: Callable[..., System]) -> System:
    return systems(stack, GOODSTRACE_COLLECTOR_STATES="false").start()  # states of goods: others test them


@pytest.fixture(scope="module")
def campaign(running: System) -> Campaign:
    """All of it, up to the moment where nothing is on its way any more."""
    events = load()
    told = Campaign(events, [Told(list(sendings(number, events))) for number in range(CLIENTS)])
    begun = time.monotonic()
    with (
        CuttingProxy(running.http_port, CUT, seed=5) as proxy,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        sending = [clients.submit(send_all, proxy.url, each) for each in told.clients]
        kill_in_the_middle(running, told)
        for each in sending:
            each.result(timeout=DEADLINE_S)
    told.cuts = proxy.cuts
    told.seconds = time.monotonic() - begun
    running.wait_sealed(EVENTS, deadline_s=DEADLINE_S)
    told.sealed_after = time.monotonic() - begun
    eventually(lambda: read_all(running, told), deadline_s=DEADLINE_S, every_s=1, what="all has its end")
    return told


@pytest.fixture(scope="module")
def sealed(running: System, campaign: Campaign) -> list[Sealed]:
    return running.sealed()


def test_connections_were_cut_at_every_moment_and_the_collector_killed_twice(
    campaign: Campaign, tell: Callable[[str], None]
) -> None:
    sent, requests = (
        sum(counts) for counts in zip(*((len(t.sent), t.requests) for t in campaign.clients), strict=True)
    )
    waits = sum((each.asked_to_wait for each in campaign.clients), Counter())
    cuts = ", ".join(f"{campaign.cuts[moment]} {moment}" for moment in Moment)
    tell(
        f"{CLIENTS} clients sent the same {EVENTS} events as {sent} documents in {requests} requests, "
        f"{sum(each.unanswered for each in campaign.clients)} of them without an answer, {waits[409]} told that the first is still "
        f"under way; collector killed {campaign.kills} times; connections cut: {cuts}.\n"
        f"  {campaign.acknowledged} events acknowledged in {campaign.seconds:.1f} s, {len(campaign.collected)} collected, "
        f"{EVENTS} sealed after {campaign.sealed_after:.1f} s, the others duplicates."
    )
    assert campaign.kills == len(KILLS)
    assert set(campaign.cuts) == set(Moment)
    assert campaign.acknowledged == CLIENTS * EVENTS
    assert len(campaign.captures()) == sent


def test_each_event_is_sealed_exactly_once_as_it_was_sent_and_nothing_else_is(
    campaign: Campaign, sealed: list[Sealed]
) -> None:
    assert len(set(campaign.events)) == EVENTS
    assert sorted(each.parts["event"] for each in sealed) == sorted(campaign.events)
    assert len({identity(1, each.facts) for each in sealed}) == EVENTS
    assert len({each.id for each in sealed}) == EVENTS


def test_the_roots_are_those_of_these_entries(running: System, sealed: list[Sealed]) -> None:
    leaves: dict[str, list[bytes]] = {}
    for each in sealed:
        assert each.index == len(leaves.setdefault(each.log, []))
        leaves[each.log].append(leaf_hash(each.entry))
    with running.client() as client:
        checkpoints = {log: each.checkpoint for log, each in client.checkpoints().items() if log in leaves}
    assert {log: (each.size, each.root) for log, each in checkpoints.items()} == {
        log: (len(hashes), root_of(hashes)) for log, hashes in leaves.items()
    }


def test_acknowledged_is_sealed_plus_duplicates(campaign: Campaign, sealed: list[Sealed]) -> None:
    captures, ids = campaign.captures(), {each.id for each in sealed}
    ends: Counter[str] = Counter()
    of_all: list[str] = []
    for record in (*campaign.stored, *campaign.rejected):
        of_all.append(record.id.hex())
        end = record.rejection.reason if record.rejection else "sealed"
        assert end == "DUPLICATE" or (end == "sealed" and record.id.hex() in ids)
        if record.rejection:
            assert record.rejection.first_id.hex() in ids
        ends[end] += record.capture_id.hex() in captures
    assert sum(ends.values()) == campaign.acknowledged == CLIENTS * EVENTS
    # What nobody was told of came whole or not at all, and has its end too.
    assert sorted(of_all) == sorted(record.id.hex() for record in campaign.collected)
    came = Counter(record.capture_id.hex() for record in campaign.collected)
    assert came == Counter({record.capture_id.hex(): record.capture_size for record in campaign.collected})
    assert captures.items() <= came.items()


def test_a_key_is_answered_with_its_capture_again(running: System, campaign: Campaign) -> None:
    with httpx.Client(base_url=running.capture_url, timeout=30) as http:
        for told in campaign.clients:
            known = list(zip(told.sent, told.places, strict=True))
            for sending, place in known[:: len(known) // ASKED_AGAIN]:
                if "Idempotency-Key" in sending.headers:
                    answer = http.post("/epcis/v2/capture", content=sending.body, headers=sending.headers)
                    assert (answer.status_code, answer.headers["location"]) == (202, place)


def test_everything_verifies_after_all_that(running: System, campaign: Campaign) -> None:
    done = running.cli("verify")
    assert done.returncode == 0, done.stdout + done.stderr
