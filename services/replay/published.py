"""The newest checkpoints that the topic of the root log tells of: whatever the store says now, each log had come so far."""

import asyncio
from typing import Final

from services.ledger import root_records
from services.replay.reading import TopicReader
from services.runtime.progress import Progress
from services.sealing.core import Fetched
from services.sealing.fsck.saved import Saved

_PARTITION: Final = 0  # the topic has one
_READ_RECORDS: Final = 2000
_READ_S: Final = 0.5


async def newest(bootstrap: str, topic: str) -> dict[str, Saved]:
    """Read the topic to its end; gives the largest checkpoint of each log, by the log's name.

    A checkpoint is written there only after its block is in the store. So a log that is read after this and is smaller has lost
    blocks, and is not merely waiting to be sealed. Memory grows with the number of logs alone.
    Raises: UnavailableError, also where there is no such topic.
    """
    reader = await asyncio.to_thread(TopicReader, bootstrap, topic)
    extent = reader.extents[_PARTITION]
    progress = Progress(f"checkpoints of {topic}", extent.end - extent.low)
    found = dict[str, Saved]()
    try:
        await asyncio.to_thread(reader.start, {_PARTITION: extent.low})
        while not reader.finished:
            for _, records in await asyncio.to_thread(reader.read, _READ_RECORDS, _READ_S):
                for each in records:
                    take(found, topic, each)
                progress.add(len(records))
    finally:
        reader.close()
        progress.end()
    return found


def take(found: dict[str, Saved], topic: str, record: Fetched) -> None:
    """Take what one record of the topic pins into `found`, where that is larger; a record that pins nothing is passed over."""
    for pinned in root_records.pinned([record.value]):
        checkpoint = pinned.head.checkpoint
        if checkpoint.log not in found or found[checkpoint.log].size < checkpoint.size:
            source = f"the checkpoint at offset {record.offset} of {topic}"
            found[checkpoint.log] = Saved(checkpoint.size, checkpoint.root, source)
