"""Which checkpoints are in the root log: what its rounds read and write, and how a proof finds the next pinned one.

All of this is derived from the root log's topic.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from goodstrace.block import header_hash
from goodstrace.key_changes import KeyChange
from goodstrace.log_keys import ROOT_LOG
from goodstrace.root import tag_text
from services.runtime.errors import ConflictError
from services.runtime.mongo import Database, find_named, translated
from services.sealing.errors import CorruptError
from services.sealing.indexes import BLOCKS, PINS
from services.sealing.mongo import MongoBlockStore
from services.sealing.values import Head, block_id

_FIRST_RANGE: Final = 64  # sizes; a store that does not stop early reads all pins of a range
_GROWTH: Final = 8
S = TypeVar("S", bound=msgspec.Struct)


class SignedHeader(msgspec.Struct, frozen=True):
    """The exact bytes of a block's header and the log's signature over them."""

    header: bytes
    signature: bytes


class PinnedBlock(msgspec.Struct, frozen=True):
    """What the topic says of a log: its head, and the hash (hex) of the header of the block that the head ends with."""

    head: Head
    block: str


class Pin(msgspec.Struct, frozen=True):
    """A checkpoint that is pinned: the log's size, and the height of the block that it ends with in this store."""

    size: int
    height: int


class Pins:
    """The pins of one database. Every method raises UnavailableError where the store is away."""

    def __init__(self, database: Database) -> None:
        """Take the database; its indexes were made by `services.sealing.provision`."""
        self._database = database
        self._store = MongoBlockStore(database)

    async def heads(self) -> dict[str, Head]:
        """Tell how far every log is published, by name; the root log only where its changed key is to be pinned."""
        infos = {info.name: info for info in await self._store.logs()}
        above = infos.pop(ROOT_LOG, None)
        heads = await self._store.heads(list(infos))
        own = await self._changed(above.changes[-1]) if above is not None and above.changes else None
        return {**heads, ROOT_LOG: own} if own is not None else heads

    async def key_changes(self) -> dict[str, tuple[KeyChange, ...]]:
        """Tell how the keys of the logs changed, oldest first; those of which none did are left out."""
        return {info.name: info.changes for info in await self._store.logs() if info.changes}

    async def pinned(self, heads: Iterable[Head]) -> set[str]:
        """Tell of which of these heads exactly the checkpoint is pinned, by name of the log."""
        by_id = {_pin_id(head): head.checkpoint.log for head in heads}
        found = await find_named(self._database, PINS, by_id)
        return {by_id[document["_id"]] for document in found}

    async def _changed(self, change: KeyChange) -> Head | None:
        """Give the root log's head where its new key has signed it and none such is pinned.

        One is enough: each pin is an entry more, and so the root log would never rest.
        """
        head = await self._store.head(ROOT_LOG)
        if head is None or head.checkpoint.size <= change.size:
            return None
        pinned = await self.first_from(ROOT_LOG, change.size + 1, head.checkpoint.size)
        return head if pinned is None else None

    async def headers(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], SignedHeader]:
        """Read the headers of blocks by log and height. Raises: CorruptError where one is not there."""
        wanted = set(places)
        read = await self.headers_there(wanted)
        if missing := wanted - read.keys():
            raise CorruptError(f"published, but without its block: {sorted(missing)}")
        return read

    async def headers_there(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], SignedHeader]:
        """Read the headers of blocks by log and height; those of which there is no block are left out."""
        by_id = {block_id(log, height): (log, height) for log, height in places}
        found = await find_named(self._database, BLOCKS, by_id, {"header": 1, "signature": 1})
        return {by_id[document["_id"]]: _signed_header(document) for document in found}

    async def pin(self, heads: Iterable[Head]) -> None:
        """Say that these checkpoints are on the root log's topic. May be repeated."""
        for head in heads:
            document = {"_id": _pin_id(head), "log": head.checkpoint.log, "size": head.checkpoint.size}
            try:
                async with translated():
                    await self._database[PINS].insert_one({**document, "height": head.height})
            except ConflictError:
                pass  # by another process, or by this one before its answer was lost

    async def pin_again(self, pinned: Iterable[PinnedBlock]) -> None:
        """Say so of what was read back from the topic, where the blocks are those of this store. May be repeated.

        A store made anew from Kafka has others in their places.
        """
        by_place = {(each.head.checkpoint.log, each.head.height): each for each in pinned}
        headers = await self.headers_there(by_place)
        await self.pin(
            by_place[place].head
            for place, found in headers.items()
            if header_hash(found.header) == by_place[place].block
        )

    async def first_from(self, log: str, size: int, upto: int) -> Pin | None:
        """Find the first pin of a log of a size from `size` to `upto`, both included; None where there is none."""
        start, width = size, _FIRST_RANGE
        while start <= upto:
            end = min(start + width, upto + 1)
            query = {"log": log, "size": {"$gte": start, "$lt": end}}
            async with translated():
                found = await self._database[PINS].find(query, {"size": 1, "height": 1}).to_list(None)
            if found:
                return min(map(_pin, found), key=lambda pin: pin.size)
            start, width = end, width * _GROWTH
        return None


def _pin_id(head: Head) -> str:
    return tag_text(head.checkpoint.log, head.checkpoint.size)


def _pin(document: Mapping[str, object]) -> Pin:
    return _converted(document, Pin)


def _signed_header(document: Mapping[str, object]) -> SignedHeader:
    return _converted(document, SignedHeader)


def _converted(document: Mapping[str, object], kind: type[S]) -> S:
    try:
        return msgspec.convert(document, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise CorruptError(f"document {document.get('_id')} is malformed: {error}") from error
