"""Who somebody is now who once showed something, by the ID of it alone: for what they have left to go on without them.

What is shown and comes to an end by itself, such as a token of the identity provider, leaves nothing by which that can be told later.
"""

from enum import StrEnum
from typing import assert_never

import msgspec

from services.runtime.access.authenticator import (
    AccountSource,
    check_merchant,
    principal_of_account,
    principal_of_key,
)
from services.runtime.access.values import AccountStatus, Means, Principal
from services.runtime.merchants.directory import Directory
from services.runtime.merchants.errors import ForbiddenError, UnauthenticatedError


class CredentialKind(StrEnum):
    """What can be judged again without being shown."""

    API_KEY = "api-key"
    ACCOUNT = "account"


class Credential(msgspec.Struct, frozen=True):
    """What somebody showed, by its ID: of an API key (16 hex digits), or of an account (32). It lets nobody in."""

    kind: CredentialKind
    id: str


def lasting_credential(who: Principal) -> Credential | None:
    """Give what can be judged again of what somebody shows; None where it is nothing of that kind."""
    if who.account:
        return Credential(CredentialKind.ACCOUNT, who.account)
    if who.means is Means.API_KEY:
        return Credential(CredentialKind.API_KEY, who.credential_id)
    return None


class Lasting:
    """Judges credentials that nobody shows."""

    def __init__(self, directory: Directory | None, accounts: AccountSource) -> None:
        """Ask these; without a directory accounts are off, and nobody is somebody."""
        self._directory, self._accounts = directory, accounts

    async def principal(self, credential: Credential) -> Principal:
        """Tell who a credential is, with the roles of now.

        Raises: UnauthenticatedError where it does not count any more; ForbiddenError for a suspended merchant, and where accounts are off;
            UnavailableError where that cannot be told.
        """
        if self._directory is None:
            raise ForbiddenError("accounts are off: whose it is cannot be told")
        match credential.kind:
            case CredentialKind.API_KEY:
                who = principal_of_key(credential.id, await self._directory.holder_of(credential.id))
            case CredentialKind.ACCOUNT:
                account = await self._accounts.account(credential.id)
                if account is None or account.status is not AccountStatus.ACTIVE:
                    raise UnauthenticatedError("the account is not there, or disabled")
                who = principal_of_account(account, Means.NOTHING)
            case never:
                assert_never(never)
        await check_merchant(self._directory, who)
        return who
