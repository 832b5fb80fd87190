"""A capture API that knows who is who: registry in memory, a clock that stands until it is moved."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import structlog
from fastapi import FastAPI

from services.collector import rejections_api
from services.collector.preparing import Ports
from services.collector.registry.claims import Policy
from services.collector.registry.gate import DefaultLimits, Gate
from services.collector.registry.rates import Rates
from services.collector.registry.registrar import Registrar
from services.collector.rejection_desk import RejectionDesk
from services.runtime.access.tokens import Tokens
from services.runtime.merchants.directory import Directory, Staleness
from services.runtime.settings import KafkaSettings
from tests.memory_registry import MemoryRegistry
from tests.unit.capture_api import Running
from tests.unit.collector_builders import NOW_MS
from tests.unit.rejection_builders import Store, Topic

LOG = structlog.get_logger()
OPERATOR = "operator-token"


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
        tokens: Tokens | None = None,
        store: MemoryRegistry | None = None,
    ) -> None:
        self.store = store or MemoryRegistry()
        self.now_s = 0.0
        now_ms = lambda: NOW_MS + int(self.now_s * 1000)  # noqa: E731 - used twice, here alone
        directory = Directory(self.store, Staleness(2, 300), lambda: self.now_s, now_ms)  # type: ignore[arg-type]
        self.gate = Gate(
            directory,
            rates=Rates(lambda: self.now_s),
            tokens=tokens,
            policy=policy,
            defaults=defaults,
            operator_token=OPERATOR,
        )

        def registrar(running: Running) -> Registrar:
            return Registrar(
                kafka=KafkaSettings(),  # type: ignore[call-arg]  # the mypy of pydantic sees aliases only
                commits=running.commits,
                store=self.store,  # type: ignore[arg-type]
                directory=directory,
                ports=Ports(now_ms, running.ports.random),
            )

        self.running = Running(gate=self.gate, random=ever_new(), registrar=registrar)
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
    desk = RejectionDesk(Store(), Topic(), running.intake, lambda: NOW_MS)
    rejections_api.join(running.app, desk, running.metrics)
    return running.app


@asynccontextmanager
async def registry(**settings: Any) -> AsyncIterator[Registry]:
    here = Registry(**settings)
    committing = asyncio.create_task(here.commits.run(LOG))
    try:
        yield here
    finally:
        here.commits.close()
        await asyncio.wait([committing])
