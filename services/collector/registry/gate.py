"""The gate: whose goods a caller may speak for, and whether there is room. Every way in passes it, knowing no HTTP."""

import msgspec

from goodstrace.signatures import MerchantKey
from services.collector.registry.claims import Policy, Speech
from services.collector.registry.rates import BYTES, EVENTS, Left, Rate, Rates
from services.collector.registry.sharing import Sharing
from services.runtime.access.values import Principal, Role
from services.runtime.merchants.directory import Directory, Standing
from services.runtime.merchants.errors import ForbiddenError, SuspendedError
from services.runtime.merchants.values import PersonalData, Status


class DefaultLimits(msgspec.Struct, frozen=True):
    """The limits of a merchant that has none of its own: a second's, the size of a body, and seconds at a time of a burst."""

    events_per_s: int = 10_000
    bytes_per_s: int = 32 * 1024 * 1024
    body_bytes: int = 32 * 1024 * 1024
    burst_s: int = 60


class Caller(msgspec.Struct, frozen=True):
    """Whose events are taken.

    merchant: its number. keys: those that its events may be signed with, by ID. speech: which goods it may speak for, None: all. body_bytes: the largest body. rates: its buckets; empty: no limit.
    personal: what becomes of personal data in its events.
    """

    merchant: int
    speech: Speech | None = None
    body_bytes: int = 2**40
    rates: dict[str, Rate] = {}
    keys: dict[str, MerchantKey] = {}
    personal: PersonalData = PersonalData.MOVE


class Gate:
    """Keeps callers' rates, and says which goods they may speak for.

    Args:
        directory: who is registered; None: open to everyone, all of whom are `open_merchant`.
        sharing: keeps `rates` in step with other collectors; None: there are none.
        personal: what becomes of personal data in events of merchants that have not said it.
    """

    def __init__(
        self,
        directory: Directory | None,
        *,
        rates: Rates,
        policy: Policy = Policy.ORIGIN,
        defaults: DefaultLimits = DefaultLimits(),  # noqa: B008 - frozen
        open_merchant: int = 1,
        sharing: Sharing | None = None,
        personal: PersonalData = PersonalData.MOVE,
    ) -> None:
        self._directory = directory
        self._sharing = sharing
        self._rates = rates
        self._policy = policy
        self._defaults = defaults
        self._personal = personal
        self._open = Caller(open_merchant, personal=personal)

    async def admit(self, who: Principal) -> Caller:
        """Say how a caller stands who acts for a merchant, and make sure that its rates have room.

        Raises: ForbiddenError, RateLimitedError; UnavailableError where the registry cannot be asked.
        """
        if self._directory is None:
            return self._open
        if not who.merchant:
            raise ForbiddenError("this is for those who act for a merchant")
        caller = await self.on_behalf_of(who.merchant)
        if self._sharing is not None:
            await self._sharing.meet(caller.merchant, caller.rates)
        self._rates.check(caller.merchant, caller.rates)
        return caller

    @property
    def is_open(self) -> bool:
        """Whether nobody has to say who calls."""
        return self._directory is None

    def viewer(self, who: Principal) -> int | None:
        """Say whose jobs and rejections somebody may see: a merchant's number, or None for everyone's (operators)."""
        if self._directory is None:
            return self._open.merchant
        return None if Role.OPERATOR in who.roles else who.merchant

    async def on_behalf_of(self, merchant: int) -> Caller:
        """Give a merchant as a caller, where something else than a credential says that it is its capture.

        Raises: ForbiddenError where it is not registered or suspended; UnavailableError.
        """
        if self._directory is None:
            return Caller(merchant, personal=self._personal)
        standing = await self._directory.standing(merchant)
        if standing is None:
            raise ForbiddenError(f"there is no merchant {merchant}")
        return await self._active(self._directory, merchant, standing)

    def take(self, caller: Caller, *, events: int, size_bytes: int) -> None:
        """Count what a caller sends, from any thread. Raises: RateLimitedError."""
        if caller.rates:
            self._rates.take(caller.merchant, caller.rates, {EVENTS: events, BYTES: size_bytes})

    def left(self, caller: Caller) -> list[Left]:
        """Tell how a caller stands; nothing where it has no rates."""
        return self._rates.left(caller.merchant, caller.rates)

    async def _active(self, directory: Directory, number: int, standing: Standing) -> Caller:
        if standing.merchant.status is not Status.ACTIVE:
            raise SuspendedError(merchant=number)
        return self._caller(number, standing, await directory.taken_uris())

    def _caller(self, number: int, standing: Standing, taken: frozenset[str]) -> Caller:
        own, defaults = standing.merchant.limits, self._defaults
        return Caller(
            number,
            None if standing.merchant.everything else Speech(self._policy, standing.claims, taken),
            own.body_bytes or defaults.body_bytes,
            {
                EVENTS: _rate(own.events_per_s or defaults.events_per_s, defaults.burst_s),
                BYTES: _rate(own.bytes_per_s or defaults.bytes_per_s, defaults.burst_s),
            },
            standing.keys,
            standing.merchant.personal_data or self._personal,
        )


def _rate(per_s: int, burst_s: int) -> Rate:
    return Rate(per_s, per_s * burst_s)
