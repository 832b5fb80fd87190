"""Forms of the pages: a token bound to the browser and its session, and what came back read within limits.

A form of another site is refused: by its token, by `Sec-Fetch-Site` and by `Origin`.
"""

import secrets
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request

from services.query.log_endpoints import base_url
from services.query.web import session_cookies as cookies
from services.runtime.access.current import principal
from services.runtime.call_errors import InvalidRequestError
from services.runtime.merchants.errors import ForbiddenError

MAX_FORM_BYTES: Final = 16 * 1024
MAX_FIELDS: Final = 10
SEED_BYTES: Final = 32


class Forms:
    """Gives forms their tokens, and reads what comes back."""

    def __init__(self, secret: bytes, public_url: str) -> None:
        """Sign with `secret`. `public_url` is this server as browsers see it, empty where it is as they asked."""
        self._secret, self._public_url = secret, public_url

    def token(self, request: Request) -> tuple[str, str]:
        """Give the seed of this browser, made anew where it has none, and the token of a form that it is given now."""
        seed = cookies.cookies_of(request.scope).get(cookies.CSRF) or secrets.token_urlsafe(SEED_BYTES)
        return seed, cookies.csrf_token(self._secret, seed, principal().session)

    async def fields(
        self, request: Request, *, max_bytes: int = MAX_FORM_BYTES, max_fields: int = MAX_FIELDS
    ) -> dict[str, str]:
        """Read a form of our own; of a field that comes several times the last counts.

        Raises: ForbiddenError where it is none of ours, InvalidRequestError where it is none at all or over a limit.
        """
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise InvalidRequestError(f"over {max_bytes} bytes", "form")
        try:
            fields = dict(
                parse_qsl(
                    body.decode("ascii"), keep_blank_values=True, max_num_fields=max_fields, errors="strict"
                )
            )
        except ValueError as error:
            raise InvalidRequestError("not a form", "form") from error
        seed = cookies.cookies_of(request.scope).get(cookies.CSRF, "")
        is_own = cookies.is_own_form(self._secret, fields.get("csrf", ""), seed, principal().session)
        if not is_own or not self._is_same_origin(request):
            raise ForbiddenError("the form is not one that this browser was given")
        return fields

    def _is_same_origin(self, request: Request) -> bool:
        """Tell whether the browser says that the form stands on a page of ours; old ones say nothing."""
        site = request.headers.get("sec-fetch-site")
        if site not in (None, "same-origin", "none"):
            return False
        origin = request.headers.get("origin")
        # Our pages have no referrer, and a form on such a page is sent with the origin "null" (Fetch, "append a request Origin header").
        if origin is None or (origin == "null" and site == "same-origin"):
            return True
        own = urlsplit(self._public_url or base_url(request))
        return origin == f"{own.scheme}://{own.netloc}"
