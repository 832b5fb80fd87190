"""One life of a ledger as a process of its own, which kills or stops itself at a point: `python -m tests.crash_driver LIFE`.

LIFE is a JSON object (`Life`). It joins a consumer group of its own, so that it need not wait until the group has missed
the one that was killed before. Prints the calls it came by, where it ends in order.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from services.runtime import clock
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings
from services.sealing.kafka import KafkaSource
from services.sealing.keys import KeyFolder
from services.sealing.mongo import MongoBlockStore
from tests.crash_points import Faulted, Faults, Point, make_sealer
from tests.memory_store import Failure


class Life(msgspec.Struct, frozen=True):
    """What a life is told.

    Attributes:
        call, nth, after: the point at which `signal` is sent to the process itself, before or after the call is done.
        clock_back_ms: how far its clock goes back with each reading, from the third on.
        timeout_ms: of each call of the store.
    """

    bootstrap: str
    topic: str
    group: str
    uri: str
    database: str
    keys: str
    prefix: str
    entries: int = 3
    call: str = ""
    nth: int = 0
    after: bool = False
    signal: int = signal.SIGKILL
    timeout_ms: int = 10_000
    clock_back_ms: int = 0


class JumpingClock:
    """The machine's clock until it has been read twice; then one that goes back with each reading."""

    def __init__(self, back_ms: int) -> None:
        self._back_ms, self._read = back_ms, 0

    def now_ms(self) -> int:
        self._read += 1
        return time.time_ns() // 1_000_000 - max(0, self._read - 2) * self._back_ms


async def live(life: Life) -> Faults:
    """Seal until SIGTERM, or until the point."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    point = Point(life.call, life.nth) if life.call else None
    failure = Failure.KILLED_AFTER if life.after else Failure.KILLED_BEFORE
    faults = Faults(point, failure, die=lambda: os.kill(os.getpid(), life.signal))
    mongo = Mongo(MongoSettings(uri=life.uri, database=life.database, timeout_ms=life.timeout_ms))
    source = Faulted(KafkaSource(life.bootstrap, life.group, life.topic), faults, "source", {"identity"})
    sealer = make_sealer(
        MongoBlockStore(mongo.database), source, KeyFolder(Path(life.keys)), faults,
        prefix=life.prefix, entries=life.entries,
        now_ms=JumpingClock(life.clock_back_ms).now_ms if life.clock_back_ms else clock.now_ms,
    )  # fmt: skip
    await sealer.run(stop)
    mongo.close()
    return faults


if __name__ == "__main__":
    ended = asyncio.run(live(msgspec.json.decode(sys.argv[1], type=Life)))
    print(json.dumps(ended.counts))
