"""A merchant's people: their accounts made, disabled, let in again, given a new password. AccountService says whose one may keep."""

from typing import Any, Final, Protocol, cast

from fastapi import Request, Response

from goodstrace.query.v1 import login_pb2
from services.query.web.forms import Forms
from services.query.web.merchant.ports import Page
from services.query.web.visiting import Visit
from services.runtime.call_errors import AlreadyExistsError, InvalidRequestError
from services.runtime.grpc import Context

ROWS: Final = 100
MAX_TOKEN_CHARS: Final = 2_000
_STATUS: Final = {"disable": "disabled", "enable": "active"}
_NO_CONTEXT: Final = cast("Context", None)  # the calls read nothing of it


class KeepsAccounts(Protocol):
    """AccountService's calls that are needed; `services.query.accounts.account_service.AccountServicer` is the real one."""

    async def CreateAccount(  # noqa: N802 - the name in the proto
        self, request: login_pb2.CreateAccountRequest, context: Context
    ) -> login_pb2.CreateAccountResponse:
        """Make an account."""
        ...

    async def ListAccounts(  # noqa: N802
        self, request: login_pb2.ListAccountsRequest, context: Context
    ) -> login_pb2.ListAccountsResponse:
        """List accounts."""
        ...

    async def UpdateAccount(  # noqa: N802
        self, request: login_pb2.UpdateAccountRequest, context: Context
    ) -> login_pb2.UpdateAccountResponse:
        """Change an account."""
        ...

    async def ResetCredential(  # noqa: N802
        self, request: login_pb2.ResetCredentialRequest, context: Context
    ) -> login_pb2.ResetCredentialResponse:
        """Make a new password."""
        ...


class StaffPages:
    """Answers /merchant/staff."""

    def __init__(self, page: Page, forms: Forms, accounts: KeepsAccounts) -> None:
        """Keep accounts by `accounts`."""
        self._page, self._forms, self._accounts = page, forms, accounts

    async def staff(self, request: Request, visit: Visit) -> Response:
        """List the accounts."""
        return await self._shown(request, visit)

    async def change(self, request: Request, visit: Visit) -> Response:
        """Do what a form says; a new password is shown this once."""
        fields = await self._forms.fields(request)
        name, action = fields.get("name", "").strip(), fields.get("action", "")
        if action == "create":
            return await self._created(request, visit, name)
        if action == "reset":
            asked = login_pb2.ResetCredentialRequest(account=name)
            made = await self._accounts.ResetCredential(asked, _NO_CONTEXT)
            return await self._shown(request, visit, told=(name, made.credential))
        if action not in _STATUS:
            raise InvalidRequestError("create, disable, enable or reset", "action")
        change = login_pb2.UpdateAccountRequest(account=name, status=_STATUS[action])
        await self._accounts.UpdateAccount(change, _NO_CONTEXT)
        return Response(status_code=303, headers={"Location": "/merchant/staff"})

    async def _created(self, request: Request, visit: Visit, name: str) -> Response:
        wanted = login_pb2.CreateAccountRequest(account=login_pb2.Account(name=name))
        try:
            made = await self._accounts.CreateAccount(wanted, _NO_CONTEXT)
        except InvalidRequestError:
            faults, status = {"name": "account"}, 400
        except AlreadyExistsError:
            faults, status = {"name": "taken"}, 409
        else:
            return await self._shown(request, visit, told=(made.account.name, made.credential))
        return await self._shown(request, visit, status=status, faults=faults, values={"name": name})

    async def _shown(
        self,
        request: Request,
        visit: Visit,
        *,
        status: int = 200,
        told: tuple[str, str] = ("", ""),
        **form: Any,
    ) -> Response:
        token = request.query_params.get("page", "") if request.method != "POST" else ""
        if len(token) > MAX_TOKEN_CHARS:
            raise InvalidRequestError("it is too long", "page")
        listed = await self._accounts.ListAccounts(
            login_pb2.ListAccountsRequest(page_size=ROWS, page_token=token), _NO_CONTEXT
        )
        values = {"values": {}, "faults": {}, **form}
        return await self._page(
            request, visit, "merchant/staff.html", status=status, listed=listed, told=told, **values
        )
