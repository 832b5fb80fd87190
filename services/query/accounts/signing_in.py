"""Signing in with name and password: what stands before it, what is compared, and what is said of it.

Whatever is wrong, the same is done up to the refusal: the account is looked for, the attempt counted, one password hashed. What only
a right password leads to is written after the answer has left.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import structlog

from goodstrace.query.v1 import login_pb2
from services.query.accounts import challenges, one_time_codes, passwords
from services.query.accounts.account_store import AccountStore
from services.query.accounts.admission import Admission, Asker, Ticket
from services.query.accounts.attempts import UNKNOWN, Attempts
from services.query.accounts.errors import BusyError, ChallengedError, LockedError, refused
from services.query.accounts.hashing import Hasher
from services.query.accounts.issuing import Issuing
from services.query.accounts.metrics import Outcome
from services.query.accounts.secret_keys import SecretKeys
from services.query.accounts.stored import StoredAccount
from services.runtime.access.values import Means
from services.runtime.errors import UnavailableError

_DEVICE_BYTES = 16


class Codes:
    """Whether a one-time code, or a recovery code, is one of an account; each counts once."""

    def __init__(self, accounts: AccountStore, keys: SecretKeys, now_ms: Callable[[], int]) -> None:
        """Take note in `accounts` of those that have counted."""
        self._accounts, self._keys, self._now_ms = accounts, keys, now_ms

    def may_be(self, account: StoredAccount, code: str) -> Callable[[], Awaitable[bool]] | None:
        """Give what makes a code count, and says whether it does; None where it is wrong, without asking the store."""
        secret = self._keys.one_time_codes.decrypted(account.totp_secret, account.id.encode())
        if secret is not None:
            step = one_time_codes.step_of(secret, code, account.totp_step, self._now_ms() // 1000)
            if step is not None:
                return partial(self._accounts.use_step, account.id, step)
        digest = one_time_codes.recovery_digest(code)
        if digest in account.recovery:
            return partial(self._accounts.use_recovery, account.id, digest)
        return None


class SigningIn:
    """Lets people in, or not."""

    def __init__(
        self,
        *,
        accounts: AccountStore,
        admission: Admission,
        hasher: Hasher,
        codes: Codes,
        issuing: Issuing,
        attempts: Attempts,
        keys: SecretKeys,
        now_ms: Callable[[], int],
        random: Callable[[int], bytes],
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Put the parts together."""
        self._accounts, self._admission, self._hasher = accounts, admission, hasher
        self._codes, self._issuing, self._attempts = codes, issuing, attempts
        self._keys, self._now_ms, self._random, self._log = keys, now_ms, random, log
        self._after: set[asyncio.Task[object]] = set()

    async def sign_in(self, request: login_pb2.SignInRequest, network: str) -> login_pb2.SignInResponse:
        """Sign in.

        1. whether the attempt may be made, and count it; 2. the account and its password; 3. its code; 4. record, then session and tokens.

        Raises: UnauthenticatedError; LockedError; ChallengedError; BusyError; UnavailableError.
        """
        now_ms = self._now_ms()
        name = passwords.account_name(request.name)
        device = await self._device(name, request.device_token, now_ms)
        ticket = await self._admitted(name, network, device, request.solution, now_ms)
        account, may_show = await asyncio.gather(
            self._accounts.named(name), self._admission.may_show_code(name, now_ms)
        )
        matches = await self._matches(account, request.password, ticket, network)
        outcome = await self._outcome(account, request.code, matches=matches, may_show=may_show)
        if account is None or outcome is not Outcome.GRANTED:
            await self._attempts.refused("SignIn", account.name if account else UNKNOWN, outcome, network)
            if outcome is Outcome.WRONG_CODE:
                self._afterwards(self._admission.code_failed(name, now_ms))
            raise refused()
        return await self._let_in(
            account, request, ticket=ticket, network=network, device=device, now_ms=now_ms
        )

    async def finish(self) -> None:
        """Wait for what is still to be written of attempts that were answered."""
        await asyncio.gather(*self._after)

    async def _device(self, name: str, token: str, now_ms: int) -> str:
        opened = challenges.open_device(self._keys.devices, token, now_ms // 1000)
        if opened is None:
            return ""
        account = await self._accounts.named(name)
        return opened.device if account is not None and account.id == opened.account else ""

    async def _admitted(
        self, name: str, network: str, device: str, solution: login_pb2.ChallengeSolution, now_ms: int
    ) -> Ticket:
        asker = Asker(
            name=name,
            network=network,
            device=device,
            challenge=solution.challenge,
            counter=solution.counter,
        )
        try:
            return await self._admission.admit(asker, now_ms)
        except (LockedError, ChallengedError) as error:
            # Whose name it is was not looked up: it shall cost as little as can be.
            await self._attempts.refused("SignIn", UNKNOWN, _told(error), network)
            raise

    async def _matches(
        self, account: StoredAccount | None, password: str, ticket: Ticket, network: str
    ) -> bool:
        hashed = account.password if account else ""
        try:
            return await self._hasher.verify(hashed, passwords.normalised(password), first=ticket.known)
        except BusyError:
            await self._admission.take_back(ticket, self._now_ms())
            await self._attempts.refused("SignIn", UNKNOWN, Outcome.BUSY, network)
            raise

    async def _outcome(
        self, account: StoredAccount | None, code: str, *, matches: bool, may_show: bool
    ) -> Outcome:
        if account is None:
            return Outcome.UNKNOWN_NAME
        if not matches:
            return Outcome.WRONG_PASSWORD
        if not account.is_active:
            return Outcome.DISABLED
        if not account.totp_on:
            return Outcome.GRANTED
        use = self._codes.may_be(account, code) if may_show else None
        return Outcome.GRANTED if use is not None and await use() else Outcome.WRONG_CODE

    async def _let_in(
        self,
        account: StoredAccount,
        request: login_pb2.SignInRequest,
        *,
        ticket: Ticket,
        network: str,
        device: str,
        now_ms: int,
    ) -> login_pb2.SignInResponse:
        await self._attempts.granted("SignIn", account.name, account.merchant, Means.TOKEN, network)
        await self._admission.succeeded(ticket, now_ms)
        if account.totp_on:
            await self._admission.code_succeeded(account.name, now_ms)
        await self._hash_anew(account, request.password)
        tokens = await self._issuing.begin(account, network, now_ms)
        known = challenges.Device(account.id, device or self._random(_DEVICE_BYTES).hex())
        token = challenges.make_device(self._keys.devices, known, now_ms // 1000)
        return login_pb2.SignInResponse(tokens=tokens, device_token=token)

    async def _hash_anew(self, account: StoredAccount, password: str) -> None:
        """Hash a password with the parameters of now where it was with others; another time where there is no room for that."""
        if not self._hasher.is_old(account.password):
            return
        try:
            hashed = await self._hasher.hash(passwords.normalised(password), first=True)
        except BusyError:
            return
        await self._accounts.swap(account, msgspec.structs.replace(account, password=hashed))

    def _afterwards(self, write: Callable[[], Awaitable[object]]) -> None:
        async def written() -> None:
            try:
                await write()
            except UnavailableError as error:
                self._log.warning("a wrong code is not told to other processes", cause=str(error))

        task: asyncio.Task[object] = asyncio.create_task(written())
        self._after.add(task)
        task.add_done_callback(self._after.discard)


def _told(error: LockedError | ChallengedError) -> Outcome:
    if isinstance(error, LockedError):
        return Outcome.LOCKED
    return Outcome.BLOCKED_NETWORK if error.for_block else Outcome.CHALLENGED
