"""Turns of webhooks: who has much to be sent, or a slow receiver, holds up nobody else for longer than a message."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from goodstrace.visibility import VisibilityPolicy
from services.query.webhooks.sender import AT_ONCE, Outcome, Sent
from services.query.webhooks.values import Progress, Webhook
from tests.unit.visible_world import MAKER
from tests.unit.webhook_world import HOOK_SECRET, LOCK, Hooked

MANY = AT_ONCE + 4
MESSAGES = 5


class MemoryLeases:
    """Many webhooks, with the methods of WebhookStore that the worker calls; a lease that is held is given to nobody."""

    def __init__(self, like: Webhook) -> None:
        names = [f"{number:032x}" for number in range(MANY)]
        self.webhooks = {
            name: msgspec.structs.replace(
                like, id=name, dest=f"https://{name}.example/", locked=LOCK.locked(name, HOOK_SECRET)
            )
            for name in names
        }
        self.leased: set[str] = set()
        self.most_leased = 0

    async def all(self, _limit: int) -> list[Webhook]:
        return list(self.webhooks.values())

    async def take(self, name: str, _owner: str, _now_ms: int, _until_ms: int) -> Webhook | None:
        assert name not in self.leased, "one turn of a webhook at a time"
        self.leased.add(name)
        self.most_leased = max(self.most_leased, len(self.leased))
        return self.webhooks[name]

    async def say(self, name: str, _owner: str, progress: Progress, until_ms: int) -> bool:
        self.webhooks[name] = msgspec.structs.replace(self.webhooks[name], progress=progress)
        if not until_ms:
            self.leased.remove(name)
        return True


class SlowReceiver:
    """Takes a moment for each message and notes for whom it was; stops the worker after MESSAGES for each of MANY."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.dests: list[str] = []
        self._stop = stop

    async def send(self, dest: str, _headers: Mapping[str, str], _body: bytes) -> Sent:
        await asyncio.sleep(0.001)
        self.dests.append(dest)
        if len(self.dests) == MANY * MESSAGES:
            self._stop.set()
        return Sent(Outcome.DELIVERED)

    async def close(self) -> None:
        """It has nothing to close."""


def test_everybody_has_a_message_before_anybody_has_many() -> None:
    hooked = Hooked({MAKER: VisibilityPolicy("public")}, copies=MESSAGES)
    hooked.subscribe(hooked.key_of(MAKER))
    worker: Any = hooked.worker
    store = MemoryLeases(hooked.store.webhook)

    async def run() -> list[str]:
        stop = asyncio.Event()
        receiver = SlowReceiver(stop)
        worker._store, worker._sender, worker._most = store, receiver, MANY
        worker._message_bytes = 1  # an event a message
        async with asyncio.timeout(30):
            await worker.run(stop)
        return receiver.dests

    dests = asyncio.run(run())
    for line in range(AT_ONCE, MANY * MESSAGES, AT_ONCE):
        counts = [dests[:line].count(each.dest) for each in store.webhooks.values()]
        # At most a turn that is under way lies between who has the most and who has the least.
        assert max(counts) - min(counts) <= 2, (line, counts)
    assert store.most_leased <= AT_ONCE, "who waits for a turn holds no lease"
    assert not store.leased


class SilentReceiver:
    """Answers nobody: each attempt takes its whole time. `begun` counts them; `all_busy` is set once all turns are taken."""

    def __init__(self) -> None:
        self.begun = 0
        self.all_busy = asyncio.Event()

    async def send(self, _dest: str, _headers: Mapping[str, str], _body: bytes) -> Sent:
        self.begun += 1
        if self.begun == AT_ONCE:
            self.all_busy.set()
        await asyncio.sleep(0.05)
        return Sent(Outcome.TIMEOUT)

    async def close(self) -> None:
        """It has nothing to close."""


def test_who_waits_for_a_turn_at_the_end_gets_none() -> None:
    hooked = Hooked({MAKER: VisibilityPolicy("public")}, copies=MESSAGES)
    hooked.subscribe(hooked.key_of(MAKER))
    worker: Any = hooked.worker
    store = MemoryLeases(hooked.store.webhook)
    receiver = SilentReceiver()

    async def run() -> None:
        stop = asyncio.Event()
        worker._store, worker._sender, worker._most = store, receiver, MANY
        async with asyncio.timeout(30):
            running = asyncio.create_task(worker.run(stop))
            await receiver.all_busy.wait()
            stop.set()
            await running

    asyncio.run(run())
    assert receiver.begun == AT_ONCE, "all others wait for the next process"
    assert not store.leased
