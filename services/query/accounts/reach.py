"""Whose accounts somebody may keep: operators all, a merchant's people those of their own merchant. Pure.

A merchant's people are accounts of persons that have the role `merchant` alone, for that merchant. Of every other account they are told that there is
none. They cannot give a role, a certificate or another merchant, nor keep their own account: nobody locks themselves out, or in.
"""

import msgspec

from goodstrace.query.v1 import login_pb2
from services.query.accounts.stored import StoredAccount
from services.runtime.access.values import AccountKind, Principal, Role
from services.runtime.merchants.errors import ForbiddenError


class Reach(msgspec.Struct, frozen=True):
    """Whose accounts: of `merchant` alone, or all where it is 0. own: the ID of the caller's account."""

    merchant: int = 0
    own: str = ""

    def covers(self, account: StoredAccount) -> bool:
        """Say whether an account is among them."""
        if not self.merchant:
            return True
        return (
            account.kind is AccountKind.USER
            and account.roles == (Role.MERCHANT,)
            and account.merchant == self.merchant
        )

    def wanted(self, account: login_pb2.Account) -> login_pb2.Account:
        """Give an account as it shall be made; what is left out of one of a merchant's people follows. Raises: ForbiddenError."""
        if not self.merchant:
            return account
        if account.kind not in ("", AccountKind.USER) or account.certificate:
            raise ForbiddenError("only accounts of persons, please")
        if list(account.roles) not in ([], [Role.MERCHANT]) or account.merchant not in (0, self.merchant):
            raise ForbiddenError("only for one's own merchant, and the role merchant alone")
        return login_pb2.Account(
            name=account.name, kind=AccountKind.USER, roles=[Role.MERCHANT], merchant=self.merchant
        )

    def check_change(self, account: StoredAccount, request: login_pb2.UpdateAccountRequest) -> None:
        """See that no more of one of a merchant's people is changed than whether it may be used. Raises: ForbiddenError."""
        if self.merchant and (
            request.roles or request.HasField("merchant") or request.HasField("certificate")
        ):
            raise ForbiddenError("only the status")
        self.check_other(account)

    def check_other(self, account: StoredAccount) -> None:
        """See that it is not the caller's own, which has calls of its own. Raises: ForbiddenError."""
        if self.merchant and account.id == self.own:
            raise ForbiddenError("not one's own account")


def reach_of(who: Principal) -> Reach:
    """Say whose accounts somebody may keep. Raises: ForbiddenError: an API key, and who has neither role, none."""
    if who.is_any(Role.OPERATOR):
        return Reach()
    if who.is_any(Role.MERCHANT) and who.merchant and who.account:
        return Reach(who.merchant, who.account)
    raise ForbiddenError("accounts are kept by operators, and by a merchant's people for their own merchant")
