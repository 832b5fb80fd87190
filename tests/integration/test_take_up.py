"""Taking a log up costs the same however long it is: as many calls to the store, and as many bytes read."""

import asyncio

import bson
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from services.sealing.mongo import MongoBlockStore
from services.sealing.provision import provision
from tests.conftest import Names
from tests.unit.sealing_bench import Bench, until

SOME, MANY = 60, 600
EDGE_BYTES = (
    24 * 1024
)  # partial tiles, the last block's leaves, a line for each run: these vary, up to a bound


class Counter(CommandListener):
    """Counts calls and the bytes of their answers."""

    def __init__(self) -> None:
        self.calls = self.read_bytes = 0

    def started(self, event: CommandStartedEvent) -> None:
        pass

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self.calls += 1
        self.read_bytes += len(bson.encode(event.reply))

    def failed(self, event: CommandFailedEvent) -> None:
        raise AssertionError(event.command_name)


async def seal_all(bench: Bench) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(bench.sealer(entries=2).run(stop))
    async with asyncio.timeout(60):
        while True:
            head = await bench.store.head("goods/0")
            if head is not None and head.checkpoint.size == len(bench.topic.records[0]):
                break
            await asyncio.sleep(0.02)
    stop.set()
    await task


async def cost_of_restart(bench: Bench, counter: Counter) -> tuple[int, int]:
    """Take the log up, seal nothing, and stop."""
    stop = asyncio.Event()
    calls, read_bytes = counter.calls, counter.read_bytes
    task = asyncio.create_task(bench.sealer().run(stop))
    await until(lambda: not bench.readiness.problems() or task.done())
    cost = counter.calls - calls, counter.read_bytes - read_bytes
    stop.set()
    await task
    return cost


async def test_a_restart_reads_as_much_of_a_long_log_as_of_a_short_one(mongo_uri: str, names: Names) -> None:
    counter = Counter()
    client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(mongo_uri, event_listeners=[counter])
    database = client.get_database(names.database)
    await provision(database)
    bench = Bench()
    bench.store = MongoBlockStore(database)  # type: ignore[assignment]
    costs = []
    for count in (SOME, MANY):
        bench.fill(count - len(bench.topic.records[0]))
        await seal_all(bench)
        costs.append(await cost_of_restart(bench, counter))
    client.close()
    (short_calls, short_bytes), (long_calls, long_bytes) = costs
    assert long_calls == short_calls
    assert long_bytes <= short_bytes + EDGE_BYTES
