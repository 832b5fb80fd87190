"""What the root log's topic holds beyond the copy: pins of blocks that are in it are written down again, as the ledger did when it sent them."""

import asyncio
from collections.abc import Sequence
from typing import Final

from goodstrace import block as blocks
from goodstrace.log_keys import ROOT_LOG
from services.ledger import root_records
from services.replay.reading import TopicReader
from services.runtime.mongo import Database
from services.sealing.mongo import MongoBlockStore
from services.sealing.pins import Pins

_BATCH: Final = 500
_POLL_S: Final = 0.5


async def pin_again(database: Database, bootstrap: str, topic: str) -> None:
    """Read the topic from where the restored root log ends. May be repeated. Raises: OffsetGapError, UnavailableError, EnvelopeError."""
    store, pins = MongoBlockStore(database), Pins(database)
    head = await store.head(ROOT_LOG)
    last = await store.block(ROOT_LOG, head.height) if head is not None else None
    start = blocks.decode(last.header).kafka.next if last is not None else 0
    reader = await asyncio.to_thread(TopicReader, bootstrap, topic)
    try:
        reader.start({0: start})
        while not reader.finished:
            await pins.pin_again(root_records.pinned(await asyncio.to_thread(_read, reader)))
    finally:
        reader.close()


def _read(reader: TopicReader) -> Sequence[bytes]:
    return [each.value for _, records in reader.read(_BATCH, _POLL_S) for each in records]
