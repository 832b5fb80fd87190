"""What somebody signed in may do with their own account: password, one-time codes, sessions."""

from collections.abc import Callable
from functools import partial

import msgspec

from goodstrace.query.v1 import login_pb2
from services.query.accounts import one_time_codes, passwords
from services.query.accounts.account_store import AccountStore
from services.query.accounts.admission import Admission
from services.query.accounts.changes import AccountChanges
from services.query.accounts.errors import refused
from services.query.accounts.hashing import Hasher
from services.query.accounts.issuing import Issuing
from services.query.accounts.metrics import LoginMetrics
from services.query.accounts.secret_keys import SecretKeys
from services.query.accounts.session_store import SessionStore
from services.query.accounts.signing_in import Codes
from services.query.accounts.stored import StoredAccount
from services.runtime.access.values import Means, Principal
from services.runtime.aead import NONCE_BYTES
from services.runtime.call_errors import InvalidRequestError, NotAllowedError

_FIELD = "new_password"


class OwnAccount:
    """Changes of one's own account. Every method raises UnauthenticatedError where the session or what is shown does not count, and LockedError
    after too many wrong ones.
    """  # noqa: D205 - one sentence

    def __init__(
        self,
        *,
        accounts: AccountStore,
        sessions: SessionStore,
        admission: Admission,
        hasher: Hasher,
        codes: Codes,
        issuing: Issuing,
        keys: SecretKeys,
        changes: AccountChanges,
        issuer: str,
        now_ms: Callable[[], int],
        random: Callable[[int], bytes],
        metrics: LoginMetrics,
    ) -> None:
        """Put the parts together; each change that counts is recorded by `changes` before it is made."""
        self._changes = changes
        self._accounts, self._sessions, self._admission = accounts, sessions, admission
        self._hasher, self._codes, self._issuing, self._keys = hasher, codes, issuing, keys
        self._issuer, self._now_ms, self._random, self._metrics = issuer, now_ms, random, metrics

    async def of(self, who: Principal) -> StoredAccount:
        """Give the account of who has a session. Raises: NotAllowedError where somebody else keeps it."""
        if who.means is not Means.NOTHING and not who.session:
            raise NotAllowedError("only for who has signed in here, by name and password")
        account = await self._accounts.find(who.account) if who.session else None
        if account is None or not account.is_active:
            raise refused()
        return account

    async def change_password(
        self, who: Principal, request: login_pb2.ChangePasswordRequest, network: str
    ) -> login_pb2.Tokens:
        """Change the password; all sessions end, and a new one begins. Raises: InvalidRequestError."""
        account = await self.of(who)
        await self._confirmed(account, request.password, request.code, wants_code=account.totp_on)
        new = passwords.normalised(request.new_password)
        if new == passwords.normalised(request.password):
            raise InvalidRequestError("is the one so far", _FIELD)
        problem = await self._hasher.run(partial(passwords.problem, new, account.name), first=True)
        if problem:
            raise InvalidRequestError(problem, _FIELD)
        hashed = await self._hasher.hash(new, first=True)
        from_ms = self._now_ms() + 1

        def changed(now: StoredAccount) -> StoredAccount:
            if now.password != account.password:
                raise refused()  # it was changed or reset meanwhile
            return msgspec.structs.replace(now, password=hashed, change_password=False, valid_from_ms=from_ms)

        await self._changes.record("ChangePassword", account)
        after = await self._accounts.update(account.id, changed)
        if after is None:
            raise refused()
        self._metrics.sessions_ended.inc(await self._sessions.end_all(account.id, from_ms))
        return await self._issuing.begin(after, network, from_ms)

    async def begin_totp(self, who: Principal, password: str) -> login_pb2.BeginTotpResponse:
        """Make a secret for one-time codes; it counts once a code of it was shown. Raises: InvalidRequestError."""
        account = await self.of(who)
        if account.totp_on:
            raise InvalidRequestError("one-time codes are in use: remove them first")
        await self._confirmed(account, password, "", wants_code=False)
        secret = self._random(one_time_codes.SECRET_BYTES)
        sealed = self._keys.one_time_codes.encrypted(secret, account.id.encode(), self._random(NONCE_BYTES))
        await self._changed(account, totp_secret=sealed, totp_step=0)
        text, uri = one_time_codes.shown(secret, account.name, self._issuer)
        return login_pb2.BeginTotpResponse(secret=text, uri=uri)

    async def confirm_totp(self, who: Principal, code: str) -> list[str]:
        """Use one-time codes from now on; gives recovery codes. Raises: InvalidRequestError."""
        account = await self.of(who)
        if account.totp_on or not account.totp_secret:
            raise InvalidRequestError("begin first: BeginTotp")
        ticket = await self._admission.admit_own(account.id, self._now_ms())
        use = self._codes.may_be(account, code)
        if use is None or not await use():
            raise refused()
        await self._admission.succeeded(ticket, self._now_ms())
        recovery = one_time_codes.recovery_codes(self._random)
        digests = tuple(map(one_time_codes.recovery_digest, recovery))
        await self._changes.record("ConfirmTotp", account)
        await self._changed(account, totp_on=True, recovery=digests)
        return recovery

    async def remove_totp(self, who: Principal, password: str, code: str) -> None:
        """Stop using one-time codes. Raises: InvalidRequestError."""
        account = await self.of(who)
        if not account.totp_on:
            raise InvalidRequestError("one-time codes are not in use")
        await self._confirmed(account, password, code, wants_code=True)
        await self._changes.record("RemoveTotp", account)
        await self._changed(account, totp_on=False, totp_secret=b"", totp_step=0, recovery=())

    async def sign_out(self, who: Principal, *, everywhere: bool, session: str) -> int:
        """End this session, another one, or all; gives how many have ended. Raises: InvalidRequestError."""
        if not who.account:
            raise refused() if who.means is Means.NOTHING else NotAllowedError("you have no session here")
        now_ms = self._now_ms()
        if everywhere:
            changed = partial(_from_now, now_ms + 1)
            await self._accounts.update(who.account, changed)
            ended = await self._sessions.end_all(who.account, now_ms)
        elif chosen := session or who.session:
            ended = await self._sessions.end(chosen, who.account, now_ms)
        else:
            raise InvalidRequestError("which session?", "session")
        self._metrics.sessions_ended.inc(ended)
        return ended

    async def _confirmed(self, account: StoredAccount, password: str, code: str, *, wants_code: bool) -> None:
        """See that it is still the one who signed in; a stolen token shall not be enough to guess the password with."""
        ticket = await self._admission.admit_own(account.id, self._now_ms())
        matches = await self._hasher.verify(account.password, passwords.normalised(password), first=True)
        use = self._codes.may_be(account, code) if wants_code else None
        if not matches or (wants_code and (use is None or not await use())):
            raise refused()
        await self._admission.succeeded(ticket, self._now_ms())

    async def _changed(self, account: StoredAccount, **members: object) -> None:
        """Change what one-time codes are made of, unless that was done meanwhile: codes that count would be others, and no record would tell."""

        def changed(now: StoredAccount) -> StoredAccount:
            if (now.totp_on, now.totp_secret) != (account.totp_on, account.totp_secret):
                raise refused()
            return msgspec.structs.replace(now, **members)

        if await self._accounts.update(account.id, changed) is None:
            raise refused()


def _from_now(now_ms: int, account: StoredAccount) -> StoredAccount:
    return msgspec.structs.replace(account, valid_from_ms=max(account.valid_from_ms, now_ms))
