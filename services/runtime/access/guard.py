"""The guard of a port: tells who calls, looks the operation up in the table, refuses, and notes what was refused.

The interceptor of gRPC (`services.runtime.grpc`) and the middleware of HTTP (`services.runtime.access.http`) are made of it; there is no
other way to a servicer or a route.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final

import msgspec

from services.runtime.access.authenticator import Authentication, Headers, Known
from services.runtime.access.current import Again, acting
from services.runtime.access.networks import FORWARDED_FOR, Network, caller_network
from services.runtime.access.table import allows, notes_itself, roles_of
from services.runtime.access.values import NOBODY, Principal, Role
from services.runtime.errors import UnavailableError
from services.runtime.merchants.errors import ForbiddenError, RoleError, SuspendedError, UnauthenticatedError


class Reason(StrEnum):
    """Why a caller was refused; a closed set, for metrics and browse records.

    NOTHING_SHOWN: no credential. CREDENTIAL: one that does not count. SUSPENDED: the merchant is. ROLE: it is for other roles. OTHER: behind the
    guard, such as what is another merchant's, or the index's own token.
    """

    NOTHING_SHOWN = "nothing-shown"
    CREDENTIAL = "credential"
    SUSPENDED = "suspended"
    ROLE = "role"
    OTHER = "other"


class Refusal(msgspec.Struct, frozen=True):
    """A call that was refused for who made it; nothing in it was typed by the caller.

    operation: as the table names it. who: NOBODY where that cannot be told. network: as `network_of` gives it.
    """

    service: str
    operation: str
    who: Principal
    reason: Reason
    network: str


SHOW_SOMETHING: Final = "say who calls: an access token or an API key is wanted"


class Guard:
    """Guards the operations of one service."""

    def __init__(
        self,
        service: str,
        authentication: Authentication,
        refused: Callable[[Refusal], None],
        *,
        fresh_s: float = 2.0,
        proxies: Sequence[Network] = (),
    ) -> None:
        """Guard `service`, as the table names it.

        Args:
            service: whose ports.
            authentication: tells who calls.
            refused: told of each refusal; must not wait.
            fresh_s: how often it is asked whether the caller of a call that goes on still counts.
            proxies: the networks of proxies that are believed where a call comes from.
        """
        self.service = service
        self._authentication = authentication
        self._refused = refused
        self._fresh_s = fresh_s
        self._proxies = proxies

    def network(self, address: str, headers: Headers) -> str:
        """Tell from where a call comes: of who made its connection, or of whom a trusted proxy says that it calls for them."""
        forwarded = [value for name, value in headers if name == FORWARDED_FOR and isinstance(value, str)]
        return caller_network(address, forwarded, self._proxies)

    async def admit(
        self, operation: str, headers: Headers, network: str, certificate_names: Sequence[str] = ()
    ) -> Known:
        """Tell who calls and whether they may; a refusal is noted.

        Raises: UnauthenticatedError, ForbiddenError; UnavailableError where that cannot be told.
        """
        roles = roles_of(self.service, operation)
        who = NOBODY
        try:
            known = await self._known(headers, certificate_names, for_anybody=Role.ANYBODY in roles)
            who = known.who
            if not allows(roles, who.roles):
                raise _not_allowed(roles, who)
        except (UnauthenticatedError, ForbiddenError) as error:
            self.note(operation, error, who, network)
            raise
        return known

    async def _known(self, headers: Headers, names: Sequence[str], *, for_anybody: bool) -> Known:
        """Tell who calls; where that does not matter, what does not count is as if it had not been shown.

        A token that came to its end must not keep anybody from signing in, nor a store that is away from reading the public logs.
        """
        try:
            return await self._authentication.known(headers, names)
        except (UnauthenticatedError, ForbiddenError, UnavailableError):
            if not for_anybody:
                raise
            return Known(NOBODY, _nobody)

    def note(self, operation: str, error: BaseException, who: Principal, network: str) -> None:
        """Note that a call was refused for who made it, unless the operation makes records of that itself."""
        if notes_itself(self.service, operation) and not isinstance(error, RoleError):
            return
        if isinstance(error, SuspendedError) and error.name and who == NOBODY:
            who = Principal(name=error.name, merchant=error.merchant)
        self._refused(Refusal(self.service, operation, who, reason_of(error), network))

    @asynccontextmanager
    async def watching(self, known: Known, network: str, *, is_long: bool) -> AsyncIterator[None]:
        """Answer as called by somebody; where `is_long`, the answer is cut off once they do not count any more.

        What changed about them (a role taken away, another merchant) cuts it off as well: they may call anew.

        Raises: UnauthenticatedError, ForbiddenError.
        """
        with acting(known.who, known.again, network):
            if not is_long:
                yield
                return
            async with _cut_off(self._fresh_s, known.who, known.again):
                yield


@asynccontextmanager
async def _cut_off(every_s: float, who: Principal, again: Again) -> AsyncIterator[None]:
    why: list[Exception] = []
    is_over = False
    try:
        async with asyncio.timeout(None) as cut:

            def gone(task: asyncio.Task[None]) -> None:
                if not is_over and not task.cancelled():
                    cut.reschedule(0)

            watching = asyncio.create_task(_gone(every_s, who, again, why))
            watching.add_done_callback(gone)
            try:
                yield
            finally:
                is_over = True
                watching.cancel()
    except TimeoutError:
        if why:
            raise why[0] from None
        raise


async def _gone(every_s: float, who: Principal, again: Again, why: list[Exception]) -> None:
    """Return once somebody does not count any more, and say why; while that cannot be told they count as before."""
    while True:
        await asyncio.sleep(every_s)
        try:
            if await again() != who:
                why.append(UnauthenticatedError("what you may do has changed: call again"))
                return
        except UnavailableError:
            continue
        except Exception as error:  # noqa: BLE001 - raised in the call that is cut off
            why.append(error)
            return


def reason_of(error: BaseException) -> Reason:
    """Say in one word why a caller was refused."""
    if isinstance(error, UnauthenticatedError):
        return Reason.CREDENTIAL if error.invalid else Reason.NOTHING_SHOWN
    if isinstance(error, SuspendedError):
        return Reason.SUSPENDED
    return Reason.ROLE if isinstance(error, RoleError) else Reason.OTHER


def _not_allowed(roles: frozenset[Role], who: Principal) -> UnauthenticatedError | RoleError:
    """Say what is wanted, and of who calls what they may be told: their own name and roles, as `whoami` says them."""
    if who == NOBODY:
        return UnauthenticatedError(SHOW_SOMETHING, invalid=False)
    wanted = " or ".join(sorted(role.value for role in roles))
    only = f"only the role {wanted} may do this" if wanted else "nobody may do this"
    own = ", ".join(sorted(role.value for role in who.roles)) or "no role"
    return RoleError(f"{only}; you are {who.name} ({own})")


async def _nobody() -> Principal:
    return NOBODY
