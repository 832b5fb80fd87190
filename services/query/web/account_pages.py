"""Pages about accounts: signing in and out, the password, and one-time codes."""

from base64 import b64encode
from collections.abc import Iterable
from typing import Any, Final

from fastapi import Request, Response

from services.query.web.labels import label
from services.query.web.pages import Handler, WebPages
from services.query.web.security import local
from services.query.web.signing_in import Outcome, WebSignIn
from services.query.web.visiting import Visit
from services.runtime.call_errors import NotFoundError

_KEPT_BY_NOBODY: Final = {"Cache-Control": "no-store"}


class AccountPages:
    """Answers the requests for pages about accounts; where accounts are off there are none."""

    def __init__(self, pages: WebPages) -> None:
        """Show what `pages.sign_in` does."""
        self._pages = pages

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        """See MorePages."""
        return (
            ("GET", "/sign-in", self.show_sign_in),
            ("POST", "/sign-in", self.do_sign_in),
            ("POST", "/sign-out", self.do_sign_out),
            ("GET", "/password", self.show_password),
            ("POST", "/password", self.do_password),
            ("GET", "/second-factor", self.show_second_factor),
            ("POST", "/second-factor", self.do_second_factor),
        )

    async def show_sign_in(self, request: Request, visit: Visit) -> Response:
        """Show the form to sign in."""
        return await self._sign_in_form(request, visit, request.query_params.get("back", "/"))

    async def do_sign_in(self, request: Request, visit: Visit) -> Response:
        """Sign in, and lead back to the page that was left: always one of this server."""
        try:
            return await self._signing_in().sign_in(request)
        except Outcome as outcome:
            return await self._sign_in_form(request, visit, outcome.back, outcome)

    async def do_sign_out(self, request: Request, _visit: Visit) -> Response:
        """Sign out."""
        return await self._signing_in().sign_out(request)

    async def show_password(self, request: Request, visit: Visit) -> Response:
        """Show the form that changes the password."""
        return await self._form(request, visit, "password.html")

    async def do_password(self, request: Request, visit: Visit) -> Response:
        """Change the password."""
        try:
            return await self._signing_in().change_password(request)
        except Outcome as outcome:
            return await self._form(request, visit, "password.html", outcome)

    async def show_second_factor(self, request: Request, visit: Visit) -> Response:
        """Show whether the account wants one-time codes, and the form that changes that."""
        return await self._second_factor(request, visit)

    async def do_second_factor(self, request: Request, visit: Visit) -> Response:
        """Begin, confirm or end the use of one-time codes. Secret and recovery codes stand on the answer, once, and in no address."""
        try:
            told = await self._signing_in().second_factor(request)
        except Outcome as outcome:
            return await self._second_factor(request, visit, outcome)
        drawn = b64encode(label(told.uri)).decode() if told.uri else ""
        return await self._second_factor(
            request, visit, secret=told.secret, drawn=drawn, codes=told.recovery_codes
        )

    async def _second_factor(
        self, request: Request, visit: Visit, outcome: Outcome | None = None, **told: Any
    ) -> Response:
        is_on = await self._signing_in().has_second_factor(request) if visit.has_account else False
        values = {"secret": "", "drawn": "", "codes": (), **told}
        return await self._form(request, visit, "second_factor.html", outcome, is_on=is_on, **values)

    async def _form(
        self, request: Request, visit: Visit, template: str, outcome: Outcome | None = None, **values: Any
    ) -> Response:
        if not visit.has_account or self._pages.sign_in is None:
            raise NotFoundError("who is not signed in has none")
        status, problem = (outcome.status, outcome.why) if outcome else (200, "")
        return await self._pages.page(
            request, visit, template, status=status, headers=_KEPT_BY_NOBODY, problem=problem, **values
        )

    async def _sign_in_form(
        self, request: Request, visit: Visit, back: str, outcome: Outcome | None = None
    ) -> Response:
        self._signing_in()
        status, problem = (outcome.status, outcome.why) if outcome else (200, "")
        return await self._pages.page(
            request,
            visit,
            "sign_in.html",
            status=status,
            headers=_KEPT_BY_NOBODY,
            back=local(back[:2048]),
            problem=problem,
            name=outcome.name if outcome else "",
            work=outcome.work if outcome else None,
        )

    def _signing_in(self) -> WebSignIn:
        if self._pages.sign_in is None:
            raise NotFoundError("accounts are off")
        return self._pages.sign_in
