"""Which logs the witness follows: those whose keys the operator names, and, on request, those that a platform lists.

The operator's keys come by another way than the logs (a file, a call, a page). A list of logs (`/logs` of a query
service) is trusted on first use: the first key seen for an origin stays, and another one is refused and reported. Who
forges the list before the first use makes the witness follow a log that nobody else knows, and nothing worse.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import httpx
import msgspec
import structlog

from goodstrace.errors import NoteError
from goodstrace.note import Verifier
from services.runtime.errors import ServiceError
from services.runtime.outgoing import careful_client, read_plain
from services.witness.metrics import WitnessMetrics

MAX_LISTED: Final = 10_000
"""The most logs in a list, and the most that are trusted on first use in all: a list may name others each time."""
MAX_LIST_BYTES: Final = 16 * 1024 * 1024
_TIMEOUT_S: Final = 30.0


class _Listed(msgspec.Struct):
    """What is read of an item of the list."""

    vkey: str


class _TooLongError(Exception):
    """A list is over a limit."""


class Trust:
    """The keys by origin. An origin for which the operator names keys has those only."""

    def __init__(
        self, named: Iterable[Verifier], learned: Iterable[Verifier], metrics: WitnessMetrics
    ) -> None:
        """Take the operator's keys, several for one origin where its key changes, and those learned before."""
        self._named: dict[str, tuple[Verifier, ...]] = {}
        for verifier in dict.fromkeys(named):
            self._named[verifier.name] = (*self._named.get(verifier.name, ()), verifier)
        self._learned = {verifier.name: verifier for verifier in learned}
        self._metrics = metrics
        self._count()

    def keys(self, origin: str) -> tuple[Verifier, ...]:
        """Give the keys that may sign for the log of this origin; none where it is unknown."""
        learned = self._learned.get(origin)
        return self._named.get(origin) or ((learned,) if learned else ())

    @property
    def learned(self) -> int:
        """How many keys were trusted on first use."""
        return len(self._learned)

    def origins(self) -> list[str]:
        """List the logs that are followed."""
        return sorted({*self._named, *self._learned})

    def learn(self, verifier: Verifier) -> None:
        """Follow a log by a key that was trusted on first use."""
        self._learned[verifier.name] = verifier
        self._count()

    def _count(self) -> None:
        self._metrics.logs.set(len(self.origins()))


class Lists:
    """Reads lists of logs again and again, so that logs which come later are followed too."""

    def __init__(
        self,
        urls: Sequence[str],
        trust: Trust,
        remember: Callable[[str, str], Awaitable[str]],
        metrics: WitnessMetrics,
        log: structlog.stdlib.BoundLogger,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Read `urls`; `remember` (origin, vkey) keeps the first key of an origin durably and gives the one that is kept."""
        self._urls, self._trust, self._remember = urls, trust, remember
        self._metrics, self._log, self._transport = metrics, log, transport

    async def run(self, every_s: float) -> None:
        """Read all lists now and every `every_s` seconds, until cancelled."""
        async with careful_client(transport=self._transport) as client:
            while True:
                for url in self._urls:
                    await self._read(client, url)
                await asyncio.sleep(every_s)

    async def _read(self, client: httpx.AsyncClient, url: str) -> None:
        try:
            for verifier in _parse(await _fetch(client, url)):
                if verifier not in self._trust.keys(verifier.name):
                    await self._take(url, verifier)
        except _UNREADABLE as error:
            self._log.warning("list of logs not read", url=url, error=f"{type(error).__name__}: {error}")

    async def _take(self, url: str, verifier: Verifier) -> None:
        known = self._trust.keys(verifier.name)
        if not known and self._trust.learned >= MAX_LISTED:
            raise _TooLongError(f"{MAX_LISTED} logs are trusted on first use already: no more are")
        vkey = verifier.vkey()
        kept = known[0].vkey() if known else await self._remember(verifier.name, vkey)
        if kept == vkey:
            self._log.info("trusts a log on first use", vkey=vkey, url=url)
        else:
            self._metrics.key_mismatches.inc()
            self._log.error("list of logs names another key", trusted=kept, named=vkey, url=url)
        if not known:
            self._trust.learn(Verifier.parse(kept))


_UNREADABLE: Final = (
    *(httpx.HTTPError, httpx.InvalidURL, TimeoutError),  # not reached
    *(msgspec.MsgspecError, NoteError, _TooLongError),  # not a list of logs
    ServiceError,  # not remembered
)


async def _fetch(client: httpx.AsyncClient, url: str) -> bytes:
    async with asyncio.timeout(_TIMEOUT_S), client.stream("GET", url) as response:
        response.raise_for_status()
        body = await read_plain(response, MAX_LIST_BYTES)
    if len(body) > MAX_LIST_BYTES:
        raise _TooLongError(f"the list is over {MAX_LIST_BYTES} bytes")
    return body


def _parse(body: bytes) -> list[Verifier]:
    listed = msgspec.json.decode(body, type=list[_Listed])
    if len(listed) > MAX_LISTED:
        raise _TooLongError(f"the list has over {MAX_LISTED} logs")
    return [Verifier.parse(each.vkey) for each in listed]
