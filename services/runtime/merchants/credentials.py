"""Finding what says who calls, in the headers of a request or the metadata of a call. Pure. Source: RFC 6750 section 2.1; RFC 9110 11.6."""

from collections.abc import Iterable
from typing import Final

from services.runtime.merchants.errors import UnauthenticatedError

AUTHORIZATION: Final = "authorization"
API_KEY: Final = "x-api-key"
MAX_CHARACTERS: Final = 10_000


def credential_of(headers: Iterable[tuple[str, str]]) -> str | None:
    """Give the one credential that was sent: `Authorization: Bearer ...` or `X-API-Key: ...`; None where there is none.

    Args:
        headers: names in lower case, with their values.
    Raises: UnauthenticatedError where there are several, or it has another scheme.
    """
    found = [(name, value.strip()) for name, value in headers if name in (AUTHORIZATION, API_KEY)]
    if not found:
        return None
    if len(found) > 1:
        raise UnauthenticatedError("send one credential: Authorization or X-API-Key, once")
    name, value = found[0]
    if name == AUTHORIZATION:
        scheme, _, value = value.partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthenticatedError("the scheme of Authorization must be Bearer")
        value = value.strip()
    if not value or len(value) > MAX_CHARACTERS or not value.isascii():
        raise UnauthenticatedError("neither an API key nor a token")
    return value
