"""Who registered after the copy was made: written down again at once, as their collector did, and not when a projector comes to it.

Else a merchant who registers meanwhile could be given the number, or the prefix, of one who is known to Kafka alone.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from services.collector.registry import registrations
from services.collector.registry.store import RegistryStore
from services.replay.reading import TopicReader
from services.runtime import envelope
from services.runtime.mongo import Database

_BATCH: Final = 500
_POLL_S: Final = 0.5
_EARLIER_MS: Final = 3_600_000
"""Clocks differ, and a registration may be on its way for a while: what is read twice changes nothing."""


async def register_again(database: Database, bootstrap: str, topic: str, since_ms: int) -> int:
    """Read the first topic of goods from an hour before a time (Unix ms); tells how many registrations there were. Raises: UnavailableError, EnvelopeError."""
    store, count = RegistryStore(database), 0
    reader = await asyncio.to_thread(TopicReader, bootstrap, topic)
    try:
        await asyncio.to_thread(_start, reader, since_ms - _EARLIER_MS)
        while not reader.finished:
            values = await asyncio.to_thread(_read, reader)
            changes = registrations.changes(map(envelope.decode, values))
            await store.apply(changes)
            count += sum(map(len, changes.values()))
    finally:
        reader.close()
    return count


def _start(reader: TopicReader, time_ms: int) -> None:
    reader.start({each: reader.offset_at(each, max(0, time_ms)) for each in reader.extents})


def _read(reader: TopicReader) -> Sequence[bytes]:
    return [each.value for _, records in reader.read(_BATCH, _POLL_S) for each in records]
