"""The webhooks of one query process: their API and their worker, or neither where a setting leaves them out."""

import asyncio

from services.query.accounts.secret_keys import SecretKeys
from services.query.epcis_api import EpcisApi
from services.query.forward import Forward, Heads
from services.query.metrics import QueryMetrics
from services.query.settings import QuerySettings
from services.query.sight import Sight
from services.query.webhooks.adopting import adopt
from services.query.webhooks.api import WebhookApi
from services.query.webhooks.delivery import Deliveries, Limits
from services.query.webhooks.guard import Reach
from services.query.webhooks.locking import SecretLock
from services.query.webhooks.owners import Lookers
from services.query.webhooks.relocking import relock
from services.query.webhooks.room import Room
from services.query.webhooks.sender import Sender
from services.query.webhooks.store import WebhookStore
from services.runtime.access.accounts import AccountReader
from services.runtime.access.lasting import Lasting
from services.runtime.access.settings import LoginSettings
from services.runtime.retry import StopAskedError, retried
from services.runtime.settings import load, load_secret
from services.sealing.front import Front


class Webhooks:
    """API and worker; `api` is None where webhooks are off."""

    def __init__(
        self,
        front: Front,
        epcis: EpcisApi,
        *,
        forward: Forward,
        heads: Heads,
        sight: Sight,
        settings: QuerySettings,
        metrics: QueryMetrics,
    ) -> None:
        """Make them as the settings say; exits with 2 where they are on and the login secret is missing."""
        self._log, self._database = front.log, front.mongo.database
        self._provider_host = front.access.provider_host
        room = Room(settings.max_webhooks, settings.max_webhooks_per_owner)
        self._store = WebhookStore(front.mongo.database, room)
        self._deliveries: Deliveries | None = None
        self.api: WebhookApi | None = None
        if settings.webhooks is Reach.OFF:
            return
        # The login secret, also where nobody signs in: it has the same holders, the query services, and provision makes it everywhere.
        keys = SecretKeys(load_secret(load(LoginSettings).secret_file))
        self._lock = SecretLock(keys, front.secret)
        sender = Sender(settings.webhooks, settings.webhook_timeout_s)
        self.api = WebhookApi(
            epcis,
            self._store,
            sender,
            heads,
            reach=settings.webhooks,
            most=settings.max_webhooks,
            secret=front.secret,
            lock=self._lock,
            log=front.log,
        )
        self._deliveries = Deliveries(
            self._store,
            sender,
            front.recorder,
            forward,
            heads,
            settled=front.marks.note,
            lookers=Lookers(sight, Lasting(front.access.directory, AccountReader(front.mongo.database))),
            secret=front.secret,
            lock=self._lock,
            most=settings.max_webhooks,
            message_bytes=min(settings.page_bytes, 1024 * 1024),
            limits=Limits(
                settings.webhook_timeout_s, settings.webhook_longest_wait_s, settings.webhook_give_up_s
            ),
            metrics=metrics,
            log=front.log,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`."""
        if self._deliveries is None:
            await stop.wait()
            return
        try:
            await retried(
                self._prepare,
                lambda error: self._log.warning("webhooks wait for the store", cause=str(error)),
                stop,
            )
        except StopAskedError:
            return
        self._log.info("delivering webhooks")
        await self._deliveries.run(stop)

    async def _prepare(self) -> None:
        await self._store.prepare()
        if adopted := await adopt(self._database, self._provider_host):
            self._log.info("gave owners to queries and webhooks of an earlier release", documents=adopted)
        if relocked := await relock(self._store, self._lock, self._log):
            self._log.info("locked secrets of webhooks anew", webhooks=relocked)
