"""Logs sealed straight into a store, block by block as the writer does it, from entries that cost nothing to make."""

from collections.abc import Sequence

from goodstrace.block import SIGNATURE_DOMAIN
from goodstrace.checkpoint import sign_checkpoint
from goodstrace.note import Signer
from services.runtime.envelope import Part
from services.sealing import core
from services.sealing.core import LogState, Sealable, TopicIdentity
from services.sealing.mongo import MongoBlockStore
from services.sealing.values import Head, LogInfo, PackedRecord, StoredCheckpoint

TOPIC = TopicIdentity("cluster", "goods.stored", "topic-id")
TIME_MS = 1_700_000_000_000
BLOCK_ENTRIES = 2000


def entry(log: str, index: int) -> bytes:
    """The entry at an index of a log made here."""
    return f'{{"log":"{log}","n":{index}}}'.encode() + b" " * (index % 40)


class SealedLog:
    """One log and how far it is sealed."""

    def __init__(self, store: MongoBlockStore, name: str) -> None:
        self.store, self.name = store, name
        self.signer = Signer(f"test.local/00/{name}", name.encode().ljust(32, b"k"))
        self.state = LogState(name, 0)

    @property
    def vkey(self) -> str:
        return self.signer.verifier.vkey()

    async def register(self) -> None:
        await self.store.register(LogInfo(self.name, self.signer.name, self.vkey))

    async def grow(self, size: int, block_entries: int = BLOCK_ENTRIES) -> None:
        """Seal up to `size` entries and publish them."""
        while self.state.size < size:
            indexes = range(self.state.size, min(size, self.state.size + block_entries))
            await self.write(indexes)
            await self.publish()

    async def write(self, indexes: Sequence[int]) -> None:
        """Seal one block, without publishing it."""
        records = [
            Sealable(
                index, 100, PackedRecord(entry(self.name, index), (Part("event", b"s" * 32, b"secret"),), ())
            )
            for index in indexes
        ]
        block = core.next_block(self.state, TOPIC, records, TIME_MS, "epoch")
        await self.store.put_packs(block.packs)
        await self.store.insert_block(block.stored(self.signer.sign(SIGNATURE_DOMAIN + block.header)))
        await self.store.put_tiles(self.name, block.tiles)
        self.checkpoint = block.checkpoint(self.signer.name)
        self.state = block.after

    async def publish(self, *, cosigned: bool = True) -> None:
        """Sign and publish what is sealed; sign it only, where witnesses have not cosigned it."""
        note = sign_checkpoint(self.checkpoint, self.signer)
        stored = StoredCheckpoint(self.name, self.checkpoint.size, self.checkpoint.root, note)
        await self.store.put_checkpoint(stored)
        assert self.state.head is not None
        await self.store.put_head(Head(self.state.head.height, stored, stored if cosigned else None))
