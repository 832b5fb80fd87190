"""The one table of who may do what: every RPC and every endpoint, a row each. Pure.

What is not in it may be done by nobody. Interceptors and middleware refuse by it (`services.runtime.access.guard`), docs/access.md is
made from it, and a test holds it against what the services really serve. Health and reflection of gRPC, and `/metrics`, `/healthz` and `/readyz` on
ports of their own, stand outside. What a row allows may be narrowed behind it: to one's own merchant's goods, to what one may see.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from services.runtime.access.values import GIVEN_ROLES, Role

_EVERYBODY: Final = frozenset(Role)
_SIGNED_IN: Final = frozenset(GIVEN_ROLES)


class Row(msgspec.Struct, frozen=True):
    """Who may do one thing.

    service: whose port it is: "collector", "query", "audit". operation: a gRPC method's full name ("/package.Service/Method"), or an HTTP method and
    the path's template ("POST /epcis/v2/capture/{capture_id}"); HEAD goes by the row of GET, OPTIONS is for everybody. roles: who
    may. note: what narrows it, for the docs.
    """

    service: str
    operation: str
    roles: frozenset[Role]
    note: str = ""


def _rows(
    service: str, prefix: str, methods: Iterable[str], roles: Iterable[Role], note: str = ""
) -> list[Row]:
    return [Row(service, prefix + method, frozenset(roles), note) for method in methods]


_TRACE: Final = "/goodstrace.query.v1.TraceService/"
_LOGIN: Final = "/goodstrace.query.v1.LoginService/"
_ACCOUNTS: Final = "/goodstrace.query.v1.AccountService/"

TABLE: Final[tuple[Row, ...]] = (
    *_rows(
        "query",
        _LOGIN,
        ("SignIn", "Refresh", "IssueToken", "GetSigningKeys"),
        _EVERYBODY,
        "this is how one comes to be somebody",
    ),
    *_rows(
        "query",
        _LOGIN,
        ("SignOut", "WhoAmI", "ChangePassword"),
        _EVERYBODY,
        "one's own session, also of an account without roles: its password is to be changed",
    ),
    *_rows(
        "query",
        _LOGIN,
        ("ListSessions", "BeginTotp", "ConfirmTotp", "RemoveTotp"),
        _SIGNED_IN,
        "one's own account",
    ),
    *_rows(
        "query",
        _ACCOUNTS,
        ("CreateAccount", "GetAccount", "ListAccounts", "UpdateAccount", "ResetCredential", "DeleteAccount"),
        (Role.OPERATOR,),
    ),
)


def roles_of(service: str, operation: str) -> frozenset[Role]:
    """Tell who may do something; nobody where it is in no row."""
    return _BY_OPERATION.get((service, operation), frozenset())


def allows(row_roles: frozenset[Role], roles: frozenset[Role]) -> bool:
    """Tell whether somebody with `roles` may do what is open to `row_roles`."""
    return Role.ANYBODY in row_roles or not row_roles.isdisjoint(roles)


_BY_OPERATION: Final = {(row.service, row.operation): row.roles for row in TABLE}
