"""Who may have the index secret, and what is made with it for index witnesses. Pure, no I/O.

With the secret one can tell which entries of the public logs name goods that one knows of. So it is for clients of the platform
and for index witnesses: who shows the token that they were given, and without a token set up only who is on this machine.
"""

import hmac
import ipaddress
from typing import Final

from services.runtime.call_errors import NotAllowedError

_SCHEME: Final = "bearer "


class IndexGate:
    """Lets callers through."""

    def __init__(self, token: str | None) -> None:
        """Ask for `token`; where it is None only callers of the same machine are let through."""
        self._token = token

    def check(self, peer: str, token: str) -> None:
        """Let a caller through.

        Args:
            peer: its address: an IP address, or "" where it came over a Unix socket.
            token: what it gave as such, or the empty text.
        Raises: NotAllowedError.
        """
        if self._token is None:
            if not is_local(peer):
                raise NotAllowedError("without a token set up only for callers on the same machine", "token")
            return
        if not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            raise NotAllowedError("the token for the index is wanted", "token")


def bearer(authorization: str) -> str:
    """Read the token out of a header `Authorization`; empty where it has none."""
    return authorization[len(_SCHEME) :] if authorization.lower().startswith(_SCHEME) else ""


def is_local(peer: str) -> bool:
    """Say whether an address, "" for a Unix socket, is of this machine."""
    try:
        return not peer or ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False
