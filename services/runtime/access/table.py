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
    may. note: what narrows it, for the docs. notes_itself: it makes its own browse records of what it refuses.
    """

    service: str
    operation: str
    roles: frozenset[Role]
    note: str = ""
    notes_itself: bool = False


def _rows(
    service: str,
    prefix: str,
    methods: Iterable[str],
    roles: Iterable[Role],
    note: str = "",
    *,
    notes_itself: bool = False,
) -> list[Row]:
    return [Row(service, prefix + method, frozenset(roles), note, notes_itself) for method in methods]


_TRACE: Final = "/goodstrace.query.v1.TraceService/"
_COMPLETENESS: Final = "/goodstrace.query.v1.CompletenessService/"
_LOGIN: Final = "/goodstrace.query.v1.LoginService/"
_ACCOUNTS: Final = "/goodstrace.query.v1.AccountService/"
_CAPTURE: Final = "/goodstrace.collector.v1.CaptureService/"
_AUDIT: Final = "/goodstrace.audit.v1.AuditService/"
_WATCH: Final = "/goodstrace.audit.v1.WatchService/"
_DOCS: Final = ("GET /openapi.json", "GET /docs", "GET /docs/oauth2-redirect")
_OWN: Final = "one's own merchant's; operators see all"
_VISIBLE: Final = "as far as one may see it"
_BY_MERCHANT: Final = (Role.MERCHANT,)
_BY_OPERATOR: Final = (Role.OPERATOR,)
_BY_EITHER: Final = (Role.MERCHANT, Role.OPERATOR)
_BY_SUBSCRIBERS: Final = (Role.MERCHANT, Role.PLATFORM, Role.OPERATOR)
_INDEX: Final = "wants the token for the index as well, where one is set up"

_COLLECTOR: Final = (
    *_rows("collector", _CAPTURE, ("Capture", "CaptureStream"), _BY_MERCHANT, "for one's own merchant"),
    *_rows(
        "collector",
        "",
        ("POST /epcis/v2/capture", "POST /epcis/v2/events"),
        _BY_MERCHANT,
        "for one's own merchant",
    ),
    *_rows(
        "collector", "", ("GET /epcis/v2/capture", "GET /epcis/v2/capture/{capture_id}"), _BY_EITHER, _OWN
    ),
    *_rows("collector", "", ("GET /epcis/v2", *_DOCS), _EVERYBODY),
    *_rows(
        "collector",
        "",
        (
            "GET /rejections/v1",
            "GET /rejections/v1/{record_id}",
            "GET /rejections/v1/{record_id}/content",
            "POST /rejections/v1/{record_id}/resubmit",
        ),
        _BY_EITHER,
        _OWN,
    ),
    *_rows(
        "collector",
        "",
        (
            "POST /registry/v1/merchants",
            "GET /registry/v1/merchants",
            "PATCH /registry/v1/merchants/{number}",
            "POST /registry/v1/merchants/{number}/keys",
        ),
        _BY_OPERATOR,
    ),
    *_rows(
        "collector",
        "",
        (
            "GET /registry/v1/merchants/{number}",
            "GET /registry/v1/merchants/{number}/keys",
            "DELETE /registry/v1/merchants/{number}/keys/{identifier}",
        ),
        _BY_EITHER,
        _OWN,
    ),
    *_rows(
        "collector",
        "",
        (
            "GET /registry/v1/me",
            "PUT /registry/v1/goods",
            "GET /registry/v1/goods",
            "PUT /registry/v1/places",
            "GET /registry/v1/places",
        ),
        _BY_MERCHANT,
        "one's own merchant's",
    ),
)
_QUERY_CALLS: Final = (
    *_rows(
        "query",
        _TRACE,
        ("Trace", "StreamTrace", "Recall", "GetEvent", "GetProofFile", "GetGoods", "Subscribe"),
        _SIGNED_IN,
        _VISIBLE,
    ),
    *_rows(
        "query",
        _TRACE,
        (
            "GetRegistrations",
            "GetCheckpoint",
            "GetInclusionProof",
            "GetConsistencyProof",
            "GetRootProof",
            "GetKeyChanges",
        ),
        _SIGNED_IN,
    ),
    *_rows("query", _COMPLETENESS, ("GetIndexSecret", "ProveComplete"), _SIGNED_IN, _INDEX),
    *_rows("query", _COMPLETENESS, ("GetRecords",), _SIGNED_IN, _VISIBLE),
    *_rows(
        "query",
        _LOGIN,
        ("SignIn", "Refresh", "IssueToken"),
        _EVERYBODY,
        "this is how one comes to be somebody",
        notes_itself=True,
    ),
    *_rows("query", _LOGIN, ("GetSigningKeys",), _EVERYBODY),
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
        ("CreateAccount", "GetAccount", "ListAccounts", "UpdateAccount", "ResetCredential"),
        _BY_EITHER,
        "merchants: persons of their own merchant, with an account of their own; operators all",
    ),
    *_rows("query", _ACCOUNTS, ("DeleteAccount",), _BY_OPERATOR),
)
_PAGES: Final = (
    *_rows(
        "query",
        "GET ",
        (
            "/",
            "/search",
            "/scan",
            "/seals",
            "/face",
            "/label.svg",
            "/.well-known/gs1resolver",
            "/web/static/{name}",
            "/sign-in",
        ),
        _EVERYBODY,
    ),
    *_rows(
        "query",
        "GET ",
        ("/trace", "/{ai:gs1}/{rest:path}", "/bundle"),
        _EVERYBODY,
        "who is not signed in sees the public face, unless the whole public trace is open",
    ),
    *_rows("query", "GET ", ("/complete",), _SIGNED_IN, "as GOODSTRACE_QUERY_WEB_COMPLETE says"),
    *_rows(
        "query",
        "GET ",
        (
            "/auditor",
            "/auditor/log",
            "/auditor/block",
            "/auditor/witnesses",
            "/auditor/browses",
            "/auditor/browses/bundle",
            "/auditor/alerts",
            "/auditor/verify",
        ),
        (Role.AUDITOR,),
        "browse records and alerts are asked of the audit service, as the auditor",
    ),
    *_rows(
        "query",
        "GET ",
        ("/operator", "/operator/rejected", "/operator/rejected/one"),
        _BY_OPERATOR,
        "what was refused is asked of the collector, as the operator",
    ),
    *_rows(
        "query", "POST ", ("/sign-in",), _EVERYBODY, "this is how one comes to be somebody", notes_itself=True
    ),
    *_rows("query", "POST ", ("/sign-out",), _EVERYBODY, "one's own session"),
    *_rows(
        "query",
        "",
        ("GET /password", "POST /password"),
        _EVERYBODY,
        "one's own account, also of one without roles: its password is to be changed",
    ),
    *_rows("query", "", ("GET /second-factor", "POST /second-factor"), _SIGNED_IN, "one's own account"),
)
_MERCHANT_PAGES: Final = _rows(
    "query",
    "",
    (
        "GET /merchant",
        "GET /merchant/flags",
        "GET /merchant/looks",
        "GET /merchant/recall",
        "GET /merchant/recall.csv",
        "GET /merchant/recall.xlsx",
        "GET /merchant/goods/new",
        "POST /merchant/goods/new",
        "GET /merchant/places",
        "GET /merchant/places/new",
        "POST /merchant/places/new",
        "GET /merchant/staff",
        "POST /merchant/staff",
        "GET /merchant/labels",
        "POST /merchant/labels",
    ),
    _BY_MERCHANT,
    "one's own merchant's, as far as one may see it",
)
_LISTS: Final = ("bizLocations", "bizSteps", "dispositions", "epcs", "eventTypes", "readPoints")
_QUERIES: Final = "/epcis/v2/queries"
_ONE: Final = f"{_QUERIES}/{{name}}"
_QUERY_PATHS: Final = (
    *_rows(
        "query",
        "",
        ("GET /logs", "GET /logs/{rest:path}", "GET /.well-known/jwks.json", *_DOCS),
        _EVERYBODY,
    ),
    *_rows(
        "query",
        "GET /epcis/v2/",
        (
            "events",
            "events/{event_id:path}",
            *(f"{each}/{{value:path}}/events" for each in _LISTS),
            "epcs",
            "bizLocations",
            "readPoints",
        ),
        _SIGNED_IN,
        _VISIBLE,
    ),
    *_rows("query", "GET /epcis/v2/", ("bizSteps", "dispositions", "eventTypes"), _SIGNED_IN),
    *_rows(
        "query",
        "",
        (
            f"POST {_QUERIES}",
            f"GET {_QUERIES}",
            f"GET {_ONE}",
            f"DELETE {_ONE}",
            f"POST {_ONE}/subscriptions",
            f"GET {_ONE}/subscriptions",
            f"GET {_ONE}/subscriptions/{{subscription_id}}",
            f"DELETE {_ONE}/subscriptions/{{subscription_id}}",
        ),
        _BY_SUBSCRIBERS,
        "one's own; operators see and remove all",
    ),
    *_rows(
        "query",
        "",
        (f"POST {_ONE}/subscriptions/{{subscription_id}}/resume",),
        _BY_SUBSCRIBERS,
        "one's own; operators all that send what everybody may see",
    ),
    *_rows("query", "", (f"GET {_ONE}/events",), _BY_SUBSCRIBERS, f"one's own query; {_VISIBLE}"),
    *_rows(
        "query",
        "",
        ("GET /index/{rest:path}",),
        _EVERYBODY,
        "wants the token for the index, and nothing else",
    ),
)
TABLE: Final[tuple[Row, ...]] = (
    *_COLLECTOR,
    *_QUERY_CALLS,
    *_QUERY_PATHS,
    *_PAGES,
    *_MERCHANT_PAGES,
    *_rows(
        "audit", _AUDIT, ("ListBrowses",), _SIGNED_IN, "auditors all; others those of their own name only"
    ),
    *_rows("audit", _AUDIT, ("GetStatistics",), (Role.AUDITOR, Role.OPERATOR)),
    *_rows(
        "audit",
        _AUDIT,
        ("CountGoodsBrowses",),
        (Role.MERCHANT, Role.AUDITOR, Role.OPERATOR),
        "one's own merchant's; auditors and operators any, as that merchant sees them",
    ),
    *_rows(
        "audit",
        _AUDIT,
        ("GetBrowseProof",),
        _EVERYBODY,
        "whoever has a receipt; it shows nothing of the look",
    ),
    *_rows(
        "audit",
        _WATCH,
        ("ListAlerts", "StreamAlerts", "GetActivity", "ListBusiest"),
        (Role.AUDITOR, Role.OPERATOR),
    ),
)
"""Every row; who is signed in may do what anybody may."""


def roles_of(service: str, operation: str) -> frozenset[Role]:
    """Tell who may do something; nobody where it is in no row."""
    row = _BY_OPERATION.get((service, operation))
    return row.roles if row else frozenset()


def notes_itself(service: str, operation: str) -> bool:
    """Tell whether an operation makes its own records of what it refuses."""
    row = _BY_OPERATION.get((service, operation))
    return row is not None and row.notes_itself


def allows(row_roles: frozenset[Role], roles: frozenset[Role]) -> bool:
    """Tell whether somebody with `roles` may do what is open to `row_roles`."""
    return Role.ANYBODY in row_roles or not row_roles.isdisjoint(roles)


_BY_OPERATION: Final = {(row.service, row.operation): row for row in TABLE}
