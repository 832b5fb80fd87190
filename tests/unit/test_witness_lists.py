"""Lists of logs that a witness trusts on first use, and whose servers may be hostile."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace import key_changes
from goodstrace.errors import KeyChangeError
from goodstrace.key_changes import KeyChange
from goodstrace.note import Signer, Verifier
from services.sealing.listing import key_history, listed
from services.sealing.values import LogInfo
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

    followed: dict[str, tuple[KeyChange, ...]] = {}

    async def follow(origin: str, changes: Sequence[KeyChange]) -> tuple[KeyChange, ...]:
        joined = key_changes.joined(followed.get(origin, ()), changes)
        if joined is None:
            raise KeyChangeError("others are known")
        followed[origin] = joined
        return joined

    async def remember(origin: str, vkey: str) -> str:
        return kept.setdefault(origin, vkey)

    lists = Lists(
        urls,
        trusted,
        remember,
        follow,
        metrics=metrics,
        log=structlog.stdlib.get_logger(),
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


ORIGIN = "shop.example/1/goods/0"
KEYS = [Signer(ORIGIN, bytes([number]) * 32) for number in range(1, 5)]


def change(old: int, new: int, size: int) -> KeyChange:
    return key_changes.sign(
        log="goods/0",
        height=size,
        size=size,
        previous="ab" * 32,
        time=size,
        old=KEYS[old],
        new=KEYS[new],
    )


class Site:
    """A query service whose list names a key, and whose history of keys is what a test says."""

    def __init__(self) -> None:
        self.named, self.name = 0, "goods/0"
        self.changes: list[KeyChange] = []
        self.paths: list[str] = []

    def respond(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        if request.url.path == "/logs":
            listed_log = {**listed(self._info, "http://elsewhere"), "name": self.name}
            return httpx.Response(200, content=msgspec.json.encode([listed_log]))
        return httpx.Response(200, content=msgspec.json.encode(key_history(self._info)))

    @property
    def _info(self) -> LogInfo:
        return LogInfo("goods/0", ORIGIN, KEYS[self.named].verifier.vkey(), tuple(self.changes))

    async def read_again(self) -> None:
        """Wait until the list was read twice from now on: once wholly."""
        upto = self.paths.count("/logs") + 2
        await until(lambda: self.paths.count("/logs") >= upto)


def verifiers(*numbers: int) -> tuple[Verifier, ...]:
    return tuple(KEYS[number].verifier for number in numbers)


async def test_a_change_of_key_is_followed_and_each_key_signs_what_is_of_its_time() -> None:
    site = Site()
    async with reading("http://shop.example/logs", respond=site.respond) as trusted:
        await until(lambda: trusted.keys(ORIGIN) == verifiers(0))
        site.changes, site.named = [change(0, 1, 10), change(1, 2, 20)], 2
        await until(lambda: trusted.keys(ORIGIN) == verifiers(2))
        assert [trusted.keys(ORIGIN, size) for size in (0, 10, 11, 20, 21)] == [
            verifiers(number) for number in (0, 0, 1, 1, 2)
        ]
        site.changes, site.named = [change(2, 3, 30)], 3  # the store was made anew: it has those since then
        await until(lambda: trusted.keys(ORIGIN) == verifiers(3))
        assert trusted.keys(ORIGIN, 10) == verifiers(0)
    assert set(site.paths) == {"/logs", "/logs/goods/0/keys"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ([], 1),  # no statement
        ([change(2, 1, 10)], 1),  # not by the trusted key
        ([change(0, 1, 10)], 2),  # not to the one named
        ([msgspec.structs.replace(change(0, 1, 10), size=11)], 1),  # forged
        ([change(0, 1, 10), change(1, 2, 5)], 2),  # no chain
    ],
)
async def test_what_does_not_lead_from_the_trusted_key_to_the_one_named_is_refused(
    changes: list[KeyChange], named: int
) -> None:
    site = Site()
    async with reading("http://shop.example/logs", respond=site.respond) as trusted:
        await until(lambda: trusted.keys(ORIGIN) == verifiers(0))
        site.changes, site.named = changes, named
        await until(lambda: "/logs/goods/0/keys" in site.paths)
        await site.read_again()
        assert trusted.keys(ORIGIN) == verifiers(0)


async def test_a_retired_key_names_no_other_heir() -> None:
    site = Site()
    async with reading("http://shop.example/logs", respond=site.respond) as trusted:
        await until(lambda: trusted.keys(ORIGIN) == verifiers(0))
        site.changes, site.named = [change(0, 1, 10)], 1
        await until(lambda: trusted.keys(ORIGIN) == verifiers(1))
        site.changes, site.named = [change(0, 2, 12)], 2
        await site.read_again()
        assert trusted.keys(ORIGIN) == verifiers(1)


async def test_a_name_in_a_list_leads_nowhere_else() -> None:
    site = Site()
    async with reading("http://shop.example/logs", respond=site.respond) as trusted:
        await until(lambda: trusted.keys(ORIGIN) == verifiers(0))
        site.name, site.changes, site.named = "../../admin?", [change(0, 1, 10)], 1
        await site.read_again()
        assert trusted.keys(ORIGIN) == verifiers(0)
    assert set(site.paths) == {"/logs", "/logs/-/keys"}
