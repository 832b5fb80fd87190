"""Waiting for an event no longer than some time: what loops do between their rounds, and what a stop cuts short."""

import asyncio
import contextlib


async def until_set(event: asyncio.Event, most_s: float | None) -> bool:
    """Wait until an event is set, or the time is over (never, where it is None); tell whether it is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), most_s)
    return event.is_set()
