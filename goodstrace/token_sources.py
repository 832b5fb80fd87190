"""Where a client has from what it shows to say who it is: every client of this package takes a `TokenSource`.

What is shown is an API key or a token, in `authorization: Bearer ...`; to the clients they are all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from goodstrace.errors import CredentialsError

_MARGIN_S: Final = 30.0


class TokenSource(Protocol):
    """Gives what to show; any number of threads may ask."""

    def token(self) -> str:
        """Give what to show now, renewed where it would soon end; "" to show nothing. Raises: CallError, CredentialsError."""

    def renewed(self, refused: str) -> str:
        """Give another in the place of one that a service refused; the same where there is none. Raises: CallError, CredentialsError."""


class FixedToken:
    """An API key, or a token from elsewhere, that stays what it is."""

    def __init__(self, token: str = "") -> None:
        """Show `token`; nothing where it is empty."""
        self._token = token

    def token(self) -> str:
        """See TokenSource."""
        return self._token

    def renewed(self, refused: str) -> str:  # noqa: ARG002 - there is no other one
        """See TokenSource."""
        return self._token


NO_TOKEN: Final = FixedToken()


class TokenFile:
    """A file that somebody else keeps up to date, such as a token that Kubernetes projects or an agent of an identity provider writes.

    It is read again at each call where it has changed.
    """

    def __init__(self, path: Path) -> None:
        """Read from `path`, when a token is first wanted."""
        self._path = path
        self._read: tuple[tuple[int, ...], str] | None = None

    def token(self) -> str:
        """See TokenSource. Raises: CredentialsError, also where the file is empty."""
        try:
            state = self._path.stat()
            version = (state.st_mtime_ns, state.st_ino, state.st_size)
            if self._read is None or self._read[0] != version:
                self._read = version, read_token(self._path)
        except OSError as error:
            raise CredentialsError(f"cannot read {self._path}: {error}") from error
        return self._read[1]

    def renewed(self, refused: str) -> str:  # noqa: ARG002 - what the file says is all there is
        """See TokenSource."""
        self._read = None
        return self.token()


@dataclass(frozen=True, slots=True)
class Issued:
    """A token as it was issued: renewed from `renew_at_s` on, of no use from `ends_at_s` on (Unix seconds by this machine's clock)."""

    token: str
    renew_at_s: float
    ends_at_s: float

    @classmethod
    def now(cls, token: str, life_s: float, now_s: float) -> Issued:
        """Say when a token that lives for `life_s` seconds from now is to be renewed: 30 s before, or a quarter of a short life."""
        return cls(token, now_s + life_s - min(_MARGIN_S, life_s / 4), now_s + life_s)


class ClientCredentials:
    """The access tokens of a program: got anew with its secret or its certificate, kept in memory alone (RFC 6749 section 4.4)."""

    def __init__(self, issue: Callable[[], Issued], now_s: Callable[[], float] = time.time) -> None:
        """Get tokens by `issue`, such as `LoginClient.issued`."""
        self._issue = issue
        self._now_s = now_s
        self._issued: Issued | None = None
        self._turn = threading.Lock()

    def token(self) -> str:
        """See TokenSource."""
        with self._turn:
            if self._issued is None or self._now_s() >= self._issued.renew_at_s:
                self._issued = self._issue()
            return self._issued.token

    def renewed(self, refused: str) -> str:
        """See TokenSource."""
        with self._turn:
            if self._issued is None or self._issued.token == refused:
                self._issued = self._issue()
            return self._issued.token


def as_source(token: TokenSource | str | None) -> TokenSource:
    """Take an API key or token as it is for a source that always gives it; NO_TOKEN for none."""
    if not token:
        return NO_TOKEN
    return FixedToken(token) if isinstance(token, str) else token


def read_token(path: Path) -> str:
    """Read a token from a file. Raises: CredentialsError, also where it is empty."""
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"cannot read {path}: {error}") from error
    if not token:
        raise CredentialsError(f"{path} is empty")
    return token
