"""Telling who calls, by whatever they show: the one place, for every port of every service.

An API key of a merchant's, an access token of our own, a token of the platform's identity provider, the operator's token, or a client
certificate. What does not count is refused with one and the same words, whatever is wrong with it; the log says what. Source: RFC 6750;
RFC 8725; RFC 9068 section 4.
"""

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog

from services.runtime.access.tokens import MAX_TOKEN_BYTES, Tokens
from services.runtime.access.values import (
    EVERYBODY,
    NOBODY,
    Account,
    AccountKind,
    AccountStatus,
    Means,
    Principal,
    Role,
)
from services.runtime.merchants import api_keys
from services.runtime.merchants.credentials import credential_of
from services.runtime.merchants.directory import Directory, Remembered, Staleness
from services.runtime.merchants.errors import SuspendedError, UnauthenticatedError
from services.runtime.merchants.values import Status

ACCESS_TOKEN: Final = "at+jwt"  # noqa: S105 - a media type
OPERATOR: Final = "operator"
REFUSED: Final = "what was shown does not count, or not any more: sign in, or show another key"
Headers = Iterable[tuple[str, str | bytes]]


class AccountSource(Protocol):
    """Where accounts and sessions are read; `services.runtime.access.accounts.AccountReader` is the real one."""

    async def account(self, account_id: str) -> Account | None:
        """Find an account by its ID. Raises: UnavailableError."""
        ...

    async def by_certificate(self, name: str) -> Account | None:
        """Find a service account by a name in its client certificate. Raises: UnavailableError."""
        ...

    async def session_is_open(self, session_id: str) -> bool:
        """Tell whether a session is open. Raises: UnavailableError."""
        ...


class IdentityProvider(Protocol):
    """The platform's own identity provider; `services.runtime.access.oidc.OidcTokens` is the real one."""

    issuer: str

    async def principal(self, token: str) -> Principal:
        """Tell who a token names. Raises: UnauthenticatedError, UnavailableError."""
        ...


class Known(msgspec.Struct, frozen=True):
    """Who calls, and how to ask once more whether that still counts: without the token, which may have come to its end meanwhile."""

    who: Principal
    again: Callable[[], Awaitable[Principal]]


class Authentication(Protocol):
    """Tells who calls."""

    async def known(self, headers: Headers, certificate_names: Sequence[str] = ()) -> Known:
        """Tell who calls.

        Args:
            headers: of a request, or the metadata of a call, names in lower case.
            certificate_names: the names in the client certificate that the connection was made with.
        Raises: UnauthenticatedError where something was shown that does not count; ForbiddenError for a suspended merchant;
            UnavailableError where that cannot be told.
        """
        ...


class Everybody:
    """Authentication where accounts are off: nobody is asked."""

    async def known(self, headers: Headers, certificate_names: Sequence[str] = ()) -> Known:
        """See Authentication."""
        del headers, certificate_names
        return Known(EVERYBODY, _everybody)


async def _everybody() -> Principal:
    return EVERYBODY


class _Claims(msgspec.Struct, frozen=True):
    """What an access token of ours says that counts: whose it is. Roles and merchant count as the account has them."""

    sub: str
    iat_ms: int
    sid: str = ""


class _Issued(msgspec.Struct, frozen=True):
    iss: str = ""


class Authenticator:
    """Tells who calls, where accounts are required."""

    def __init__(
        self,
        directory: Directory,
        accounts: AccountSource,
        tokens: Tokens,
        *,
        staleness: Staleness,
        clock_s: Callable[[], float],
        log: structlog.stdlib.BoundLogger,
        oidc: IdentityProvider | None = None,
        operator_token: str | None = None,
    ) -> None:
        """Ask these.

        Args:
            directory: merchants and their API keys.
            accounts: accounts and sessions, asked anew once that is older than `staleness` says.
            tokens: verifies access tokens of our own; their rules must name `ACCESS_TOKEN` as the type.
            staleness: how old an answer may be.
            clock_s: never goes back.
            log: told why something does not count.
            oidc: the platform's identity provider; None: there is none.
            operator_token: what an operator may show; None: nothing.
        """
        self._directory, self._tokens, self._oidc, self._log = directory, tokens, oidc, log
        self._operator_token = (operator_token or "").encode()
        # By token: one that was issued after something had changed, such as a password, must not meet what was so before.
        self._accounts: Remembered[_Claims, Account | None] = Remembered(
            lambda claims: accounts.account(claims.sub), staleness, clock_s
        )
        self._sessions: Remembered[str, bool] = Remembered(accounts.session_is_open, staleness, clock_s)
        self._certificates: Remembered[str, Account | None] = Remembered(
            accounts.by_certificate, staleness, clock_s
        )

    async def principal(self, headers: Headers, certificate_names: Sequence[str] = ()) -> Principal:
        """Tell who calls; see `Authentication.known`."""
        return (await self.known(headers, certificate_names)).who

    async def known(self, headers: Headers, certificate_names: Sequence[str] = ()) -> Known:
        """See Authentication; one message stands for all that does not count, and the log says what is wrong."""
        try:
            credential = credential_of((name, value) for name, value in headers if isinstance(value, str))
            again = await self._identified(credential, certificate_names)
        except UnauthenticatedError as error:
            raise self._refusal(error) from error
        return Known(await again(), again)

    def _refusal(self, error: UnauthenticatedError) -> UnauthenticatedError:
        self._log.info("refused a credential", why=str(error))
        return UnauthenticatedError(REFUSED)

    async def _identified(
        self, credential: str | None, names: Sequence[str]
    ) -> Callable[[], Awaitable[Principal]]:
        """Find what was shown, and give what asks whether it counts."""
        if credential is None:
            account = await self._of_certificate(names)
            if account is None:
                return _nobody
            return self._saying(lambda: self._certified(account.certificate, names))
        if hmac.compare_digest(credential.encode(), self._operator_token) and self._operator_token:
            return _operator
        if credential.startswith(api_keys.PREFIX):
            return self._saying(lambda: self._merchant(credential))
        oidc = self._oidc
        if oidc is not None and _issuer(credential) == oidc.issuer:
            return self._saying(lambda: oidc.principal(credential))
        claims = _claims(await self._tokens.claims(credential))
        return self._saying(lambda: self._account(claims))

    def _saying(self, ask: Callable[[], Awaitable[Principal]]) -> Callable[[], Awaitable[Principal]]:
        """Have what is asked in the middle of a call refuse in the same words as at its beginning."""

        async def again() -> Principal:
            try:
                who = await ask()
                await check_merchant(self._directory, who)
            except UnauthenticatedError as error:
                raise self._refusal(error) from error
            return who

        return again

    async def _merchant(self, key: str) -> Principal:
        number = await self._directory.holder(key)
        parsed = api_keys.parse(key)
        assert parsed is not None  # what is no key has no holder
        return principal_of_key(parsed[0], number)

    async def _account(self, claims: _Claims) -> Principal:
        account = await self._accounts.get(claims)
        if account is None or account.status is not AccountStatus.ACTIVE:
            raise UnauthenticatedError("the token's account is not there, or disabled")
        if claims.iat_ms < account.valid_from_ms:
            raise UnauthenticatedError("the token was issued before the account's tokens began to count")
        if account.kind is AccountKind.USER and not claims.sid:
            raise UnauthenticatedError("a person's token names no session")
        if claims.sid and not await self._sessions.get(claims.sid):
            raise UnauthenticatedError("the token's session has ended")
        return principal_of_account(account, Means.TOKEN, claims.sid)

    async def _certified(self, certificate: str, names: Sequence[str]) -> Principal:
        account = await self._of_certificate(names)
        if account is None or account.certificate != certificate:
            raise UnauthenticatedError("the certificate is no account's any more")
        return principal_of_account(account, Means.CERTIFICATE)

    async def _of_certificate(self, names: Sequence[str]) -> Account | None:
        """Find the service account of a client certificate; one that is nobody's is as if none was shown."""
        for name in names:
            account = await self._certificates.get(name)
            if account is not None and account.kind is AccountKind.SERVICE:
                return account if account.status is AccountStatus.ACTIVE else None
        return None


async def _nobody() -> Principal:
    return NOBODY


async def _operator() -> Principal:
    return Principal(means=Means.OPERATOR_TOKEN, name=OPERATOR, roles=frozenset((Role.OPERATOR,)))


async def check_merchant(directory: Directory, who: Principal) -> None:
    """See that the merchant for whom somebody acts, if any, is there and active.

    Raises: UnauthenticatedError, SuspendedError; UnavailableError where that cannot be told.
    """
    if not who.merchant:
        return
    standing = await directory.standing(who.merchant)
    if standing is None:
        raise UnauthenticatedError("there is no such merchant")
    if standing.merchant.status is not Status.ACTIVE:
        raise SuspendedError(who.name, who.merchant)


def principal_of_key(identifier: str, merchant: int) -> Principal:
    """Say who an API key is, by its ID and the merchant that holds it."""
    return Principal(
        means=Means.API_KEY,
        name=f"merchant:{merchant}",
        roles=frozenset((Role.MERCHANT,)),
        merchant=merchant,
        credential_id=identifier,
    )


def principal_of_account(account: Account, means: Means, session: str = "") -> Principal:
    """Say who an account is; whether it is active was seen to."""
    return Principal(
        means=means,
        account=account.id,
        name=account.name,
        roles=frozenset(account.roles) - {Role.ANYBODY},
        merchant=account.merchant if Role.MERCHANT in account.roles else 0,
        session=session,
    )


def _claims(claims: Any) -> _Claims:
    try:
        return msgspec.convert(dict(claims), _Claims)
    except msgspec.ValidationError as error:
        raise UnauthenticatedError(f"the token is not as ours are: {error}") from error


def _issuer(token: str) -> str:
    """Read which issuer a token names, unverified: it chooses only who is to verify it. "" where it cannot be read."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > MAX_TOKEN_BYTES:
        return ""
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(payload, type=_Issued).iss
    except (binascii.Error, ValueError, RecursionError, msgspec.MsgspecError):
        return ""
