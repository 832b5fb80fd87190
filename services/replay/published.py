"""The checkpoints that the topic of the root log tells of: whatever the store says now, each log had come so far."""

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


async def newest(bootstrap: str, topic: str) -> dict[str, list[Saved]]:
    """Read the topic to its end; gives the checkpoints that each log must contain, by the log's name, see `take`.

    A checkpoint is written there only after its block is in the store. So a log that is read after this and is smaller has lost
    blocks, and is not merely waiting to be sealed. Memory grows with the number of logs, and with how often one was pinned anew from
    a smaller size on, as after a store was put back or made anew.
    Raises: UnavailableError, also where there is no such topic.
    """
    reader = await asyncio.to_thread(TopicReader, bootstrap, topic)
    extent = reader.extents[_PARTITION]
    progress = Progress(f"checkpoints of {topic}", extent.end - extent.low)
    found = dict[str, list[Saved]]()
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


def take(found: dict[str, list[Saved]], topic: str, record: Fetched) -> None:
    """Take what one record of the topic pins into `found`; a record that pins nothing is passed over.

    Of checkpoints that grow the last is kept: whoever contains it contains those before, as its root says. One that is no larger than the
    one before it begins anew, and the one before stays: a log that was cut off and then grew otherwise contains the last alone.
    """
    for pinned in root_records.pinned([record.value]):
        checkpoint = pinned.head.checkpoint
        of_log = found.setdefault(checkpoint.log, [])
        if of_log and (of_log[-1].size, of_log[-1].root) == (checkpoint.size, checkpoint.root):
            continue
        if of_log and of_log[-1].size < checkpoint.size:
            of_log.pop()
        source = f"the checkpoint at offset {record.offset} of {topic}"
        of_log.append(Saved(checkpoint.size, checkpoint.root, source))
