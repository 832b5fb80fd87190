"""Giving out tokens: for a session that begins or goes on, and for programs."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from goodstrace.query.v1 import login_pb2
from services.query.accounts import sessions as session_values
from services.query.accounts import signing_keys
from services.query.accounts.account_store import AccountStore
from services.query.accounts.attempts import UNKNOWN, Attempts
from services.query.accounts.errors import BusyError, refused
from services.query.accounts.key_ring import KeyRing
from services.query.accounts.metrics import LoginMetrics, Outcome
from services.query.accounts.secret_keys import SecretKeys
from services.query.accounts.session_store import SessionStore
from services.query.accounts.sessions import Session, Verdict
from services.query.accounts.stored import StoredAccount
from services.runtime.access.values import AccountKind, Means

_TRIES: Final = 3
_NOBODY: Final = bytes(32)


class Lifetimes(msgspec.Struct, frozen=True):
    """How long an access token counts, a session unused, and a session at the most, in seconds."""

    access_s: int
    idle_s: int
    session_s: int


class Issuing:
    """Gives out tokens."""

    def __init__(
        self,
        *,
        accounts: AccountStore,
        sessions: SessionStore,
        ring: KeyRing,
        keys: SecretKeys,
        attempts: Attempts,
        issuer: str,
        lifetimes: Lifetimes,
        now_ms: Callable[[], int],
        random: Callable[[int], bytes],
        metrics: LoginMetrics,
    ) -> None:
        """Issue in the name of `issuer`."""
        self._accounts, self._sessions = accounts, sessions
        self._ring, self._keys, self._attempts = ring, keys, attempts
        self._issuer, self.lifetimes = issuer, lifetimes
        self._now_ms, self._random, self._metrics = now_ms, random, metrics

    async def begin(self, account: StoredAccount, network: str, begun_ms: int) -> login_pb2.Tokens:
        """Begin a session. Its ID is made here, never taken from a caller.

        Args:
            account: whose.
            network: from where.
            begun_ms: when the account was read: what was revoked since then is so for this session too.
        """
        identifier = self._random(session_values.ID_BYTES).hex()
        token, digest = session_values.new_token(self._keys.refresh, identifier, self._random)
        session = Session(
            id=identifier,
            account=account.id,
            network=network,
            begun_ms=begun_ms,
            used_ms=begun_ms,
            ends_ms=begun_ms + self.lifetimes.session_s * 1000,
            digest=digest,
        )
        await self._sessions.add(session)
        self._metrics.sessions_begun.inc()
        return self._tokens(account, session, token, begun_ms)

    async def refresh(self, token: str, network: str) -> login_pb2.Tokens:
        """Give the next tokens of a session.

        Raises: UnauthenticatedError; UnavailableError.
        """
        parsed = session_values.parse(self._keys.refresh, token)
        if parsed is None:
            return await self._no(UNKNOWN, Outcome.WRONG_TOKEN, network)
        for _ in range(_TRIES):
            now_ms = self._now_ms()
            session = await self._sessions.find(parsed[0])
            account = await self._accounts.find(session.account) if session else None
            if session is None or account is None:
                return await self._no(UNKNOWN, Outcome.WRONG_TOKEN, network)
            verdict = session_values.judge(session, parsed[1], now_ms, self.lifetimes.idle_s * 1000)
            if verdict is Verdict.REUSED:
                self._metrics.sessions_ended.inc(await self._sessions.end(session.id, account.id, now_ms))
                return await self._no(account.name, Outcome.REUSED_TOKEN, network)
            if verdict is Verdict.OVER or not account.is_active or account.valid_from_ms > session.begun_ms:
                return await self._no(account.name, Outcome.WRONG_TOKEN, network)
            following, digest = session_values.new_token(self._keys.refresh, session.id, self._random)
            after = session_values.turned(session, verdict, digest, now_ms)
            if await self._sessions.swap(session, after):
                return self._tokens(account, after, following, now_ms)
        raise BusyError("the session is refreshed by many at the same time")

    async def issue(
        self, client_id: str, secret: str, certificates: Sequence[str], network: str
    ) -> login_pb2.Tokens:
        """Give an access token to a program, by its secret or by its certificate.

        Raises: UnauthenticatedError; UnavailableError.
        """
        now_ms = self._now_ms()
        means = Means.TOKEN if client_id or secret else Means.CERTIFICATE
        if means is Means.TOKEN:
            account = await self._accounts.named(client_id)
            is_it = _is_secret(secret, account)
        else:
            account = await self._by_certificate(certificates)
            is_it = account is not None
        if account is None or account.kind is not AccountKind.SERVICE or not is_it:
            name = account.name if account else UNKNOWN
            return await self._no(name, Outcome.WRONG_SECRET, network, "IssueToken")
        if not account.is_active:
            return await self._no(account.name, Outcome.DISABLED, network, "IssueToken")
        await self._attempts.granted("IssueToken", account.name, account.merchant, means, network)
        return self._tokens(account, None, "", now_ms)

    async def _by_certificate(self, names: Sequence[str]) -> StoredAccount | None:
        for name in names:
            if account := await self._accounts.by_certificate(name):
                return account
        return None

    async def _no(
        self, user: str, outcome: Outcome, network: str, method: str = "Refresh"
    ) -> login_pb2.Tokens:
        await self._attempts.refused(method, user, outcome, network)
        raise refused()

    def _tokens(
        self, account: StoredAccount, session: Session | None, refresh: str, issued_ms: int
    ) -> login_pb2.Tokens:
        lasts_s = self.lifetimes.access_s
        if session is not None:
            lasts_s = max(min(lasts_s, (session.ends_ms - issued_ms) // 1000), 1)
        said = signing_keys.claims(
            issuer=self._issuer,
            account=account.id,
            name=account.name,
            roles=account.roles_now,
            merchant=account.merchant,
            session=session.id if session else "",
            issued_ms=issued_ms,
            lasts_s=lasts_s,
            jti=self._random(session_values.ID_BYTES).hex(),
        )
        token = signing_keys.signed(self._ring.current(), said)
        return login_pb2.Tokens(access_token=token, expires_in_s=lasts_s, refresh_token=refresh)


def _is_secret(secret: str, account: StoredAccount | None) -> bool:
    """Say whether it is one of a program's secrets, comparing as often whatever the account is."""
    digest = session_values.digest_of(secret)
    digests = [*(account.secrets if account else ()), _NOBODY, _NOBODY][:2]
    matches = [session_values.same(digest, each) for each in digests]
    return any(matches) and account is not None
