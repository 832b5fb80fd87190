"""The key of one log as its writer uses it: it signs, and goes over to the next key where one is prepared.

A change of key happens with a block. Before the block the statement of the change is stored as pending; the block, signed
by the new key, is the commit point, as it is for its entries; after it the change is applied, and only then is the block
published. So a writer that was paused and wakes up with the old key loses the race for the block, or wins it and the
change is pending still; and whoever takes the log up after a crash finds out from the last block which it was.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from goodstrace import key_changes
from goodstrace.block import SIGNATURE_DOMAIN
from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.key_changes import KeyChange
from goodstrace.note import Signer, SigningKey, Verifier
from services.sealing.core import Block
from services.sealing.errors import CorruptError, LogKeyError
from services.sealing.ports import BlockStore, Keys
from services.sealing.values import LogInfo, StoredBlock

T = TypeVar("T")


class LogKey:
    """Signs the blocks and checkpoints of one log, with the key in force."""

    def __init__(
        self,
        store: BlockStore,
        keys: Keys,
        info: LogInfo,
        found: Sequence[SigningKey],
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Use those of the keys found that `info` says. Raises: LogKeyError where the key in force is not among them."""
        self._store = store
        self._keys = keys
        self._info = info
        self._log = log
        self._current = _in_force(info, found)
        self._next = _following(info, found)
        self._pending: KeyChange | None = None
        self._refused = False

    @classmethod
    async def take_up(
        cls,
        store: BlockStore,
        keys: Keys,
        *,
        log: str,
        origin: str,
        last: StoredBlock | None,
        report: structlog.stdlib.BoundLogger,
    ) -> "LogKey":
        """Take up the key of a log whose last block is `last`; a new log gets a key and is registered.

        A change of key that was cut off after its block is finished.

        Raises: LogKeyError, CorruptError, UnavailableError.
        """
        registered = {info.name: info for info in await store.logs()}.get(log)
        if registered is not None and registered.origin != origin:
            raise LogKeyError(f"{log}: registered as {registered.origin}, but set up as {origin}")
        found = await asyncio.to_thread(keys.find, log, origin, create=registered is None)
        if registered is None:
            registered = await store.register(LogInfo(log, origin, found[0].verifier.vkey()))
        if registered.pending is not None and last is not None and _is_made(registered.pending, last):
            change = registered.pending
            registered = await store.apply_change(change)
            report.info("key change finished that was cut off", log=log, height=change.height, new=change.new)
        if registered.changes and (last is None or last.height < registered.changes[-1].height):
            raise CorruptError(
                f"{log}: its key changed at height {registered.changes[-1].height}, beyond its last block"
            )
        key = cls(store, keys, registered, found, report)
        await asyncio.to_thread(keys.settle, registered)
        return key

    @property
    def origin(self) -> str:
        """The name of the log's keys."""
        return self._info.origin

    @property
    def verifier(self) -> Verifier:
        """The public key in force."""
        return self._current.verifier

    async def sign_header(self, block: Block) -> bytes:
        """Sign a block's header: 64 bytes. Where a next key is prepared it signs, and the change is pending in the store.

        May be repeated, with the same or with another block. Raises: LogKeyError, LostRaceError, UnavailableError.
        """
        message = SIGNATURE_DOMAIN + block.header
        await self._look_for_next()
        if self._next is None:
            return await _done_by(self._current, lambda: self._current.sign(message))
        self._pending = await self._change(block, self._next)
        await self._store.propose_change(self._pending)
        following = self._next
        return await _done_by(following, lambda: following.sign(message))

    async def committed(self) -> None:
        """Finish a change of key whose block is durable: from now on the new key signs. May be repeated.

        Raises: LogKeyError, LostRaceError, UnavailableError.
        """
        if self._pending is None or self._next is None:
            return
        self._info = await self._store.apply_change(self._pending)
        await asyncio.to_thread(self._keys.settle, self._info)
        self._log.info(
            "key changed",
            log=self._info.name,
            height=self._pending.height,
            old=self._pending.old,
            new=self._pending.new,
        )
        self._current, self._next, self._pending = self._next, None, None

    async def sign_checkpoint(self, statement: Checkpoint) -> str:
        """Give a checkpoint as a signed note; its block is durable. Raises: LogKeyError, UnavailableError."""
        return await _done_by(self._current, lambda: sign_checkpoint(statement, self._current))

    async def _look_for_next(self) -> None:
        """Notice a key that was prepared since; one that cannot be used is told of once, and stops nothing."""
        if self._next is not None or self._refused or not self._keys.may_have_next(self._info.name):
            return
        try:
            found = await asyncio.to_thread(self._keys.find, self._info.name, self.origin, create=False)
        except LogKeyError as error:
            self._refused = True
            self._log.warning("next key not taken", log=self._info.name, error=str(error))
            return
        self._next = _following(self._info, found)

    async def _change(self, block: Block, following: SigningKey) -> KeyChange:
        head = block.after.head
        assert head is not None
        if len(self._info.changes) >= key_changes.MAX_CHANGES:
            raise LogKeyError(
                f"{self._info.name}: a log's key changes {key_changes.MAX_CHANGES} times at the most"
            )

        def sign() -> KeyChange:
            return key_changes.sign(
                log=self._info.name,
                height=head.height,
                size=head.first,
                previous=head.previous,
                time=head.time,
                old=self._current,
                new=following,
            )

        if isinstance(self._current, Signer):
            return await _done_by(following, sign)
        return await asyncio.to_thread(sign)


def _in_force(info: LogInfo, found: Sequence[SigningKey]) -> SigningKey:
    for key in found:
        if key.verifier.vkey() == info.vkey:
            return key
    raise LogKeyError(f"{info.name}: the key at hand is not the one registered, {info.vkey}")


def _following(info: LogInfo, found: Sequence[SigningKey]) -> SigningKey | None:
    """Give the last key that is neither in force nor was it before."""
    used = {info.vkey, *(change.old for change in info.changes)}
    return next((key for key in reversed(found) if key.verifier.vkey() not in used), None)


def _is_made(pending: KeyChange, last: StoredBlock) -> bool:
    """Tell whether the block that a pending change waits for is there: signed by the new key."""
    new = Verifier.parse(pending.new)
    return last.height == pending.height and new.is_valid(last.signature, SIGNATURE_DOMAIN + last.header)


async def _done_by(key: SigningKey, work: Callable[[], T]) -> T:
    """Sign at once with a key in memory; any other may take its time, which the event loop must not wait for."""
    return work() if isinstance(key, Signer) else await asyncio.to_thread(work)
