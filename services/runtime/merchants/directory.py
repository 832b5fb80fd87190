"""What a process remembers of merchants and keys, for seconds: each call asks, and the store shall not.

While the store answers, nothing older than `fresh_s` counts: so fast does a revoked key, a suspension or another policy take hold
everywhere. Where it does not answer, what is known counts up to `stale_s` more, so that captures go on (nothing is shown by it: for
who looks it is 0); what is not known is refused as unavailable.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from goodstrace.claims import Claims
from goodstrace.signatures import MerchantKey
from services.runtime.errors import UnavailableError
from services.runtime.merchants import api_keys
from services.runtime.merchants.api_keys import ApiKey
from services.runtime.merchants.claims import claims_of, delegated
from services.runtime.merchants.errors import UnauthenticatedError
from services.runtime.merchants.values import Merchant, Status

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
MAX_REMEMBERED: Final = 10_000
_RETRY_S: Final = 1.0


class MerchantSource(Protocol):
    """Where merchants and keys are read; `services.runtime.merchants.store.MerchantStore` is the real one."""

    async def key(self, identifier: str) -> ApiKey | None:
        """Find a key by its ID."""
        ...

    async def merchant(self, number: int) -> Merchant | None:
        """Give a merchant as it registered last."""
        ...

    async def givers(self, number: int) -> list[Merchant]:
        """List the merchants that delegate something to another."""
        ...

    async def uris(self) -> frozenset[str]:
        """List the URIs that merchants have registered as theirs."""
        ...


class Staleness(msgspec.Struct, frozen=True):
    """How old an answer may be, in seconds: while the store answers, and beyond that while it does not."""

    fresh_s: float = 2.0
    stale_s: float = 300.0


class Answer(msgspec.Struct, Generic[V]):
    """What a store said of a key, and until when that counts: while the store answers, and while it does not."""

    value: V
    fresh_until_s: float
    stale_until_s: float


class Answers(Generic[K, V]):
    """Answers of a store by key, at most MAX_REMEMBERED: the least recently asked for are forgotten. Knows no store."""

    def __init__(self, staleness: Staleness, clock_s: Callable[[], float]) -> None:
        """Keep them as long as `staleness` says."""
        self._staleness = staleness
        self._clock_s = clock_s
        self._known: OrderedDict[K, Answer[V]] = OrderedDict()

    def __len__(self) -> int:
        """Count them."""
        return len(self._known)

    def fresh(self, key: K) -> Answer[V] | None:
        """Give what counts of a key while the store answers."""
        known = self._known.get(key)
        if known is None or self._clock_s() >= known.fresh_until_s:
            return None
        self._known.move_to_end(key)
        return known

    def stale(self, key: K) -> Answer[V] | None:
        """Give what counts of a key while the store does not answer."""
        known = self._known.get(key)
        return None if known is None or self._clock_s() >= known.stale_until_s else known

    def keep(self, key: K, value: V, begun_s: float) -> None:
        """Keep the answer to a question that was asked at `begun_s`."""
        fresh_until_s = begun_s + self._staleness.fresh_s
        self._known[key] = Answer(value, fresh_until_s, fresh_until_s + self._staleness.stale_s)
        self._known.move_to_end(key)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    def forget(self, key: K) -> None:
        """Forget a key."""
        self._known.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()


class Remembered(Generic[K, V]):
    """Answers of a store that is asked for one key at a time."""

    def __init__(
        self, load: Callable[[K], Awaitable[V]], staleness: Staleness, clock_s: Callable[[], float]
    ) -> None:
        """Remember what `load` gives."""
        self._load = load
        self._clock_s = clock_s
        self._known: Answers[K, V] = Answers(staleness, clock_s)
        self._loading: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K) -> V:
        """Give what is known of a key, or ask. Raises: UnavailableError."""
        known = self._known.fresh(key)
        if known is not None:
            return known.value
        try:
            return await self._loaded(key)
        except UnavailableError:
            known = self._known.stale(key)
            if known is None:
                raise
            known.fresh_until_s = (
                self._clock_s() + _RETRY_S
            )  # others shall not wait for the store in vain as well
            return known.value

    def forget(self, key: K) -> None:
        """Ask again the next time; an answer that is under way does not count any more."""
        self._known.forget(key)
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
            self._known.keep(key, value, begun_s)
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
        store: MerchantSource,
        staleness: Staleness,
        clock_s: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        """Ask `store`; `clock_s` never goes back, `now_ms` is the time of day by which delegations end."""
        self._store = store
        self._now_ms = now_ms
        self._keys: Remembered[str, ApiKey | None] = Remembered(store.key, staleness, clock_s)
        self._standings: Remembered[int, Standing | None] = Remembered(self._standing, staleness, clock_s)
        self._merchants: Remembered[int, Merchant | None] = Remembered(store.merchant, staleness, clock_s)
        self._uris: Remembered[None, frozenset[str]] = Remembered(lambda _: store.uris(), staleness, clock_s)

    async def key(self, identifier: str) -> ApiKey | None:
        """Find an API key by its ID. Raises: UnavailableError."""
        return await self._keys.get(identifier)

    async def holder(self, credential: str) -> int:
        """Tell which merchant an API key is of. Raises: UnauthenticatedError, whatever the text; UnavailableError."""
        parsed = api_keys.parse(credential)
        if parsed is None:
            raise UnauthenticatedError("not an API key")
        identifier, secret = parsed
        key = await self.key(identifier)
        return _holder(key if api_keys.is_of(secret, key) else None)

    async def holder_of(self, identifier: str) -> int:
        """Tell which merchant an API key is of by its ID alone: nobody shows it. Raises: UnauthenticatedError; UnavailableError."""
        return _holder(await self.key(identifier))

    async def merchant(self, number: int) -> Merchant | None:
        """Find what a merchant registered last. Raises: UnavailableError."""
        return await self._merchants.get(number)

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
        self._merchants.clear()
        self._uris.clear()

    async def _standing(self, number: int) -> Standing | None:
        merchant = await self._store.merchant(number)
        if merchant is None:
            return None
        claims = [claims_of(merchant)]
        for giver in await self._store.givers(number):
            if giver.status is Status.ACTIVE:
                to_it = [each for each in giver.delegations if each.to == number]
                claims += delegated(giver, to_it, self._now_ms())
        keys = [MerchantKey.from_jwk(jwk) for jwk in merchant.signing_keys]
        return Standing(merchant, tuple(claims), {key.kid: key for key in keys})


def _holder(key: ApiKey | None) -> int:
    if key is None or key.revoked_ms:
        raise UnauthenticatedError("the API key is unknown or revoked")
    return key.merchant
