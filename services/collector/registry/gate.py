"""The gate: who calls, and whether there is room for it. Every way in passes it, knowing no HTTP."""

import hmac
from typing import Final

import msgspec

from goodstrace.signatures import MerchantKey
from services.collector.registry.claims import Policy, Speech
from services.collector.registry.rates import BYTES, EVENTS, Left, Rate, Rates
from services.collector.registry.sharing import Sharing
from services.runtime.access.tokens import Tokens
from services.runtime.merchants import api_keys
from services.runtime.merchants.directory import Directory, Standing
from services.runtime.merchants.errors import ForbiddenError, UnauthenticatedError
from services.runtime.merchants.values import Status

_DIGITS: Final = 16


class DefaultLimits(msgspec.Struct, frozen=True):
    """The limits of a merchant that has none of its own: a second's, the size of a body, and seconds at a time of a burst."""

    events_per_s: int = 10_000
    bytes_per_s: int = 32 * 1024 * 1024
    body_bytes: int = 32 * 1024 * 1024
    burst_s: int = 60


class Caller(msgspec.Struct, frozen=True):
    """Whose events are taken.

    merchant: its number. keys: those that its events may be signed with, by ID. speech: which goods it may speak for, None: all. body_bytes: the largest body. rates: its buckets; empty: no limit.
    """

    merchant: int
    speech: Speech | None = None
    body_bytes: int = 2**40
    rates: dict[str, Rate] = {}
    keys: dict[str, MerchantKey] = {}


class Gate:
    """Tells callers apart, keeps their rates.

    Args:
        directory: who is registered; None: open to everyone, all of whom are `open_merchant`.
        tokens: what verifies JSON Web Tokens; None: none are taken.
        claim: names a token's merchant by its number.
        operator_token: what an operator shows; None: there is no operator.
        sharing: keeps `rates` in step with other collectors; None: there are none.
    """

    def __init__(
        self,
        directory: Directory | None,
        *,
        rates: Rates,
        tokens: Tokens | None = None,
        claim: str = "sub",
        policy: Policy = Policy.ORIGIN,
        defaults: DefaultLimits = DefaultLimits(),  # noqa: B008 - frozen
        operator_token: str | None = None,
        open_merchant: int = 1,
        sharing: Sharing | None = None,
    ) -> None:
        self._directory = directory
        self._sharing = sharing
        self._rates = rates
        self._tokens = tokens
        self._claim = claim
        self._policy = policy
        self._defaults = defaults
        self._operator_token = operator_token
        self._open = Caller(open_merchant)

    async def admit(self, credential: str | None) -> Caller:
        """Tell who calls, and make sure that its rates have room.

        Args:
            credential: an API key or a token, as it was sent; None where nothing was.
        Raises: UnauthenticatedError, ForbiddenError, RateLimitedError; UnavailableError where the registry cannot be asked.
        """
        if self._directory is None:
            return self._open
        caller = await self.identify(credential)
        if self._sharing is not None:
            await self._sharing.meet(caller.merchant, caller.rates)
        self._rates.check(caller.merchant, caller.rates)
        return caller

    @property
    def is_open(self) -> bool:
        """Whether nobody has to say who calls."""
        return self._directory is None

    async def viewer(self, credential: str | None) -> int | None:
        """Tell whose jobs and rejections a caller may see: a merchant's number, or None for everyone's (operators).

        Raises: UnauthenticatedError, ForbiddenError; UnavailableError where the registry cannot be asked.
        """
        if self.is_operator(credential):
            return None
        return (await self.identify(credential)).merchant

    async def on_behalf_of(self, merchant: int) -> Caller:
        """Give a merchant as a caller, where something else than a credential says that it is its capture.

        Raises: ForbiddenError where it is not registered or suspended; UnavailableError.
        """
        if self._directory is None:
            return Caller(merchant)
        standing = await self._directory.standing(merchant)
        if standing is None:
            raise ForbiddenError(f"there is no merchant {merchant}")
        return await self._active(self._directory, merchant, standing)

    async def identify(self, credential: str | None) -> Caller:
        """Tell who calls, whatever its rates. Raises: as `admit`."""
        if self._directory is None:
            return self._open
        number = await self._number(self._directory, credential)
        standing = await self._directory.standing(number)
        if standing is None:
            raise UnauthenticatedError("there is no such merchant")
        return await self._active(self._directory, number, standing)

    def take(self, caller: Caller, *, events: int, size_bytes: int) -> None:
        """Count what a caller sends, from any thread. Raises: RateLimitedError."""
        if caller.rates:
            self._rates.take(caller.merchant, caller.rates, {EVENTS: events, BYTES: size_bytes})

    def left(self, caller: Caller) -> list[Left]:
        """Tell how a caller stands; nothing where it has no rates."""
        return self._rates.left(caller.merchant, caller.rates)

    def is_operator(self, credential: str | None) -> bool:
        """Say whether a credential is the operator's, in the same time whatever it is."""
        wanted = (self._operator_token or "").encode()
        return bool(wanted) and hmac.compare_digest((credential or "").encode(), wanted)

    async def _active(self, directory: Directory, number: int, standing: Standing) -> Caller:
        if standing.merchant.status is not Status.ACTIVE:
            raise ForbiddenError("the merchant is suspended")
        return self._caller(number, standing, await directory.taken_uris())

    async def _number(self, directory: Directory, credential: str | None) -> int:
        if not credential:
            raise UnauthenticatedError("send an API key or a token", invalid=False)
        if not credential.startswith(api_keys.PREFIX):
            if self._tokens is None:
                raise UnauthenticatedError("not an API key")
            return self._named((await self._tokens.claims(credential)).get(self._claim))
        return await directory.holder(credential)

    def _named(self, value: object) -> int:
        text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) > 0):
            raise UnauthenticatedError(f"the token's claim {self._claim!r} is no merchant's number")
        return int(text)

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
        )


def _rate(per_s: int, burst_s: int) -> Rate:
    return Rate(per_s, per_s * burst_s)
