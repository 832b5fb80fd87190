"""Webhooks over the little chain of merchants: the real worker, with a store, a receiver and time in memory."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from goodstrace.visibility import VisibilityPolicy
from services.query.accounts.secret_keys import SecretKeys
from services.query.forward import Forward, Heads
from services.query.webhooks.delivery import Deliveries, Limits
from services.query.webhooks.locking import SecretLock
from services.query.webhooks.owners import Lookers, maker_of, owner_id, owner_name
from services.query.webhooks.sender import Outcome, Sent
from services.query.webhooks.values import Damaged, Locked, Progress, Sees, State, Under, Webhook
from services.runtime.access.lasting import Lasting
from services.runtime.access.values import Principal
from services.runtime.errors import UnavailableError
from services.runtime.merchants.api_keys import new_key
from services.runtime.merchants.values import Delegation
from tests.unit.collector_builders import NOW_MS, SECRET, counted
from tests.unit.visible_world import AGENT, PLATFORM, PREFIXES, SHOP, World

NAME = "ab" * 16
HOOK_SECRET = b"s" * 32
MOST = 5
LOCK = SecretLock(SecretKeys(b"l" * 32), SECRET, bytes)


class MemoryWebhooks:
    """One webhook, and damaged ones beside it, with the methods of WebhookStore that the worker calls; it can be away."""

    def __init__(self, webhook: Webhook) -> None:
        self.webhook = webhook
        self.damaged: list[Damaged] = []
        self.away = False

    async def all(self, limit: int) -> list[Webhook | Damaged]:
        self._answer()
        return [*self.damaged, self.webhook][:limit]

    async def count(self) -> int:
        self._answer()
        return len(self.damaged) + 1

    async def take(self, _name: str, _owner: str, _now_ms: int, _until_ms: int) -> Webhook | None:
        self._answer()
        return self.webhook if self.webhook.progress.state is State.ACTIVE else None

    async def say(self, _name: str, _owner: str, progress: Progress, _until_ms: int) -> bool:
        self._answer()
        kept = msgspec.json.decode(msgspec.json.encode(progress), type=Progress)  # as the real one keeps it
        self.webhook = msgspec.structs.replace(self.webhook, progress=kept)
        return True

    async def release(self, _name: str, _owner: str) -> None:
        self._answer()

    async def locked_under_index_secret(self) -> list[tuple[str, Locked]]:
        self._answer()
        kept = self.webhook.locked
        return [(self.webhook.id, kept)] if kept.under is Under.INDEX else []

    async def relock(self, _name: str, before: Locked, after: Locked) -> bool:
        self._answer()
        if self.webhook.locked != before:
            return False
        self.webhook = msgspec.structs.replace(self.webhook, locked=after)
        return True

    def _answer(self) -> None:
        if self.away:
            raise UnavailableError("the store is away")


class Receiver:
    """Takes what is sent: `attempts` are message ID, body and what was answered, `headers` those of each; `answers` the next answers, then it is delivered."""

    def __init__(self) -> None:
        self.attempts: list[tuple[str, bytes, Outcome]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[Outcome] = []

    async def send(self, _dest: str, headers: Mapping[str, str], body: bytes) -> Sent:
        outcome = self.answers.pop(0) if self.answers else Outcome.DELIVERED
        self.headers.append(dict(headers))
        self.attempts.append((headers["webhook-id"], body, outcome))
        return Sent(outcome, "500: no" if outcome is Outcome.REFUSED else "")

    async def close(self) -> None:
        """It has nothing to close."""


class Hooked:
    """A webhook of somebody's in a world."""

    def __init__(
        self,
        policies: Mapping[int, VisibilityPolicy],
        *,
        definition: Mapping[str, Any] | None = None,
        copies: int = 1,
    ) -> None:
        self.world = World(policies, copies=copies)
        self.receiver = Receiver()
        self.definition = dict(definition or {})
        self.store: MemoryWebhooks
        self.worker: Deliveries

    def key_of(self, merchant: int) -> Principal:
        """Who shows the API key of a merchant."""
        known = self.world.guard._authentication
        return asyncio.run(known.known(self.world.shown_with(merchant))).who

    def new_key(self, merchant: int) -> None:
        """Give a merchant another API key, which it shows from then on; whether the old one counts stays as it is."""
        kept, self.world.keys[merchant] = new_key(merchant, "", 0, counted(1000 + merchant))
        self.world.key_ids[merchant] = kept.id
        self.world.registry.rows[kept.id] = kept

    def subscribe(self, who: Principal, sees: Sees = Sees.OWNER, **changes: Any) -> None:
        """Make the webhook, as the API does."""
        made = Webhook(
            id=NAME,
            query="q",
            definition=self.definition,
            dest="https://a.example/",
            locked=LOCK.locked(NAME, HOOK_SECRET),
            user=who.name,
            created_ms=1,
            progress=Progress({}),
            owner=owner_name(who),
            owner_id=owner_id(who),
            sees=sees,
            maker=maker_of(who, sees),
        )
        self.store = MemoryWebhooks(msgspec.structs.replace(made, **changes))
        self.worker = Deliveries(
            self.store,  # type: ignore[arg-type]
            self.receiver,  # type: ignore[arg-type]
            self.world,  # type: ignore[arg-type]
            Forward(self.world.logs),  # type: ignore[arg-type]
            Heads(self.world.logs, 0),  # type: ignore[arg-type]
            settled=lambda _look, _outcome: None,
            lookers=Lookers(self.world.sight, Lasting(self.world.directory, self.world.accounts)),
            secret=SECRET,
            lock=LOCK,
            most=MOST,
            message_bytes=10**6,
            limits=Limits(1, 1, 1000),
            metrics=self.world.metrics,
            log=structlog.get_logger(),
        )

    @property
    def progress(self) -> Progress:
        return self.store.webhook.progress

    def turn(self) -> None:
        """Let the worker have a turn at it, some seconds later: what it knew of merchants does not count any more."""
        self.world.now_s += 10

        async def run() -> None:
            await self.worker._guarded(NAME, asyncio.Event())

        asyncio.run(run())

    def gauge(self, name: str, **labels: str) -> float | None:
        """What a metric says of the webhook once the worker has looked how all stand."""
        asyncio.run(self.worker._behind())
        return self.world.registry_of_metrics.get_sample_value(name, labels)

    def policy(self, merchant: int, policy: VisibilityPolicy) -> None:
        """Register a merchant with another policy, all else as the world has it."""
        self.world.register(
            merchant,
            prefixes=(PREFIXES[merchant],) if merchant in PREFIXES else (),
            everything=merchant == PLATFORM,
            visibility=policy,
            delegations=(Delegation(AGENT, PREFIXES[SHOP], NOW_MS * 2),) if merchant == SHOP else (),
        )

    def numbers(self, body: bytes) -> list[int]:
        """The numbers of the events in a message."""
        results = json.loads(body)["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
        places = [each["goodstrace:sealed"] for each in results]
        return [self.world.number_at(each["goodstrace:log"], each["goodstrace:index"]) for each in places]

    @property
    def delivered(self) -> list[int]:
        """The numbers of the events that were taken with 2xx, in that order."""
        taken = [body for _, body, outcome in self.receiver.attempts if outcome is Outcome.DELIVERED]
        return [number for body in taken for number in self.numbers(body)]
