"""Who is blocked: put there by a rule of the watch or by an operator, and refused by whoever shows records. Signing in is not refused: it costs work.

A block is of a user or of a network, ends by itself, and can be lifted; one that was lifted is not put again by the watch for a while. A process asks the
store for the whole list every `fresh_s` seconds at most, so a block takes hold within that; the list is bounded.

The watch knows users by a pseudonym of the day, and so does the list where the watch put the block: whoever enforces it compares the caller's pseudonyms of
today and of yesterday, so that it holds over midnight and the list names nobody. Of what is over nothing is kept.
"""

import contextlib
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from pymongo import IndexModel

from services.runtime import clock
from services.runtime.call_errors import NotAllowedError
from services.runtime.errors import ConflictError, ServiceError
from services.runtime.mongo import Database, translated

BLOCKS: Final = "watch_blocks"  # `blocks` are those of the logs
FRESH_S: Final = 2.0
MOST: Final = 10_000
LIFTED_MS: Final = 3_600_000
_LATEST_MS: Final = 2**47  # of what dates can tell
USER, NETWORK, PSEUDONYM = "user", "network", "pseudonym"
KINDS: Final = (USER, NETWORK, PSEUDONYM)
EXPIRES: Final = "expires"

Pseudonyms = Callable[[str], Awaitable[Sequence[str]]]
"""Gives the pseudonyms by which the watch knows a user lately; those of nobody in particular have none. Raises: UnavailableError."""


class BlockedError(NotAllowedError):
    """The caller is blocked; the text is for the caller."""


class Block(msgspec.Struct, frozen=True):
    """One block.

    subject: "user:<name>", put by an operator, "pseudonym:<a user's of one day>" or "network:<network>". until_ms: when it ends, Unix milliseconds. reason: the rule's ID, or an operator's words. alert: the
    ID of the alert, else empty. by: "watch", or who put it. lifted_until_ms: until when the watch does not put it again.
    """

    subject: str
    until_ms: int
    reason: str = ""
    alert: str = ""
    by: str = ""
    lifted_until_ms: int = 0


class Blocking(Protocol):
    """Asked before a look."""

    async def check(self, *, user: str, network: str) -> None:
        """Return where neither is blocked. Raises: BlockedError, UnavailableError."""
        ...


def blocked_subject(about: str, name: str) -> str:
    """Name whom an alert blocks: a network, or else a user by the pseudonym."""
    return f"{NETWORK if about == NETWORK else PSEUDONYM}:{name}"


def indexes() -> list[IndexModel]:
    """List the indexes of the collection: what is over goes by itself."""
    return [IndexModel([(EXPIRES, 1)], name=EXPIRES, expireAfterSeconds=0)]


class Blocks:
    """The list in MongoDB; all of it may be repeated."""

    def __init__(self, database: Database) -> None:
        """Use the collection of a database."""
        self._blocks = database[BLOCKS]

    async def put(self, block: Block, *, only_unless_lifted: bool = False) -> None:
        """Block somebody, at least until then. Raises: UnavailableError."""
        body = {**msgspec.structs.asdict(block)}
        until_ms, subject = body.pop("until_ms"), body.pop("subject")
        body.pop("lifted_until_ms")
        meant: dict[str, Any] = {"_id": subject}
        if only_unless_lifted:
            meant["lifted_until_ms"] = {"$not": {"$gt": clock.now_ms()}}
        update: dict[str, Any] = {"$set": body, "$max": {"until_ms": until_ms, EXPIRES: _date(until_ms)}}
        if not only_unless_lifted:
            update["$set"] = {**body, "lifted_until_ms": 0}
        with contextlib.suppress(ConflictError):  # it is there and was lifted
            async with translated():
                await self._blocks.update_one(meant, update, upsert=True)

    async def lift(self, subject: str, *, for_ms: int = LIFTED_MS) -> bool:
        """End a block, and let the watch not put it again for so long; tells whether there was one. Raises: UnavailableError."""
        now_ms = clock.now_ms()
        async with translated():
            was = await self._blocks.find_one({"_id": subject})
            await self._blocks.update_one(
                {"_id": subject},
                {
                    "$set": {
                        "until_ms": 0,
                        "lifted_until_ms": now_ms + for_ms,
                        EXPIRES: _date(now_ms + for_ms),
                    }
                },
                upsert=True,
            )
        return was is not None and int(was.get("until_ms", 0)) > now_ms

    async def forget(self, subjects: Iterable[str]) -> int:
        """Delete what is kept of subjects, as when a user is erased; tells of how many there was something. Raises: UnavailableError."""
        async with translated():
            gone = await self._blocks.delete_many({"_id": {"$in": list(subjects)}})
        return gone.deleted_count

    async def in_force(self) -> list[Block]:
        """List the blocks that count now, at most MOST, those that end last first. Raises: UnavailableError."""
        async with translated():
            found = self._blocks.find({"until_ms": {"$gt": clock.now_ms()}}).sort("until_ms", -1).limit(MOST)
            return [_block(each) async for each in found]


class RememberedBlocks:
    """Answers from a list that is read again once it is `fresh_s` old.

    Where the store does not answer, the last list counts: no block is forgotten by an outage.
    """

    def __init__(
        self,
        blocks: Blocks,
        *,
        pseudonyms: Pseudonyms,
        fresh_s: float = FRESH_S,
        clock_s: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        """Remember what `blocks` lists; by `pseudonyms` callers are found whom the watch has put there."""
        self._blocks, self._pseudonyms, self._fresh_s = blocks, pseudonyms, fresh_s
        self._clock_s, self._now_ms = clock_s, now_ms
        self._known: Mapping[str, Block] | None = None
        self._are_pseudonyms = False
        self._fresh_until_s = 0.0

    async def check(self, *, user: str, network: str) -> None:
        """Return where neither is blocked.

        Raises: BlockedError; UnavailableError where the list was never read.
        """
        known = await self._list()
        subjects = [f"{USER}:{user}", f"{NETWORK}:{network}"]
        if self._are_pseudonyms:
            subjects += [f"{PSEUDONYM}:{each}" for each in await self._pseudonyms(user)]
        for subject in subjects:
            block = self._counting(known, subject)
            if block is not None:
                raise BlockedError(_said(block))

    async def is_network_blocked(self, network: str) -> bool:
        """Say whether a network is blocked, for those who do not refuse it. Raises: UnavailableError where the list was never read."""
        return self._counting(await self._list(), f"{NETWORK}:{network}") is not None

    def _counting(self, known: Mapping[str, Block], subject: str) -> Block | None:
        block = known.get(subject)
        return block if block is not None and block.until_ms > self._now_ms() else None

    async def _list(self) -> Mapping[str, Block]:
        if self._known is not None and self._clock_s() < self._fresh_until_s:
            return self._known
        known = self._known
        self._fresh_until_s = self._clock_s() + self._fresh_s  # others need not ask at the same time
        try:
            self._known = {block.subject: block for block in await self._blocks.in_force()}
            self._are_pseudonyms = any(each.startswith(f"{PSEUDONYM}:") for each in self._known)
        except ServiceError:
            if known is None:
                self._fresh_until_s = 0.0
                raise
        return self._known or {}


def _block(document: Mapping[str, Any]) -> Block:
    return msgspec.convert({**document, "subject": document["_id"]}, Block)


def _said(block: Block) -> str:
    who = "this network" if block.subject.startswith(f"{NETWORK}:") else "this user"
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(block.until_ms / 1000))
    return f"{who} is blocked until {until} because of unusual use; the operator can lift that"


def _date(time_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(min(time_ms, _LATEST_MS) / 1000, dt.UTC)
