"""Delivering webhooks: each goes on from its cursor, which moves only where the receiver has said 2xx.

What holds:

- No message leaves before Kafka has acknowledged its browse record (design.md, invariant 4); each attempt is a look of its own.
- A message is fixed in the store before it is sent for the first time, so an attempt that is repeated, by whichever process, has the
  same ID and the same bytes. A receiver that remembers IDs sees each event once; without, at least once.
- What may be seen is judged for each attempt. A message that would show what may not be shown any more, or that cannot be made again to the
  byte, is never sent again: another one with an ID of its own takes its place.
- One process at a time delivers for a webhook: it holds a lease that outlasts an attempt.
- A turn is one message or one read: whoever has more to be sent goes behind those that wait. A lease is held for a turn alone, since nobody
  knows how long it is to the next one.
"""

import asyncio
import contextlib
import hmac
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from services.query.epcis_problems import QueryProblemError
from services.query.forward import Forward, Gathered, Heads, SeenBy
from services.query.metrics import QueryMetrics
from services.query.subscribing import hashes_of
from services.query.webhooks import message as messages
from services.query.webhooks.asked import Wanted, wanted_of
from services.query.webhooks.locking import SecretLock
from services.query.webhooks.message import Message
from services.query.webhooks.owners import Looker, Lookers
from services.query.webhooks.relocking import opened
from services.query.webhooks.schedule import wait_s
from services.query.webhooks.sender import AT_ONCE, Outcome, Sender, Sent
from services.query.webhooks.store import WebhookStore
from services.query.webhooks.values import (
    DAMAGED,
    OVER,
    Damaged,
    DisabledBy,
    Pending,
    Progress,
    State,
    Webhook,
)
from services.runtime import clock
from services.runtime import looks as looking
from services.runtime.errors import ServiceError
from services.runtime.merchants.errors import RefusedError, UnauthenticatedError
from services.runtime.waiting import until_set
from services.sealing.browse import Browse, BrowseRecorder, role_of
from services.sealing.errors import CorruptError
from services.sealing.showing import sizes_of
from services.sealing.values import StoredCheckpoint

METHOD: Final = "Webhook"
MESSAGE_EVENTS: Final = 100
_LEASE_MARGIN_S: Final = 10.0  # for reading, and for Kafka's acknowledgement
_SAID_CHARS: Final = 300
Checkpoints = Mapping[str, StoredCheckpoint]


class Limits(msgspec.Struct, frozen=True):
    """timeout_s: of an attempt, which the sender keeps. longest_wait_s: between two. give_up_s: after failing for so long a webhook is disabled."""

    timeout_s: float
    longest_wait_s: float
    give_up_s: float


class Deliveries:
    """The worker of one process."""

    def __init__(
        self,
        store: WebhookStore,
        sender: Sender,
        recorder: BrowseRecorder,
        forward: Forward,
        heads: Heads,
        *,
        settled: looking.Settled,
        lookers: Lookers,
        secret: bytes,
        lock: SecretLock,
        most: int,
        message_bytes: int,
        limits: Limits,
        metrics: QueryMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Deliver for at most `most` webhooks.

        Args:
            store: of the webhooks.
            sender: sends.
            recorder: records looks.
            forward: reads the logs.
            heads: what is published.
            settled: told of what became of looks.
            lookers: say as whom each webhook looks: nothing else is sent than what they may see.
            secret: the index secret, 32 bytes.
            lock: opens what messages are signed by.
            most: how many webhooks there are at the most.
            message_bytes: of events in a message; one event in any case.
            limits: of time.
            metrics: counts attempts.
            log: told of each.
        """
        self._store, self._sender, self._recorder, self._settled = store, sender, recorder, settled
        self._forward, self._heads = forward, heads
        self._lookers, self._lock = lookers, lock
        self._secret, self._most, self._message_bytes = secret, most, message_bytes
        self._limits = limits
        self._lease_s = _LEASE_MARGIN_S + limits.timeout_s
        self._owner = secrets.token_hex(8)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._metrics, self._log = metrics, log
        self._warned_of: frozenset[Damaged] = frozenset()
        self._warned_over = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`: turns that are under way then are ended, each after one message at the most; who waits for a turn gets none.

        What was not delivered is sent, or sent again, by the next one.
        """
        under_way: dict[str, asyncio.Task[None]] = {}
        try:
            while not stop.is_set():
                try:
                    for webhook in await self._behind():
                        if webhook.id not in under_way:
                            task = asyncio.create_task(self._guarded(webhook.id, stop))
                            under_way[webhook.id] = task
                            task.add_done_callback(partial(_ended, under_way, webhook.id))
                except ServiceError as error:
                    self._log.warning("webhooks wait", category=error.category, cause=str(error))
                await until_set(stop, self._heads.every_s)
        finally:
            await asyncio.gather(*under_way.values(), return_exceptions=True)
            await self._sender.close()

    async def _behind(self) -> list[Webhook]:
        """List the webhooks that are due and for which something was published; tell the metrics how all stand."""
        checkpoints = await self._heads.newest()
        found = await self._store.all(self._most + 1)
        over = await self._over(found)
        found = found[: self._most]
        webhooks = [each for each in found if isinstance(each, Webhook)]
        damaged = [each for each in found if isinstance(each, Damaged)]
        self._warn_of(damaged)
        active = [each for each in webhooks if each.progress.state is State.ACTIVE]
        lags = [lag(each.progress, checkpoints) for each in active]
        self._metrics.webhooks.labels("enabled").set(len(active))
        self._metrics.webhooks.labels("disabled").set(len(webhooks) - len(active))
        self._metrics.webhooks.labels(DAMAGED).set(len(damaged))
        self._metrics.webhooks.labels(OVER).set(over)
        reasons = Counter(
            each.progress.disabled_by for each in webhooks if each.progress.state is State.DISABLED
        )
        for reason in DisabledBy:
            self._metrics.webhooks_disabled.labels(reason.value).set(reasons[reason])
        failing = sum(each.progress.failures > 0 for each in active)
        self._metrics.webhooks_failing.set(failing + len(damaged) + over)
        self._metrics.webhook_lag.set(max(lags, default=0))
        now_ms = clock.now_ms()
        return [
            each
            for each, behind in zip(active, lags, strict=True)
            if behind and each.progress.next_ms <= now_ms
        ]

    async def _over(self, found: Sequence[Webhook | Damaged]) -> int:
        """Count the webhooks over the limit, the newest ones, to which nothing is sent: it was lowered, or they came from elsewhere. Warns of them once."""
        over = max(1, await self._store.count() - self._most) if len(found) > self._most else 0
        if over and over != self._warned_over:
            self._log.warning("webhooks over the limit get nothing", most=self._most, over=over)
        self._warned_over = over
        return over

    def _warn_of(self, damaged: Sequence[Damaged]) -> None:
        """Name those that cannot be read, each once as long as it is so: they are met again at every look."""
        for each in damaged:
            if each not in self._warned_of:
                self._log.warning("a webhook is damaged", webhook=each.id, query=each.query, why=each.why)
        self._warned_of = frozenset(damaged)

    async def _guarded(self, name: str, stop: asyncio.Event) -> None:
        """Deliver for one webhook, turn after turn; what goes wrong on our side is tried again by whoever comes next."""
        is_left = True
        try:
            while is_left and not stop.is_set():
                async with self._turns:  # first come, first served
                    if stop.is_set():
                        return  # it may have been while this one waited: each one more in the line would take an attempt's time
                    now_ms = clock.now_ms()
                    webhook = await self._store.take(name, self._owner, now_ms, self._lease_until_ms())
                    is_left = webhook is not None and await self._turn(webhook)
        except ServiceError as error:
            self._log.warning("a webhook waits", webhook=name, category=error.category, cause=str(error))
            with contextlib.suppress(ServiceError):
                await self._store.release(name, self._owner)
        except Exception:  # noqa: BLE001 - the top of a delivery: logged; its lease ends by itself, so not again at once
            self._log.exception("failed a webhook", webhook=name)

    async def _turn(self, webhook: Webhook) -> bool:
        """Send one message, or pass over what is not meant; tell whether more may be left. The lease is given up with it.

        1. Its secret is opened, and what it asks is read: without these nothing can be signed or meant, so nothing is looked at. It waits,
           and is disabled in the end.
        2. As whom it looks is judged anew. Where they do not count now nothing is sent: it waits, or is disabled.
        3. The message that is under way is made again. Where there is none, or it may not be sent any more, the newest checkpoints are taken
           and what is meant is gathered. Where there is nothing, the cursor moves on.
        4. A new message is fixed in the store.
        5. Its browse record is acknowledged, and it is sent.
        6. Its outcome is kept: only a 2xx moves the cursor.
        """
        try:
            secret = await opened(self._store, self._lock, webhook.id, webhook.locked)
            wanted = wanted_of(webhook.definition, self._secret)
        except (CorruptError, QueryProblemError) as error:
            # the right login secret may come back, and so may the later release
            return await self._unsent(webhook, error, None)
        try:
            looker = await self._lookers.of(webhook)
        except RefusedError as error:
            # what was shown and does not count any more never will again, all else may
            over = DisabledBy.UNAUTHENTICATED if isinstance(error, UnauthenticatedError) else None
            return await self._unsent(webhook, error, over)
        seen = SeenBy(wanted, looker.eyes)
        made = await self._again(webhook, seen)
        if made is None:
            begun = await self._begun(webhook)
            gathered = await self._gather(seen, webhook.progress.positions, begun.sizes)
            if not gathered.events:
                at_end = all(gathered.after.get(log, 0) >= size for log, size in begun.sizes.items())
                webhook = _with(webhook, positions=gathered.after, pending=None)
                return await self._say(webhook, keep_lease=False) and not at_end
            made = messages.message(webhook, begun, gathered, self._message_bytes)
            webhook = _with(webhook, pending=messages.fixed(begun, made))
            if not await self._say(webhook, keep_lease=True):
                return False
        sent, after = await self._attempt(webhook, wanted, looker, made, secret)
        is_kept = await self._say(_with(webhook, **after), keep_lease=False)
        return is_kept and sent.outcome is Outcome.DELIVERED

    async def _unsent(
        self,
        webhook: Webhook,
        error: RefusedError | CorruptError | QueryProblemError,
        over: DisabledBy | None,
    ) -> bool:
        """Keep why nothing is sent: it waits, or is disabled where it is `over`. Returns: False, its turns are over until then."""
        self._log.warning(
            "nothing is sent for a webhook", webhook=webhook.id, category=error.category, why=str(error)
        )
        failed = _failed(webhook.progress, f"{error.category}: {error}", self._limits, over)
        await self._say(_with(webhook, **failed), keep_lease=False)
        return False

    async def _again(self, webhook: Webhook, seen: SeenBy) -> Message | None:
        """Make the message that is under way again; None where there is none, or it would not be the same to the byte."""
        fixed = webhook.progress.pending
        if fixed is None or not fixed.body_mark:
            return None
        events = await self._forward.at(seen, fixed.places)
        gathered = Gathered(events, fixed.after, len(fixed.places))
        made = messages.message(webhook, fixed, gathered, self._message_bytes)
        if hmac.compare_digest(made.body_mark(), fixed.body_mark):
            return made
        self._log.info("a message is made anew", webhook=webhook.id, message=fixed.id)
        return None

    async def _begun(self, webhook: Webhook) -> Pending:
        """Begin a message of what is published now; one that an earlier release has begun goes on, since it may have been sent."""
        before = webhook.progress.pending
        if before is not None and not before.body_mark:
            return before
        return messages.pending(webhook, sizes_of(await self._heads.newest()), clock.now_ms())

    async def _gather(self, seen: SeenBy, positions: Mapping[str, int], sizes: Mapping[str, int]) -> Gathered:
        gathered = await self._forward.gather(
            seen, positions, sizes, most_events=MESSAGE_EVENTS, most_bytes=self._message_bytes
        )
        self._metrics.forward_entries.inc(gathered.looked_at)
        return gathered

    async def _attempt(
        self, webhook: Webhook, wanted: Wanted, looker: Looker, made: Message, secret: bytes
    ) -> tuple[Sent, dict[str, Any]]:
        """Send a message once; give what became of it, and what changes of the webhook's progress."""
        fixed = webhook.progress.pending
        assert fixed is not None
        with looking.noting(looking.Looks(self._settled)) as looks:
            browse_id = await self._recorder.record(_browse(webhook, wanted, looker, made))
            headers = messages.headers(fixed, secret, made.body, browse_id, clock.now_ms() // 1000)
            sent = await self._sender.send(webhook.dest, headers, made.body)
            looks.settle(looking.Outcome.ANSWERED if sent.may_have_arrived else looking.Outcome.FAILED)
        self._metrics.webhook_deliveries.labels(sent.outcome.value).inc()
        if sent.outcome is Outcome.DELIVERED:
            self._metrics.shown.inc(len(made.events))
        self._log.info(
            "sent a webhook",
            webhook=webhook.id,
            message=fixed.id,
            browse=browse_id,
            events=len(made.events),
            outcome=sent.outcome.value,
        )
        return sent, _after(webhook.progress, sent, made, self._limits)

    async def _say(self, webhook: Webhook, *, keep_lease: bool) -> bool:
        until_ms = self._lease_until_ms() if keep_lease else 0
        return await self._store.say(webhook.id, self._owner, webhook.progress, until_ms)

    def _lease_until_ms(self) -> int:
        return clock.now_ms() + round(1000 * self._lease_s)


def _ended(under_way: dict[str, asyncio.Task[None]], name: str, _: asyncio.Task[None]) -> None:
    under_way.pop(name, None)


def lag(progress: Progress, checkpoints: Checkpoints) -> int:
    """Count the published entries that a webhook has not been delivered or passed over yet."""
    return sum(max(0, each.size - progress.positions.get(log, 0)) for log, each in checkpoints.items())


def _browse(webhook: Webhook, wanted: Wanted, looker: Looker, made: Message) -> Browse:
    fixed = webhook.progress.pending
    assert fixed is not None
    logs = {each.record.log for each in made.events}
    query = {
        "dest": webhook.dest,
        "query": webhook.query,
        "sees": webhook.sees,
        "subscription": webhook.id,
    }
    return Browse(
        user=webhook.user,
        merchant=looker.eyes.merchant,
        role=role_of(looker.who),
        method=METHOD,
        keys=wanted.names() or hashes_of(made.events),
        sizes={log: size for log, size in fixed.sizes.items() if log in logs},
        purpose="",
        events=len(made.events),
        query=msgspec.json.encode(query).decode(),
    )


def _after(progress: Progress, sent: Sent, made: Message, limits: Limits) -> dict[str, Any]:
    """Say what an attempt changes of a webhook's progress."""
    now_ms = clock.now_ms()
    if sent.outcome is Outcome.DELIVERED:
        return {
            "positions": made.after,
            "pending": None,
            "failures": 0,
            "failing_since_ms": 0,
            "last_error": "",
            "last_success_ms": now_ms,
            "next_ms": 0,
            "delivered_events": progress.delivered_events + len(made.events),
            "delivered_messages": progress.delivered_messages + 1,
        }
    over = DisabledBy.GONE if sent.outcome is Outcome.GONE else None
    return _failed(progress, f"{sent.outcome.value}: {sent.detail}", limits, over, told_s=sent.told_s)


def _failed(
    progress: Progress, said: str, limits: Limits, over: DisabledBy | None, *, told_s: float = 0.0
) -> dict[str, Any]:
    """Say what a failure changes of a webhook's progress: it is tried again later, or disabled where it is `over` or has gone on for too long."""
    now_ms = clock.now_ms()
    failures, since_ms = progress.failures + 1, progress.failing_since_ms or now_ms
    if over is None and now_ms - since_ms > 1000 * limits.give_up_s:
        over = DisabledBy.FAILING
    wait_ms = 0 if over else round(1000 * wait_s(failures, limits.longest_wait_s, told_s))
    return {
        "failures": failures,
        "failing_since_ms": since_ms,
        "last_error": said[:_SAID_CHARS],
        "next_ms": now_ms + wait_ms,
        "state": State.DISABLED if over else State.ACTIVE,
        "disabled_by": over or DisabledBy.UNKNOWN,
    }


def _with(webhook: Webhook, **changes: Any) -> Webhook:
    return msgspec.structs.replace(webhook, progress=msgspec.structs.replace(webhook.progress, **changes))
