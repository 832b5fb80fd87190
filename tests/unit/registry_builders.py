"""A capture API that knows who is who: registry in memory, a clock that stands until it is moved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from goodstrace.registration import merchant_key
from services.collector import rejections_api
from services.collector.preparing import Ports
from services.collector.registry.claims import Policy
from services.collector.registry.gate import DefaultLimits, Gate
from services.collector.registry.known_ranges import KnownRanges
from services.collector.registry.rates import Rates
from services.collector.registry.registrar import Registrar
from services.collector.registry.registrations import Registration, changes, item_of
from services.collector.rejection_desk import RejectionDesk
from services.runtime.access.guard import Guard, Refusal
from services.runtime.merchants.directory import Directory, Staleness
from services.runtime.merchants.values import Merchant, Status, What, plain
from services.runtime.settings import KafkaSettings
from tests.memory_accounts import OPERATOR, MemoryAccounts, authenticator
from tests.memory_registry import MemoryRegistry
from tests.unit.capture_api import Running, committing
from tests.unit.collector_builders import NOW_MS, counted
from tests.unit.rejection_builders import Looks, Store, Topic


def ever_new() -> Any:
    """Random bytes that are never the same twice and the same in every run."""
    calls = 0

    def random(size: int) -> bytes:
        nonlocal calls
        calls += 1
        return calls.to_bytes(4, "big") + bytes(size - 4)

    return random


class Registry:
    """A collector's edge. `now_s` moves both clocks."""

    def __init__(
        self,
        policy: Policy = Policy.ORIGIN,
        defaults: DefaultLimits = DefaultLimits(),  # noqa: B008 - frozen
        store: MemoryRegistry | None = None,
    ) -> None:
        self.store = store or MemoryRegistry()
        self.now_s = 0.0
        now_ms = lambda: NOW_MS + int(self.now_s * 1000)  # noqa: E731 - used twice, here alone
        directory = Directory(self.store, Staleness(2, 300), lambda: self.now_s, now_ms)  # type: ignore[arg-type]
        self.gate = Gate(
            directory,
            rates=Rates(lambda: self.now_s),
            policy=policy,
            defaults=defaults,
        )
        self.accounts, self.refusals = MemoryAccounts(), list[Refusal]()
        self.authenticator = authenticator(directory, self.accounts, lambda: self.now_s, now_ms)
        self.guard = Guard("collector", self.authenticator, self.refusals.append)

        def registrar(running: Running) -> Registrar:
            return Registrar(
                kafka=KafkaSettings(),  # type: ignore[call-arg]  # the mypy of pydantic sees aliases only
                commits=running.commits,
                store=self.store,  # type: ignore[arg-type]
                directory=directory,
                ports=Ports(now_ms, running.ports.random),
            )

        ranges = KnownRanges(self.store, Staleness(2, 300), lambda: self.now_s, lambda: None)
        self.running = Running(
            gate=self.gate, random=ever_new(), registrar=registrar, guard=self.guard, ranges=ranges
        )
        self.kafka, self.metrics, self.http = (
            self.running.kafka,
            self.running.metrics,
            self.running.http,
        )
        self.commits = self.running.commits

    async def operate(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Ask as the operator."""
        headers = {"authorization": f"Bearer {OPERATOR}"}
        return await self.http.request(method, f"/registry/v1/{path}", headers=headers, **arguments)

    async def merchant(self, **content: Any) -> tuple[int, str]:
        """Register a merchant; gives its number and a key."""
        made = await self.operate("POST", "merchants", json={"name": "Ann", **content})
        assert made.status_code == 201, made.text
        number = made.json()["merchant"]
        key = await self.operate("POST", f"merchants/{number}/keys")
        return number, str(key.json()["apiKey"])

    async def capture(self, body: bytes, key: str = "", **headers: str | bytes) -> httpx.Response:
        """Capture a document with a key."""
        told: dict[str, str | bytes] = {"content-type": "application/ld+json", **headers}
        if key:
            told["authorization"] = f"Bearer {key}"
        return await self.http.post("/epcis/v2/capture", content=body, headers=told)


def whole_app(here: Registry) -> FastAPI:
    """Add the rejections to a collector's API: all of it then."""
    running = here.running
    desk = RejectionDesk(Store(), Topic(), running.intake, Looks(), lambda: NOW_MS)
    rejections_api.join(running.app, desk, running.metrics)
    return running.app


@asynccontextmanager
async def registry(**settings: Any) -> AsyncIterator[Registry]:
    here = Registry(**settings)
    async with committing(here.commits):
        yield here


def registered(store: MemoryRegistry, number: int, *, suspended: bool = False, **content: Any) -> None:
    """Register a merchant in memory, anew too."""
    status = Status.SUSPENDED if suspended else Status.ACTIVE
    merchant = Merchant(f"merchant {number}", status=status, **content)
    known = store.documents.get((What.MERCHANT, number), {"time_ms": 0})
    registration = Registration(What.MERCHANT, merchant_key(number), number, plain(merchant))
    record = item_of(registration, known["time_ms"] + 1, counted(10 * number)).record
    store.take(changes([record]))
