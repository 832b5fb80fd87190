"""Who calls: principals and their roles. Pure."""

from enum import StrEnum
from typing import Final

import msgspec


class Role(StrEnum):
    """What somebody is to the system; the columns of the table in `services.runtime.access.table`.

    ANYBODY is who shows no credential; whoever shows one may do what ANYBODY may, too.
    """

    ANYBODY = "anybody"
    SHOPPER = "shopper"
    MERCHANT = "merchant"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    PLATFORM = "platform"


GIVEN_ROLES: Final = tuple(role for role in Role if role is not Role.ANYBODY)
"""The roles that an account can be given."""


class Means(StrEnum):
    """What somebody showed to say who they are; a closed set, for metrics and browse records."""

    NOTHING = "nothing"
    API_KEY = "api-key"
    TOKEN = "token"  # noqa: S105 - a kind of credential; an access token of our own
    OIDC = "oidc"
    OPERATOR_TOKEN = "operator-token"  # noqa: S105 - a kind of credential
    CERTIFICATE = "certificate"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls, as it counts now.

    means: what was shown. account: the ID of the account; "" for API keys, the operator token and nobody. name: what records and
    logs call them, never a secret: an account's name, `merchant:<number>` of an API key, `<subject>@<issuer>` by OIDC.
    roles: what they are. merchant: the number of the merchant for whom they act, 0 for none. session: the ID of their session, ""
    where there is none. credential_id: of what was shown, where it is nobody else's ever: the ID of an API key, the subject of a token of the
    identity provider as `<sub>@<issuer>`; "" for all else.
    """

    means: Means = Means.NOTHING
    account: str = ""
    name: str = "anonymous"
    roles: frozenset[Role] = frozenset()
    merchant: int = 0
    session: str = ""
    credential_id: str = ""

    def is_any(self, *roles: Role) -> bool:
        """Say whether they are one of these."""
        return not self.roles.isdisjoint(roles)


NOBODY: Final = Principal()
EVERYBODY: Final = Principal(roles=frozenset(GIVEN_ROLES))
"""Who calls where accounts are off: whoever reaches the port, with every role. Their name is what they say it is."""


class AccountKind(StrEnum):
    """Whether an account is a person's or a program's."""

    USER = "user"
    SERVICE = "service"


class AccountStatus(StrEnum):
    """Whether an account may be used."""

    ACTIVE = "active"
    DISABLED = "disabled"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account as every service may read it, in the collection `accounts`; nothing in it is secret.

    id: 16 random bytes as hex, `_id` there. name: unique, in lower case. merchant: for whom it acts, 0 for none: with the role
    `merchant` only. valid_from_ms: access tokens issued before it do not count any more (Unix milliseconds): signed out everywhere, password
    changed, roles changed. certificate: for a service account, the URI or DNS name in the client certificate that it may show; "" for none.
    """

    id: str
    kind: AccountKind
    name: str
    roles: tuple[Role, ...]
    merchant: int = 0
    status: AccountStatus = AccountStatus.ACTIVE
    valid_from_ms: int = 0
    certificate: str = ""
