"""The security headers of every page, and what may stand in an address. Pure.

Source: CSP Level 3; OWASP Secure Headers. Nothing inline runs or styles: all script and style is files of our own.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; worker-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=(), payment=()",
}
_IN_PATH: Final = "-._~!$&'()*+,;=:@/%"


def local(path: str, **query: str) -> str:
    """Make an address on this server out of a path: whatever the path, it never leads elsewhere, and no header can be broken by it.

    Two slashes at the beginning, or a backslash, would name another host to a browser.
    """
    safe = quote("/" + path.lstrip("/\\").replace("\\", "%5C"), safe=_IN_PATH)
    asked = {name: value for name, value in query.items() if value}
    return f"{safe}?{urlencode(asked)}" if asked else safe
