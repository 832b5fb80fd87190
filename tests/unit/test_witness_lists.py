"""Lists of logs that a witness trusts on first use, and whose servers may be hostile."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace.note import Signer
from services.witness import trust
from services.witness.metrics import WitnessMetrics
from services.witness.trust import Lists, Trust
from tests.unit.sealing_bench import until

Respond = Callable[[httpx.Request], httpx.Response]


def vkeys(*numbers: int) -> bytes:
    signers = [Signer(f"shop.example/{number}/goods/0", number.to_bytes(32)) for number in numbers]
    return msgspec.json.encode([{"vkey": signer.verifier.vkey()} for signer in signers])


@asynccontextmanager
async def reading(*urls: str, respond: Respond) -> AsyncIterator[Trust]:
    metrics = WitnessMetrics(CollectorRegistry())
    trusted, kept = Trust([], [], metrics), dict[str, str]()

    async def remember(origin: str, vkey: str) -> str:
        return kept.setdefault(origin, vkey)

    lists = Lists(
        urls,
        trusted,
        remember,
        metrics,
        structlog.stdlib.get_logger(),
        transport=httpx.MockTransport(respond),
    )
    task = asyncio.create_task(lists.run(0.001))
    try:
        yield trusted
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_list_that_names_others_each_time_is_followed_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trust, "MAX_LISTED", 5)
    asked = 0

    def respond(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return httpx.Response(200, content=vkeys(2 * asked, 2 * asked + 1))

    async with reading("http://list", respond=respond) as trusted:
        await until(lambda: asked > 10)
        assert len(trusted.origins()) == 5


async def test_a_list_that_does_not_end_keeps_no_other_from_being_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trust, "_TIMEOUT_S", 0.05)

    class Dripping(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(0.001)
                yield b" "

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.host == "slow":
            return httpx.Response(200, stream=Dripping())
        return httpx.Response(200, content=vkeys(1))

    async with reading("http://slow", "http://list", respond=respond) as trusted:
        await until(lambda: len(trusted.origins()) == 1)


async def test_a_packed_list_is_not_unpacked() -> None:
    asked: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        packed = httpx.ByteStream(gzip.compress(vkeys(1)))
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=packed)

    async with reading("http://list", respond=respond) as trusted:
        await until(lambda: len(asked) > 1)
        assert trusted.origins() == []
    assert asked[0].headers["accept-encoding"] == "identity"
