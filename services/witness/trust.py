"""Which logs the witness follows: those whose keys the operator names, and, on request, those that a platform lists.

The operator's keys come by another way than the logs (a file, a call, a page). A list of logs (`/logs` of a query
service) is trusted on first use: the first key seen for an origin stays, and another one is refused and reported. Who
forges the list before the first use makes the witness follow a log that nobody else knows, and nothing worse.

Where a list names another key than the one trusted, the statements are read by which keys of the log name the next
(goodstrace.key_changes). Where they lead from the trusted key to the one named, each key counts for the sizes of its time.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import httpx
import msgspec
import structlog

from goodstrace import key_changes
from goodstrace.errors import KeyChangeError, NoteError
from goodstrace.key_changes import MAX_CHANGES, MAX_STATEMENT_BYTES, KeyChange
from goodstrace.merkle import MAX_SIZE
from goodstrace.note import Verifier
from services.runtime.errors import ServiceError
from services.runtime.outgoing import careful_client, read_plain
from services.witness.metrics import WitnessMetrics

MAX_LISTED: Final = 10_000
"""The most logs in a list, and the most that are trusted on first use in all: a list may name others each time."""
MAX_LIST_BYTES: Final = 16 * 1024 * 1024
MAX_HISTORY_BYTES: Final = 2 * (MAX_CHANGES + 1) * MAX_STATEMENT_BYTES
_TIMEOUT_S: Final = 30.0
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}(/[0-9]{1,9})?\Z", re.ASCII)


class _Listed(msgspec.Struct):
    """What is read of an item of the list."""

    vkey: str
    name: str = ""


class _Held(msgspec.Struct):
    """What is read of a key in a log's history: the statement that made it the log's key; none of the first."""

    change: KeyChange | None = None


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
        self._changes: dict[str, tuple[KeyChange, ...]] = {}
        self._metrics = metrics
        self._count()

    def keys(self, origin: str, size: int = MAX_SIZE) -> tuple[Verifier, ...]:
        """Give the keys that may sign checkpoints of this size for the log of this origin; none where it is unknown."""
        trusted = self._trusted(origin)
        changes = self._changes.get(origin, ())
        if not self._leads(trusted, changes):
            return trusted
        chain = _keys_of(changes)
        of_size = Verifier.parse(key_changes.key_of_size(changes, changes[-1].new, size))
        return (of_size, *(each for each in trusted if each.vkey() not in chain))

    def follow(self, origin: str, changes: Sequence[KeyChange]) -> None:
        """Go by changes of a log's key, which were verified; those that do not go by a trusted key do not count."""
        self._changes[origin] = tuple(changes)

    def leads(self, origin: str, changes: Sequence[KeyChange]) -> bool:
        """Tell whether changes of a log's key go by one that is trusted, or that those followed before led to."""
        return self._leads((*self._trusted(origin), *self.keys(origin)), changes)

    def _trusted(self, origin: str) -> tuple[Verifier, ...]:
        learned = self._learned.get(origin)
        return self._named.get(origin) or ((learned,) if learned else ())

    @staticmethod
    def _leads(trusted: Iterable[Verifier], changes: Sequence[KeyChange]) -> bool:
        return bool(changes) and any(each.vkey() in _keys_of(changes) for each in trusted)

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
        follow: Callable[[str, Sequence[KeyChange]], Awaitable[tuple[KeyChange, ...]]],
        *,
        metrics: WitnessMetrics,
        log: structlog.stdlib.BoundLogger,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Read `urls`.

        Args:
            urls: of the lists.
            trust: takes what is learned.
            remember: (origin, vkey) keeps the first key of an origin durably and gives the one that is kept.
            follow: (origin, changes) keeps verified changes of a key durably and gives all that are known.
            metrics: counts.
            log: told of what is learned and refused.
            transport: of another kind than HTTP.
        """
        self._urls, self._trust, self._remember, self._follow = urls, trust, remember, follow
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
            other = []
            for name, verifier in _parse(await _fetch(client, url, MAX_LIST_BYTES)):
                known = self._trust.keys(verifier.name)
                if not known:
                    await self._take(url, verifier)
                elif verifier not in known:
                    other.append((name, verifier))
            async with asyncio.timeout(_TIMEOUT_S):  # for all of them: other lists have their turn
                for name, verifier in other:
                    await self._change(client, url, name, verifier)
        except _UNREADABLE as error:
            self._log.warning("list of logs not read", url=url, error=f"{type(error).__name__}: {error}")

    async def _take(self, url: str, verifier: Verifier) -> None:
        if self._trust.learned >= MAX_LISTED:
            raise _TooLongError(f"{MAX_LISTED} logs are trusted on first use already: no more are")
        vkey = verifier.vkey()
        kept = await self._remember(verifier.name, vkey)
        if kept == vkey:
            self._log.info("trusts a log on first use", vkey=vkey, url=url)
        else:
            self._differs(url, kept, vkey, "")
        self._trust.learn(Verifier.parse(kept))

    async def _change(self, client: httpx.AsyncClient, url: str, name: str, verifier: Verifier) -> None:
        """Follow the statements that lead to the key named, where they do."""
        origin = verifier.name
        known = self._trust.keys(origin)[0].vkey()
        try:
            body = await _fetch(client, f"{url}/{name}/keys", MAX_HISTORY_BYTES)
            changes = self._checked(name, verifier, _history(body))
            self._trust.follow(origin, await self._follow(origin, changes))
        except (KeyChangeError, httpx.HTTPError, msgspec.MsgspecError, _TooLongError) as error:
            self._differs(url, known, verifier.vkey(), f"{type(error).__name__}: {error}")
            return
        self._log.warning("follows a log's change of key", origin=origin, old=known, new=verifier.vkey())

    def _checked(self, name: str, named: Verifier, changes: Sequence[KeyChange]) -> Sequence[KeyChange]:
        """Check that statements lead from a trusted key of a log to the one that the list names. Raises: KeyChangeError."""
        key_changes.verify_chain(changes)
        if not changes or (changes[0].origin, changes[0].log) != (named.name, name):
            raise KeyChangeError(f"there are no statements of {named.name}")
        if not self._trust.leads(named.name, changes):
            raise KeyChangeError("its statements do not go by a trusted key")
        if changes[-1].new != named.vkey():
            raise KeyChangeError("its statements do not lead to the key named")
        return changes

    def _differs(self, url: str, trusted: str, named: str, why: str) -> None:
        self._metrics.key_mismatches.inc()
        self._log.error("list of logs names another key", trusted=trusted, named=named, url=url, why=why)


_UNREADABLE: Final = (
    *(httpx.HTTPError, httpx.InvalidURL, TimeoutError),  # not reached
    *(msgspec.MsgspecError, NoteError, _TooLongError),  # not a list of logs
    ServiceError,  # not remembered
)


async def _fetch(client: httpx.AsyncClient, url: str, most_bytes: int) -> bytes:
    async with asyncio.timeout(_TIMEOUT_S), client.stream("GET", url) as response:
        response.raise_for_status()
        body = await read_plain(response, most_bytes)
    if len(body) > most_bytes:
        raise _TooLongError(f"{url} is over {most_bytes} bytes")
    return body


def _history(body: bytes) -> list[KeyChange]:
    held = msgspec.json.decode(body, type=list[_Held])
    return [each.change for each in held if each.change is not None]


def _keys_of(changes: Sequence[KeyChange]) -> set[str]:
    return {each for change in changes for each in (change.old, change.new)}


def _parse(body: bytes) -> list[tuple[str, Verifier]]:
    """Read a list: names, which lead to no other place than below the list, and keys."""
    listed = msgspec.json.decode(body, type=list[_Listed])
    if len(listed) > MAX_LISTED:
        raise _TooLongError(f"the list has over {MAX_LISTED} logs")
    return [(each.name if _NAME.match(each.name) else "-", Verifier.parse(each.vkey)) for each in listed]
