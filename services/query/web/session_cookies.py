"""Sessions of browsers: the tokens of LoginService in cookies that no script reads, put before the guard as a bearer token.

Cookies count for pages only, never for the interfaces of programs: what is asked there by a cookie is asked by nobody. A token that has come to its
end is renewed once, for all requests that come with it; a browser may send several at a time, and a refresh token counts once.
Source: RFC 6265bis (SameSite, __Host-); OWASP ASVS 3.4.
"""

import asyncio
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from goodstrace.query.v1 import login_pb2
from services.query.web.paths import is_page
from services.runtime.call_errors import ExhaustedError, InvalidRequestError
from services.runtime.errors import UnavailableError
from services.runtime.merchants.errors import RefusedError

ACCESS: Final = "goodstrace-access"
REFRESH: Final = "goodstrace-refresh"
DEVICE: Final = "goodstrace-device"
CSRF: Final = "goodstrace-csrf"
MAX_COOKIE_CHARS: Final = 4096
_MOST_RENEWALS: Final = 1000
_EARLY_S: Final = 20
_KEPT_S: Final = 14 * 86_400
_DEVICE_S: Final = 365 * 86_400
Renew = Callable[[str, Scope], Awaitable[login_pb2.Tokens]]


def cookie_name(name: str, *, is_tls: bool) -> str:
    """Give the name of a cookie: by TLS one that no other host, port or path can set (`__Host-`)."""
    return f"__Host-{name}" if is_tls else name


def cookies_of(scope: Scope) -> dict[str, str]:
    """Read the cookies of a request by name, without `__Host-` where it came by TLS; those that are too long are passed over."""
    is_tls = scope["scheme"] == "https"
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name == b"cookie":
            try:
                parsed = SimpleCookie(value.decode("latin-1")[: 8 * MAX_COOKIE_CHARS])
            except CookieError:
                continue
            found |= {
                each: morsel.value for each, morsel in parsed.items() if len(morsel.value) <= MAX_COOKIE_CHARS
            }
    names = {each: cookie_name(each, is_tls=is_tls) for each in (ACCESS, REFRESH, DEVICE, CSRF)}
    return {each: found[name] for each, name in names.items() if name in found}


def set_tokens(response: Response, tokens: login_pb2.Tokens, *, is_tls: bool) -> None:
    """Give a browser the tokens of its session."""
    set_cookie(response, ACCESS, tokens.access_token, max(1, tokens.expires_in_s - _EARLY_S), is_tls=is_tls)
    set_cookie(response, REFRESH, tokens.refresh_token, _KEPT_S, is_tls=is_tls)


def set_device(response: Response, device_token: str, *, is_tls: bool) -> None:
    """Give a browser what it shows at its next sign-in, so that what others try does not slow it down."""
    set_cookie(response, DEVICE, device_token, _DEVICE_S, is_tls=is_tls)


def forget(response: Response, *, is_tls: bool) -> None:
    """Take the session's cookies from a browser."""
    for name in (ACCESS, REFRESH, CSRF):
        set_cookie(response, name, "", 0, is_tls=is_tls)


def set_cookie(response: Response, name: str, value: str, max_age_s: int, *, is_tls: bool) -> None:
    """Set a cookie that no script reads and that forms of other sites do not send."""
    response.set_cookie(
        cookie_name(name, is_tls=is_tls),
        value,
        max_age_s,
        path="/",
        secure=is_tls,
        httponly=True,
        samesite="lax",
    )


def csrf_token(secret: bytes, seed: str, session: str) -> str:
    """Make the token of a form: bound to the browser's own random seed and to the session in which the form was given."""
    text = f"web form\0{seed}\0{session}".encode()
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


def is_own_form(secret: bytes, token: str, seed: str, session: str) -> bool:
    """Tell whether a form that came back is one that this browser was given."""
    return bool(seed) and hmac.compare_digest(csrf_token(secret, seed, session).encode(), token.encode())


class SessionCookies:
    """Puts a browser's session before the guard. Pass it to `add_middleware` after the guard, so that it stands before it."""

    def __init__(self, app: ASGIApp, renew: Renew, *, is_https: bool = False) -> None:
        """Stand before `app`; `renew` gives new tokens for a refresh token. `is_https`: browsers come by TLS, which a proxy ends."""
        self._app, self._renew, self._is_https = app, renew, is_https
        self._renewals: OrderedDict[str, asyncio.Task[login_pb2.Tokens]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or not is_page(scope["path"]):
            await self._app(scope, receive, send)
            return
        scope = {**scope, "scheme": "https"} if self._is_https else scope
        cookies = cookies_of(scope)
        token, renewed, is_over = cookies.get(ACCESS, ""), None, False
        if not token and cookies.get(REFRESH):
            try:
                renewed = await self._renewed(cookies[REFRESH], scope)
                token = renewed.access_token
            except RefusedError:
                is_over = True
            except (UnavailableError, ExhaustedError, InvalidRequestError):
                token = ""  # as nobody, until it can be told again
        # Of a page only its cookies say who asks.
        headers = [each for each in scope["headers"] if token == "" or each[0] != b"authorization"]
        if token:
            headers.append((b"authorization", f"Bearer {token}".encode("latin-1", "replace")))
        await self._app(
            {**scope, "headers": headers}, receive, _Setting(scope, send, renewed, is_over=is_over).send
        )

    async def _renewed(self, refresh_token: str, scope: Scope) -> login_pb2.Tokens:
        key = hashlib.sha256(refresh_token.encode()).hexdigest()
        task = self._renewals.get(key)
        if task is None:
            task = asyncio.ensure_future(self._renew(refresh_token, scope))
            self._renewals[key] = task
            task.add_done_callback(
                lambda _: asyncio.get_running_loop().call_later(_EARLY_S, self._forget, key)
            )
            if len(self._renewals) > _MOST_RENEWALS:
                self._renewals.popitem(last=False)
        return await asyncio.shield(task)

    def _forget(self, key: str) -> None:
        self._renewals.pop(key, None)


class _Setting:
    """Sets the cookies of a session that was renewed, or is over, on the answer."""

    def __init__(self, scope: Scope, send: Send, renewed: login_pb2.Tokens | None, *, is_over: bool) -> None:
        self._is_tls = scope["scheme"] == "https"
        self._send, self._renewed, self._is_over = send, renewed, is_over

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and (self._renewed is not None or self._is_over):
            carrier = Response()
            if self._renewed is not None:
                set_tokens(carrier, self._renewed, is_tls=self._is_tls)
            else:
                forget(carrier, is_tls=self._is_tls)
            headers = MutableHeaders(scope=message)
            # What the application itself sets (signed in anew, signed out) counts more, and comes last.
            own = headers.getlist("set-cookie")
            if not any(REFRESH in each for each in own):
                for value in carrier.headers.getlist("set-cookie"):
                    headers.append("set-cookie", value)
        await self._send(message)
