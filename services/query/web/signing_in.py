"""Signing in and out on the web: forms, and LoginService behind them."""

import re
import secrets
from collections.abc import Mapping
from typing import Any, Protocol, cast

import msgspec
from fastapi import Request, Response
from starlette.types import Scope

from goodstrace.query.v1 import login_pb2
from services.query.accounts.errors import ChallengedError
from services.query.web import session_cookies as cookies
from services.query.web.forms import SEED_BYTES, Forms
from services.query.web.security import local
from services.runtime.access.current import principal
from services.runtime.call_errors import ExhaustedError, InvalidRequestError
from services.runtime.grpc import Context
from services.runtime.merchants.errors import UnauthenticatedError


class SignsIn(Protocol):
    """LoginService's calls that are needed; `services.query.accounts.login_service.LoginServicer` is the real one."""

    async def SignIn(self, request: login_pb2.SignInRequest, context: Context) -> login_pb2.SignInResponse:  # noqa: N802 - the name in the proto
        """Sign somebody in."""
        ...

    async def SignOut(self, request: login_pb2.SignOutRequest, context: Context) -> login_pb2.SignOutResponse:  # noqa: N802 - the name in the proto
        """End the caller's session."""
        ...

    async def Refresh(self, request: login_pb2.RefreshRequest, context: Context) -> login_pb2.RefreshResponse:  # noqa: N802 - the name in the proto
        """Give new tokens."""
        ...

    async def ChangePassword(  # noqa: N802 - the name in the proto
        self, request: login_pb2.ChangePasswordRequest, context: Context
    ) -> login_pb2.ChangePasswordResponse:
        """Change the caller's password, and end its other sessions."""
        ...

    async def WhoAmI(self, request: login_pb2.WhoAmIRequest, context: Context) -> login_pb2.WhoAmIResponse:  # noqa: N802 - the name in the proto
        """Tell who calls."""
        ...

    async def BeginTotp(  # noqa: N802 - the name in the proto
        self, request: login_pb2.BeginTotpRequest, context: Context
    ) -> login_pb2.BeginTotpResponse:
        """Begin to use one-time codes."""
        ...

    async def ConfirmTotp(  # noqa: N802 - the name in the proto
        self, request: login_pb2.ConfirmTotpRequest, context: Context
    ) -> login_pb2.ConfirmTotpResponse:
        """Confirm that codes are at hand."""
        ...

    async def RemoveTotp(  # noqa: N802 - the name in the proto
        self, request: login_pb2.RemoveTotpRequest, context: Context
    ) -> login_pb2.RemoveTotpResponse:
        """Stop using one-time codes."""
        ...


class Told(msgspec.Struct, frozen=True):
    """What a change of one-time codes tells, once: the secret with its URI, or the recovery codes."""

    secret: str = ""
    uri: str = ""
    recovery_codes: tuple[str, ...] = ()


class Outcome(Exception):
    """A form is shown again, with the text of the catalogue that says why."""

    def __init__(
        self,
        why: str,
        status: int,
        *,
        fields: Mapping[str, str] | None = None,
        work: login_pb2.Challenge | None = None,
    ) -> None:
        """Say why; of the form's `fields` name and way back are shown again, `work` is to be done before the next attempt."""
        super().__init__(why)
        self.why, self.status, self.work = why, status, work
        self.name = (fields or {}).get("name", "")[:128]
        self.back = (fields or {}).get("back", "/")


class WebSignIn:
    """Signs browsers in and out."""

    def __init__(self, service: SignsIn, secret: bytes, public_url: str) -> None:
        """Sign in by `service`; forms are signed with `secret`. `public_url` is this server as browsers see it, empty where it is as they asked."""
        self._service, self._public_url = service, public_url
        self.forms = Forms(secret, public_url)

    @property
    def is_https(self) -> bool:
        """Whether browsers come by TLS whatever this server is asked by: a proxy ends it."""
        return self._public_url.startswith("https://")

    async def renew(self, refresh_token: str, scope: Scope) -> login_pb2.Tokens:
        """Give new tokens for a refresh token."""
        request = login_pb2.RefreshRequest(refresh_token=refresh_token)
        return (await self._service.Refresh(request, _call(scope))).tokens

    def form(self, request: Request) -> tuple[str, str]:
        """Give the seed of this browser, and the token of a form that it is given now."""
        return self.forms.token(request)

    async def sign_in(self, request: Request) -> Response:
        """Sign in by a form. Raises: Outcome where the form is to be shown again; ForbiddenError for a form of another site."""
        fields = await self.forms.fields(request)
        held = cookies.cookies_of(request.scope)
        is_tls = request.scope["scheme"] == "https"
        asked = login_pb2.SignInRequest(
            name=fields.get("name", ""),
            password=fields.get("password", ""),
            code=fields.get("code", ""),
            device_token=held.get(cookies.DEVICE, ""),
            solution=_solution(fields),
        )
        try:
            answer = await self._service.SignIn(asked, _call(request.scope))
        except UnauthenticatedError as error:
            raise Outcome("signin.refused", 401, fields=fields) from error
        except InvalidRequestError as error:
            raise Outcome("signin.refused", 400, fields=fields) from error
        except ChallengedError as error:
            raise Outcome("signin.work", 429, fields=fields, work=error.details[0]) from error
        except ExhaustedError as error:
            raise Outcome("signin.wait", 429, fields=fields) from error
        response = Response(status_code=303, headers={"Location": local(fields.get("back", "/"))})
        cookies.set_tokens(response, answer.tokens, is_tls=is_tls)
        cookies.set_device(response, answer.device_token, is_tls=is_tls)
        # Whatever seed the browser had before, somebody else may know it.
        cookies.set_cookie(response, cookies.CSRF, secrets.token_urlsafe(SEED_BYTES), 86_400, is_tls=is_tls)
        return response

    async def change_password(self, request: Request) -> Response:
        """Change the password by a form, which begins the session anew. Raises: Outcome; ForbiddenError for a form of another site."""
        fields = await self.forms.fields(request)
        asked = login_pb2.ChangePasswordRequest(
            password=fields.get("password", ""),
            new_password=fields.get("new_password", ""),
            code=fields.get("code", ""),
        )
        try:
            answer = await self._service.ChangePassword(asked, _call(request.scope))
        except UnauthenticatedError as error:
            raise Outcome("signin.refused", 401) from error
        except InvalidRequestError as error:
            raise Outcome("password.weak", 400) from error
        except ExhaustedError as error:
            raise Outcome("signin.wait", 429) from error
        response = Response(status_code=303, headers={"Location": "/"})
        cookies.set_tokens(response, answer.tokens, is_tls=request.scope["scheme"] == "https")
        return response

    async def has_second_factor(self, request: Request) -> bool:
        """Tell whether the account wants one-time codes. Raises: UnauthenticatedError."""
        return bool((await self._service.WhoAmI(login_pb2.WhoAmIRequest(), _call(request.scope))).totp)

    async def second_factor(self, request: Request) -> Told:
        """Begin, confirm or end the use of one-time codes by a form. Raises: Outcome; ForbiddenError for a form of another site."""
        fields = await self.forms.fields(request)
        call, password, code = _call(request.scope), fields.get("password", ""), fields.get("code", "")
        try:
            if fields.get("do") == "begin":
                begun = await self._service.BeginTotp(login_pb2.BeginTotpRequest(password=password), call)
                return Told(secret=begun.secret, uri=begun.uri)
            if fields.get("do") == "confirm":
                confirmed = await self._service.ConfirmTotp(login_pb2.ConfirmTotpRequest(code=code), call)
                return Told(recovery_codes=tuple(confirmed.recovery_codes))
            await self._service.RemoveTotp(login_pb2.RemoveTotpRequest(password=password, code=code), call)
        except (UnauthenticatedError, InvalidRequestError) as error:
            raise Outcome("signin.refused", 400) from error
        except ExhaustedError as error:
            raise Outcome("signin.wait", 429) from error
        return Told()

    async def sign_out(self, request: Request) -> Response:
        """End the session, and take its cookies. Raises: ForbiddenError for a form of another site."""
        await self.forms.fields(request)
        if principal().session:
            await self._service.SignOut(login_pb2.SignOutRequest(), _call(request.scope))
        response = Response(status_code=303, headers={"Location": "/"})
        cookies.forget(response, is_tls=request.scope["scheme"] == "https")
        return response


def _solution(fields: Mapping[str, str]) -> login_pb2.ChallengeSolution | None:
    """Read the solution of a challenge; None where the form has none that could be one."""
    challenge, counter = fields.get("challenge", ""), fields.get("counter", "")
    if not challenge or not re.fullmatch(r"[0-9]{1,19}", counter, re.ASCII):
        return None
    return login_pb2.ChallengeSolution(challenge=challenge, counter=int(counter))


def _call(scope: Scope) -> Context:
    return cast("Context", _Call(scope))


class _Call:
    """What LoginService reads of its context: where the caller is, and through which proxies they came."""

    def __init__(self, scope: Scope) -> None:
        host, port = scope.get("client") or ("", 0)
        self._peer = f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
        self._forwarded = tuple(
            ("x-forwarded-for", value.decode("latin-1"))
            for name, value in scope["headers"]
            if name == b"x-forwarded-for"
        )

    def peer(self) -> str:
        """Name the caller's address, as gRPC does."""
        return self._peer

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...]:
        """Give the headers that proxies set."""
        return self._forwarded
