"""What the collector remembers of merchants and keys, for seconds: each capture asks, and the store shall not.

While the store answers, nothing older than `fresh_s` counts: so fast does a revoked key or a suspension take hold everywhere. Where it
does not answer, what is known counts up to `stale_s` more, so that captures go on; what is not known is refused as unavailable.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

import msgspec

from goodstrace.claims import Claims
from goodstrace.signatures import MerchantKey
from services.collector.registry.api_keys import ApiKey
from services.collector.registry.claims import claims_of, delegated
from services.collector.registry.store import RegistryStore
from services.collector.registry.values import Merchant, Status, What
from services.runtime.errors import UnavailableError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
MAX_REMEMBERED: Final = 10_000
_RETRY_S: Final = 1.0


class Staleness(msgspec.Struct, frozen=True):
    """How old an answer may be, in seconds: while the store answers, and beyond that while it does not."""

    fresh_s: float = 2.0
    stale_s: float = 300.0


class _Known(msgspec.Struct, Generic[V]):
    value: V
    fresh_until_s: float
    stale_until_s: float


class Remembered(Generic[K, V]):
    """Answers of a store by key; the least recently asked for are forgotten."""

    def __init__(
        self, load: Callable[[K], Awaitable[V]], staleness: Staleness, clock_s: Callable[[], float]
    ) -> None:
        """Remember what `load` gives."""
        self._load = load
        self._staleness = staleness
        self._clock_s = clock_s
        self._known: OrderedDict[K, _Known[V]] = OrderedDict()
        self._loading: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K) -> V:
        """Give what is known of a key, or ask. Raises: UnavailableError."""
        known = self._known.get(key)
        if known is not None and self._clock_s() < known.fresh_until_s:
            self._known.move_to_end(key)
            return known.value
        try:
            return await self._loaded(key)
        except UnavailableError:
            if known is None or self._clock_s() >= known.stale_until_s:
                raise
            known.fresh_until_s = (
                self._clock_s() + _RETRY_S
            )  # others shall not wait for the store in vain as well
            return known.value

    def forget(self, key: K) -> None:
        """Ask again the next time; an answer that is under way does not count any more."""
        self._known.pop(key, None)
        self._loading.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._loading.clear()

    async def _loaded(self, key: K) -> V:
        """Ask once for all who want to know."""
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.create_task(self._ask(key))
            loading.add_done_callback(lambda task: self._settle(key, task))
        return await asyncio.shield(loading)

    async def _ask(self, key: K) -> V:
        begun_s = self._clock_s()
        value = await self._load(key)
        if self._loading.get(key) is asyncio.current_task():
            fresh_until_s = begun_s + self._staleness.fresh_s
            self._known[key] = _Known(value, fresh_until_s, fresh_until_s + self._staleness.stale_s)
            self._known.move_to_end(key)
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return value

    def _settle(self, key: K, task: "asyncio.Task[V]") -> None:
        if self._loading.get(key) is task:
            del self._loading[key]
        if not task.cancelled():
            task.exception()  # told to those who wait; none may be left


class Standing(msgspec.Struct, frozen=True):
    """A merchant as it counts now: what it registered, what it may speak for, delegations included, and its keys by ID."""

    merchant: Merchant
    claims: tuple[Claims, ...]
    keys: dict[str, MerchantKey] = {}


class Directory:
    """Who is who, for seconds."""

    def __init__(
        self,
        store: RegistryStore,
        staleness: Staleness,
        clock_s: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        """Ask `store`; `clock_s` never goes back, `now_ms` is the time of day by which delegations end."""
        self._store = store
        self._now_ms = now_ms
        self._keys: Remembered[str, ApiKey | None] = Remembered(store.key, staleness, clock_s)
        self._standings: Remembered[int, Standing | None] = Remembered(self._standing, staleness, clock_s)
        self._uris: Remembered[None, frozenset[str]] = Remembered(lambda _: store.uris(), staleness, clock_s)

    async def key(self, identifier: str) -> ApiKey | None:
        """Find an API key by its ID. Raises: UnavailableError."""
        return await self._keys.get(identifier)

    async def standing(self, number: int) -> Standing | None:
        """Find a merchant. Raises: UnavailableError."""
        return await self._standings.get(number)

    async def taken_uris(self) -> frozenset[str]:
        """List the URIs that merchants have registered. Raises: UnavailableError."""
        return await self._uris.get(None)

    def changed_key(self, identifier: str) -> None:
        """Take note at once of what was changed through this process."""
        self._keys.forget(identifier)

    def changed_merchants(self) -> None:
        """Take note at once of what was changed through this process; a delegation concerns another merchant as well."""
        self._standings.clear()
        self._uris.clear()

    async def _standing(self, number: int) -> Standing | None:
        found = await self._store.find(What.MERCHANT, number)
        if found is None:
            return None
        merchant = msgspec.convert(found.registration.content, Merchant)
        claims = [claims_of(merchant)]
        for giver in await self._store.givers(number):
            if giver.status is Status.ACTIVE:
                to_it = [each for each in giver.delegations if each.to == number]
                claims += delegated(giver, to_it, self._now_ms())
        keys = [MerchantKey.from_jwk(jwk) for jwk in merchant.signing_keys]
        return Standing(merchant, tuple(claims), {key.kid: key for key in keys})
