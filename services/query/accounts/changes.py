"""Every change of an account is a browse record, sealed like a look: who made it, to which account, and what it gave.

Without it an operator could make an auditor of itself, look, and take the role back, and nothing that an auditor sees would tell.
"""

import shlex
from collections.abc import Mapping
from typing import Final

from services.query.accounts.new_names import HasLooks
from services.query.accounts.stored import StoredAccount
from services.runtime.access.current import principal
from services.runtime.access.naming import recorded_name
from services.sealing.browse import Browse, BrowseKind, Recorder

ACCOUNTS: Final = "urn:goodstrace:accounts"
"""The key under which the changes of all accounts are found."""
_SEPARATOR: Final = " "


class AccountChanges:
    """Records changes of accounts before they are made."""

    def __init__(self, recorder: Recorder, has_looks: HasLooks) -> None:
        """Record with `recorder`; `has_looks` says of whom there are records."""
        self._recorder, self._has_looks = recorder, has_looks

    async def record(
        self, method: str, account: StoredAccount, given: Mapping[str, str] | None = None
    ) -> None:
        """Record that an account is about to be changed. A change that fails after this, since the store was away, was recorded all the same.

        The user of the account is named where records know that name. To name another one would keep it from being used again
        (`services.query.accounts.new_names`); such an account is found by its ID.

        Args:
            method: the call's bare name, such as "UpdateAccount".
            account: as it is now; of one to be made, as it will be.
            given: what the change gives it, by member; nothing secret. What is no plain word is quoted as for a shell: a certificate's name may
                have blanks in it, and read like roles.
        Raises: UnavailableError: change nothing then.
        """
        is_known = await self._has_looks(account.name)
        await self._recorder.record(
            Browse(
                user=recorded_name(principal(), ()),
                method=method,
                keys=(ACCOUNTS, key_of(account.id)),
                sizes={},
                purpose="",
                events=0,
                asked_user=account.name if is_known else "",
                query=_SEPARATOR.join(
                    f"{name}={shlex.quote(value)}" for name, value in (given or {}).items()
                ),
                kind=BrowseKind.ACCOUNT_CHANGE,
            )
        )


def key_of(account: str) -> str:
    """Give the key under which the changes of the account with this ID are found."""
    return f"urn:goodstrace:account:{account}"


def given_to(before: StoredAccount | None, after: StoredAccount) -> dict[str, str]:
    """Say what a change gives an account, by member: of one that is made all that is set. Pure."""
    now = _members(after)
    if before is None:
        return {name: value for name, value in now.items() if value not in ("", "0")}
    was = _members(before)
    return {name: value for name, value in now.items() if value != was[name]}


def _members(account: StoredAccount) -> dict[str, str]:
    return {
        "kind": account.kind.value,
        "roles": ",".join(account.roles),
        "merchant": str(account.merchant),
        "status": account.status.value,
        "certificate": account.certificate,
    }
