"""Looks by many users while the query service, the audit recorder and the watch are killed again and again; then everything is compared.

Whoever looks keeps the receipt of each answer. In the end there are four accounts of the same looks: the receipts, the sealed browse logs with the marks of
outcomes in them, what the watch was told, and what the watch has counted.
"""

import asyncio
import base64
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import httpx

from deploy.processes import HOST, Daemon, free_port
from deploy.service_processes import ROOT, not_ready
from goodstrace.entry import decode
from goodstrace.merkle import leaf_hash, leaf_hashes, root_of
from goodstrace.query.v1 import goods_pb2, trace_pb2, trace_pb2_grpc
from goodstrace.receipts import Receipt, Standing, receipt_in
from goodstrace.record.v1 import record_pb2
from goodstrace.simulate import Simulation, SimulationOptions
from services.audit.watch.store import ACTIVITY
from services.runtime import topics
from services.runtime.answering import RECEIPT_HEADER
from services.runtime.envelope import Record
from services.runtime.looks import Outcome
from services.sealing.mark_records import is_mark, outcomes_of
from services.sealing.marks import BATCH_S
from tests.system.harness import Sealed, System, eventually

USERS = 200
KILLED = ("query", "audit", "watch")
PARTITIONS = 2
_AT_ONCE = 16
_PAUSE_S = 0.1
_HEADER = re.compile(
    r'id="(?P<id>[0-9a-f]{32})", leaf=:(?P<leaf>[^:]+):, log="(?P<log>[^"]+)", time=(?P<time>[0-9]+)'
)
_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))


@dataclass
class Told:
    """What those who looked were told, and what was killed when (Unix ms)."""

    receipts: dict[str, Receipt] = field(default_factory=dict)
    users: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    kills: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in KILLED})
    took_s: float = 0.0


@dataclass(frozen=True)
class Goods:
    """What can be looked at."""

    keys: tuple[str, ...]
    events: tuple[str, ...]


class Campaign:
    """One system with a watch, and those who look."""

    def __init__(self, system: System, looks: int, kills_each: int, seed: int = 1) -> None:
        """Have `looks` answered; each of the three is killed `kills_each` times, spread over them."""
        self.system, self.looks, self.told = system, looks, Told()
        self._random = random.Random(seed)
        self._left = looks
        shares = [(number + 1) / (3 * kills_each + 1) for number in range(3 * kills_each)]
        self._kills = [(share, KILLED[number % 3]) for number, share in enumerate(shares)]
        system.daemons["watch"] = watch_of(system)

    def run(self) -> Told:
        """Look until all are answered; returns once everything that was recorded is sealed and counted."""
        goods = self._goods()
        self.system.daemons["watch"].start()
        self._ready("watch")
        killer = threading.Thread(target=self._kill)
        began = time.monotonic()
        killer.start()
        asyncio.run(self._look(goods))
        killer.join()
        self.told.took_s = time.monotonic() - began
        self._settle()
        return self.told

    def _goods(self) -> Goods:
        simulation = Simulation(SimulationOptions(seed=3, events=200, events_per_document=50))
        self.system.capture_sealed(each.to_bytes() for each in simulation.documents())
        found = simulation.interesting()
        keys = tuple(key for key in (found.item, found.lot, found.case) if key)
        events = [each.facts.event_id for each in self.system.sealed() if b'"kind":"event"' in each.entry]
        return Goods(keys, tuple(events[:40]))

    def _ready(self, name: str) -> None:
        if name != "watch":
            self.system.wait_ready(name)
            return
        daemon = self.system.daemons[name]
        daemon.wait_ready(partial(not_ready, f"http://{HOST}:{daemon.ports[0]}/readyz"), 90)

    def _answered(self, share: float) -> bool:
        return len(self.told.receipts) >= share * self.looks

    def _kill(self) -> None:
        for share, name in self._kills:
            eventually(
                partial(self._answered, share),
                deadline_s=1800,
                every_s=0.01,
                what=f"{share:.0%} of {self.looks} looks are answered",
            )
            self._ready(name)
            self.system.kill9(name)
            self.told.kills[name].append(time.time_ns() // 1_000_000)
            self.system.daemons[name].start()
        for name in KILLED:
            self._ready(name)

    async def _look(self, goods: Goods) -> None:
        async with (
            grpc.aio.insecure_channel(self.system.query_target, options=_OPTIONS) as channel,
            httpx.AsyncClient(base_url=self.system.log_url, timeout=30) as http,
        ):
            stub = trace_pb2_grpc.TraceServiceStub(channel)
            await asyncio.gather(*(self._looking(stub, http, goods) for _ in range(_AT_ONCE)))

    async def _looking(self, stub: Any, http: httpx.AsyncClient, goods: Goods) -> None:
        """Look one time after the other until as many as are wanted are answered."""
        while self._left > 0:
            self._left -= 1
            user, kind = f"user-{self._random.randrange(USERS)}", self._kind()
            try:
                receipt = await self._one(stub, http, goods, user, kind)
            except (grpc.RpcError, httpx.HTTPError) as error:
                self._left += 1
                code = error.code().name if isinstance(error, grpc.RpcError) else type(error).__name__
                self.told.failed[code] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            assert receipt.browse_id not in self.told.receipts
            self.told.receipts[receipt.browse_id] = receipt
            self.told.users[user] += 1
            self.told.kinds[kind] += 1

    def _kind(self) -> str:
        kinds = ("GetEvent", "GetGoods", "Trace", "StreamTrace", "events")
        return self._random.choices(kinds, (70, 15, 7, 4, 4))[0]

    async def _one(self, stub: Any, http: httpx.AsyncClient, goods: Goods, user: str, kind: str) -> Receipt:
        """Look once, as the whole answer has come; give its receipt."""
        key, event = self._random.choice(goods.keys), self._random.choice(goods.events)
        options: dict[str, Any] = {"timeout": 20, "metadata": (("goodstrace-user", user),)}
        if kind == "events":
            answer = await http.get(
                "/epcis/v2/events", params={"EQ_eventID": event}, headers={"goodstrace-user": user}
            )
            answer.raise_for_status()
            return _in_header(answer.headers[RECEIPT_HEADER])
        if kind == "StreamTrace":
            traced = trace_pb2.TraceRequest(key=key, max_depth=1)
            call = stub.StreamTrace(trace_pb2.StreamTraceRequest(trace=traced), **options)
            pieces = [piece async for piece in call]
            assert pieces[-1].summary.last
            found = receipt_in(pieces[0])
        elif kind == "Trace":
            asked = trace_pb2.TraceRequest(key=key, max_depth=1, page_size=5)
            found = receipt_in(await stub.Trace(asked, **options))
        elif kind == "GetGoods":
            found = receipt_in(await stub.GetGoods(goods_pb2.GetGoodsRequest(key=key), **options))
        else:
            found = receipt_in(await stub.GetEvent(trace_pb2.GetEventRequest(event_id=event), **options))
        assert found is not None
        return found

    def _settle(self) -> None:
        """Stop the query service, which seals the marks it has left; wait until all that was recorded is sealed and counted."""
        self.system.daemons["query"].stop()
        recorded = len(self.system.topic_values(topics.GOODS_BROWSED))
        eventually(
            lambda: len(self.system.sealed("browse/")) == recorded, deadline_s=300, what="all is sealed"
        )
        watched = len(self.watched())
        eventually(lambda: self.counted() >= watched, deadline_s=300, what=f"the watch has counted {watched}")
        self.system.restart("query")

    def watched(self) -> list[str]:
        """The browse IDs of the looks that the watch was told of."""
        values = self.system.topic_values(topics.BROWSE_WATCHED)
        told = [record_pb2.WatchedBrowse.FromString(value) for _, value in values]
        return [each.record_id.hex() for each in told if each.kind == "look"]

    def counted(self) -> int:
        """How many looks the watch has counted."""
        return sum(row["looks"] for row in self.system.store[ACTIVITY].find({"about": "user"}))


def watch_of(system: System) -> Daemon:
    """Describe a worker of the watch beside a system, always the same one."""
    port = free_port()
    return Daemon(
        name="watch",
        command=[sys.executable, "-m", "services.audit.watch"],
        run_dir=system.run_dir,
        ports=(port,),
        environment={
            **system.environment,
            "GOODSTRACE_INSTANCE": "watch-0",
            "GOODSTRACE_WATCH_METRICS_PORT": str(port),
            "GOODSTRACE_WATCH_DATA_DIR": str(system.run_dir / "watch-data"),
            "GOODSTRACE_WATCH_SESSION_S": "6",
        },
        cwd=ROOT,
    )


@dataclass(frozen=True)
class Sums:
    """What was found, in numbers: looks that were answered, and recorded ones that were not, by what their marks say."""

    answered: int
    unanswered: Counter[str]
    unknown_answered: int
    marks: int


def compare(campaign: Campaign) -> Sums:
    """Hold all accounts of the looks against each other.

    1. Everything on `goods.browsed` is sealed once, in its order, and the logs' roots follow from it.
    2. Every receipt's look is sealed where it says, byte for byte.
    3. No answered look is said to have failed or been withheld; an unknown one was made shortly before a kill of its process.
    4. What is sealed and was not answered is among what callers saw fail.
    5. The watch was told of every answered look, and has counted each that it was told of once.
    """
    system, told = campaign.system, campaign.told
    sealed, records = system.sealed("browse/"), system.topic_records(topics.GOODS_BROWSED)
    _check_sealed(system, sealed, records)
    looks = {record.id.hex(): record for _, record in records if not is_mark(record)}
    assert len(looks) == sum(not is_mark(record) for _, record in records)
    by_id = {decode(each.entry).id: each for each in sealed}
    for receipt in told.receipts.values():
        place = by_id[receipt.browse_id]
        assert (place.log, leaf_hash(place.entry)) == (receipt.log, receipt.leaf_hash)
    assert len(told.receipts) == campaign.looks == sum(told.users.values())
    outcomes = _outcomes(record for _, record in records if is_mark(record))
    said = {look: outcomes[look].value if look in outcomes else "unknown" for look in looks}
    answered = Counter(said[each] for each in told.receipts)
    assert answered.keys() <= {"answered", "unknown"}, answered
    for look, record in looks.items():
        if said[look] == "unknown":
            assert _shortly_before(record.time_ms, told.kills["query"]), (look, record.time_ms)
    unanswered = Counter(said[look] for look in looks if look not in told.receipts)
    assert unanswered.total() <= told.failed.total()
    assert unanswered["answered"] <= len(told.kills["query"]) * _AT_ONCE  # handed over, and lost on the way
    watched = campaign.watched()
    assert len(set(watched)) == len(watched)
    assert told.receipts.keys() <= set(watched)
    assert campaign.counted() == len(watched)
    return Sums(len(told.receipts), unanswered, answered["unknown"], len(outcomes))


def check_proofs(campaign: Campaign, count: int) -> None:
    """Demand the proofs of some receipts as whoever looked would, and verify them."""
    receipts = list(campaign.told.receipts.values())
    with campaign.system.client() as client:
        for receipt in receipts[:: max(1, len(receipts) // count)]:
            assert client.browse_proof(receipt).standing is Standing.SEALED


def say(campaign: Campaign, sums: Sums, tell: Callable[[str], None]) -> None:
    """Tell the figures."""
    told = campaign.told
    unanswered = ", ".join(f"{count} {name}" for name, count in sorted(sums.unanswered.items())) or "none"
    tell(
        f"receipts: {sums.answered} look-ups by {len(told.users)} users answered in {told.took_s:.0f} s "
        f"({sums.answered / told.took_s:.0f}/s), {sum(map(len, told.kills.values()))} kills; all receipts sealed; recorded and not "
        f"answered: {unanswered}; answered with an unknown outcome: {sums.unknown_answered}; calls failed: {told.failed.total()}"
    )


def _check_sealed(system: System, sealed: list[Sealed], records: list[tuple[int, Record]]) -> None:
    expected: dict[str, list[bytes]] = {}
    for partition, record in records:
        expected.setdefault(f"browse/{partition}", []).append(record.entry)
    found: dict[str, list[bytes]] = {}
    for each in sealed:
        found.setdefault(each.log, []).append(each.entry)
    assert found == expected
    with system.client() as client:
        for log, checkpoint in client.checkpoints().items():
            if log.startswith("browse/"):
                assert checkpoint.checkpoint.size == len(found[log])
                assert checkpoint.checkpoint.root == root_of(leaf_hashes(found[log]))


def _outcomes(marks: Iterator[Record]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for record in marks:
        for look, outcome in outcomes_of(record).items():
            assert found.setdefault(look.hex(), outcome) is outcome
    return found


def _shortly_before(time_ms: int, kills: list[int]) -> bool:
    """Say whether something stood within the time in which marks wait, and calls last, before a process was killed."""
    return any(-1000 <= killed - time_ms <= (BATCH_S + 20) * 1000 for killed in kills)


def _in_header(text: str) -> Receipt:
    found = _HEADER.match(text)
    assert found, text
    return Receipt(found["id"], base64.b64decode(found["leaf"]), found["log"], int(found["time"]))
