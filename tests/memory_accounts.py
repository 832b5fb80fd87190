"""Accounts and sessions in memory, and access tokens as the query service issues them."""

from typing import Any, Final

import structlog
from joserfc import jwt
from joserfc.jwk import OKPKey

from services.runtime.access.authenticator import ACCESS_TOKEN, Authenticator
from services.runtime.access.tokens import PINNED, PublicKey, TokenRules, Tokens, public_key
from services.runtime.access.values import Account, AccountKind, Role
from services.runtime.errors import UnavailableError
from services.runtime.merchants.directory import Directory, Staleness

ISSUER: Final = "goodstrace.test"
OPERATOR: Final = "operator-token"
KEY: Final = OKPKey.generate_key("Ed25519", {"kid": "login-1"})
STALENESS: Final = Staleness(2, 0)


class MemoryAccounts:
    """Implements AccountSource."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.sessions: set[str] = set()
        self.away = False

    def add(self, name: str, *roles: Role, **more: Any) -> Account:
        """Make an account with an open session of its own name; its ID is made from the name."""
        account = Account(
            id=name.encode().hex().ljust(32, "0")[:32],
            name=name,
            roles=roles,
            kind=more.pop("kind", AccountKind.USER),
            **more,
        )
        self.accounts[account.id] = account
        self.sessions.add(f"session of {name}")
        return account

    async def account(self, account_id: str) -> Account | None:
        self._answer()
        return self.accounts.get(account_id)

    async def by_certificate(self, name: str) -> Account | None:
        self._answer()
        return next((each for each in self.accounts.values() if each.certificate == name), None)

    async def session_is_open(self, session_id: str) -> bool:
        self._answer()
        return session_id in self.sessions

    def _answer(self) -> None:
        if self.away:
            raise UnavailableError("the store is away")


class LoginKeys:
    """Implements KeySource: the public half of KEY."""

    async def find(self, kid: str) -> PublicKey | None:
        return public_key(KEY.as_dict(private=False)) if kid == KEY.kid else None


def claims_of(account: Account, now_ms: int, **changes: Any) -> dict[str, Any]:
    """The claims of an access token; one that is None is left out."""
    told = {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": account.id,
        "sid": f"session of {account.name}" if account.kind is AccountKind.USER else None,
        "roles": [role.value for role in account.roles],
        "merchant": account.merchant or None,
        "name": account.name,
        "iat": now_ms // 1000,
        "iat_ms": now_ms,
        "exp": now_ms // 1000 + 300,
        "jti": "1",
        **changes,
    }
    return {name: value for name, value in told.items() if value is not None}


def token_of(
    account: Account, now_ms: int, *, key: Any = KEY, header: dict[str, Any] | None = None, **changes: Any
) -> str:
    """An access token as the query service issues it, but for what is changed."""
    told = {"alg": "EdDSA", "typ": ACCESS_TOKEN, "kid": KEY.kid, **(header or {})}
    return jwt.encode(told, claims_of(account, now_ms, **changes), key, registry=PINNED)


def authenticator(
    directory: Directory, accounts: MemoryAccounts, clock_s: Any, now_ms: Any, **more: Any
) -> Authenticator:
    """The real one, over accounts in memory."""
    rules = TokenRules(ISSUER, ISSUER, typ=ACCESS_TOKEN)
    return Authenticator(
        directory,
        accounts,
        Tokens(rules, LoginKeys(), now_ms),
        staleness=STALENESS,
        clock_s=clock_s,
        log=structlog.get_logger(),
        operator_token=OPERATOR,
        **more,
    )
