"""Accounts at rest: what `services.runtime.access.values.Account` shows, and what is secret beside it. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from goodstrace.query.v1 import login_pb2
from services.query.accounts import passwords
from services.runtime.access.values import Account, AccountKind, AccountStatus, Role
from services.runtime.call_errors import InvalidRequestError

MAX_CERTIFICATE: Final = 512
MAX_MERCHANT: Final = 2**53 - 1


class StoredAccount(Account, frozen=True, kw_only=True):
    """An account in the collection `accounts`, whole.

    password: an argon2id hash, "" for a program. change_password: an operator made it. totp_secret: encrypted, empty for none;
    totp_on: it was confirmed; totp_step: the step of the last code that counted. recovery: digests of recovery codes. secrets: digests of a
    program's secrets, newest first, at most two.
    """

    created_ms: int = 0
    password: str = ""
    change_password: bool = False
    totp_secret: bytes = b""
    totp_on: bool = False
    totp_step: int = 0
    recovery: tuple[bytes, ...] = ()
    secrets: tuple[bytes, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether it may be used."""
        return self.status is AccountStatus.ACTIVE

    @property
    def roles_now(self) -> tuple[Role, ...]:
        """What it is before and after its password was changed."""
        return () if self.change_password else self.roles


def row_of(account: StoredAccount) -> dict[str, Any]:
    """Give the document of an account; without a certificate it has no such member, since those are unique."""
    row: dict[str, Any] = {
        name: msgspec.to_builtins(value, builtin_types=(bytes,))
        for name, value in msgspec.structs.asdict(account).items()
        if name != "id"
    }
    if not account.certificate:
        del row["certificate"]
    return {"_id": account.id, **row}


def account_of(row: Mapping[str, Any]) -> StoredAccount:
    """Read the document of an account."""
    return msgspec.convert({**row, "id": row["_id"]}, StoredAccount)


def message_of(account: StoredAccount) -> login_pb2.Account:
    """Show an account to an operator."""
    return login_pb2.Account(
        id=account.id,
        name=account.name,
        kind=account.kind,
        roles=account.roles,
        merchant=account.merchant,
        status=account.status,
        certificate=account.certificate,
        created_ms=account.created_ms,
        totp=account.totp_on,
    )


def checked(account: StoredAccount) -> StoredAccount:
    """Give an account as it may be kept. Raises: InvalidRequestError, where its parts do not go together."""
    if not passwords.is_name(account.name):
        raise InvalidRequestError("1 to 64 lower-case letters, digits and .-_@, please", "account.name")
    if not account.roles:
        raise InvalidRequestError("at least one role, please", "roles")
    if bool(account.merchant) != (Role.MERCHANT in account.roles):
        raise InvalidRequestError(
            "the role merchant goes with the number of a merchant, and only that", "merchant"
        )
    if not 0 <= account.merchant <= MAX_MERCHANT:
        raise InvalidRequestError(f"over {MAX_MERCHANT}", "merchant")
    if Role.PLATFORM in account.roles and account.kind is not AccountKind.SERVICE:
        raise InvalidRequestError("platform is for service accounts", "roles")
    if account.certificate and account.kind is not AccountKind.SERVICE:
        raise InvalidRequestError("a certificate is for service accounts", "certificate")
    if len(account.certificate) > MAX_CERTIFICATE or not account.certificate.isprintable():
        raise InvalidRequestError(f"at most {MAX_CERTIFICATE} characters", "certificate")
    return account


def roles_from(names: "list[str]") -> tuple[Role, ...]:
    """Read roles. Raises: InvalidRequestError."""
    known = {str(role): role for role in Role if role is not Role.ANYBODY}
    if unknown := [name for name in names if name not in known]:
        raise InvalidRequestError(f"no role {unknown[0][:20]!r}; there are {', '.join(known)}", "roles")
    return tuple(known[name] for name in sorted(set(names)))
