"""Where sessions are kept between commands: the keyring of the operating system, or files that only their owner may read.

A session is kept under a name: the target of the query service where it began, and for the users of the local stack their role behind it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec

from goodstrace.durable import replace_file
from goodstrace.errors import CredentialsError
from goodstrace.file_lock import alone
from goodstrace.token_sources import Issued

SERVICE: Final = "goodstrace"
_LEAST_PRIORITY: Final = 1.0  # of keyring's backends: below it are those that keep nothing, or in clear text
_OTHERS: Final = 0o077
_MAX_BYTES: Final = 64 * 1024
_MOST_CHARACTERS: Final = 180  # of a file's name: most systems take 255 bytes


@dataclass(frozen=True, slots=True)
class Session:
    """What is kept of a session.

    user: the name that signed in. refresh_token, access_token: empty once it has ended. renew_at_s, ends_at_s: of the access token, see
    `Issued`. device_token: shown at the next sign-in of the same user. hosts: to which it may be shown besides the host where it began.
    lost: it was ended by the service, and nobody has signed in or out since: who relied on it is to be told.
    """

    user: str
    access_token: str = field(default="", repr=False)
    renew_at_s: float = 0.0
    ends_at_s: float = 0.0
    refresh_token: str = field(default="", repr=False)
    device_token: str = field(default="", repr=False)
    hosts: tuple[str, ...] = ()
    lost: bool = False

    @property
    def is_open(self) -> bool:
        """Whether somebody is signed in by it."""
        return bool(self.refresh_token)

    def with_tokens(self, issued: Issued, refresh_token: str) -> Session:
        """Give the session with the next tokens."""
        return replace(
            self,
            access_token=issued.token,
            renew_at_s=issued.renew_at_s,
            ends_at_s=issued.ends_at_s,
            refresh_token=refresh_token,
        )

    def ended(self, *, lost: bool = False) -> Session:
        """Give what stays once it has ended: who it was, on which device."""
        return Session(self.user, device_token=self.device_token, hosts=self.hosts, lost=lost)


class SessionStore(Protocol):
    """Keeps sessions by name. All but `alone` raise CredentialsError where that cannot be done."""

    def get(self, name: str) -> Session | None:
        """Give a session; None where there is none."""

    def put(self, name: str, session: Session) -> None:
        """Keep a session, durably when this returns."""

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Wait until no other process and thread changes a session, and let none change it meanwhile."""


class _Locking:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """See SessionStore."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            turn = alone(self._folder / f".{_file(name)}.lock")
            turn.__enter__()
        except OSError as error:
            raise CredentialsError(f"cannot keep sessions in {self._folder}: {error}") from error
        try:
            yield
        finally:
            turn.__exit__(None, None, None)


class FileSessions(_Locking):
    """A file of mode 600 for each session, in a folder of mode 700. One that others may read is refused: it may be known already."""

    def get(self, name: str) -> Session | None:
        """See SessionStore."""
        path = self._folder / f"{_file(name)}.json"
        try:
            with path.open("rb") as file:
                _check_owner(path, os.fstat(file.fileno()))
                return _parsed(file.read(_MAX_BYTES), str(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CredentialsError(f"cannot read the session in {path}: {error}") from error

    def put(self, name: str, session: Session) -> None:
        """See SessionStore."""
        path = self._folder / f"{_file(name)}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(path, _text(session))  # made with mode 600
        except OSError as error:
            raise CredentialsError(f"cannot keep the session in {path}: {error}") from error


class KeyringSessions(_Locking):
    """The keyring of the operating system; `folder` has the locks alone."""

    def __init__(self, folder: Path, backend: Any) -> None:
        """Keep sessions in a backend of the library keyring."""
        super().__init__(folder)
        self._backend = backend

    def get(self, name: str) -> Session | None:
        """See SessionStore."""
        text = self._called("get_password", name)
        return None if text is None else _parsed(text.encode(), f"the keyring ({self._backend.name})")

    def put(self, name: str, session: Session) -> None:
        """See SessionStore."""
        self._called("set_password", name, _text(session))

    def _called(self, method: str, *arguments: str) -> str | None:
        try:
            found: str | None = getattr(self._backend, method)(SERVICE, *arguments)
        except Exception as error:  # backends raise what their systems raise
            raise CredentialsError(
                f"the keyring ({self._backend.name}) does not answer: {error}; GOODSTRACE_KEYRING=off keeps sessions in files"
            ) from error
        return found


def keyring_backend() -> Any | None:
    """Find a keyring that really keeps secrets; None where there is none, or the library keyring is not installed."""
    try:
        import keyring  # noqa: PLC0415 - it looks for D-Bus and the like: only who needs a session waits for that

        backend = keyring.get_keyring()
        return backend if float(backend.priority) >= _LEAST_PRIORITY else None
    except Exception:  # noqa: BLE001 - not installed, or its backends do not even say whether they work here
        return None


def sessions_in(folder: Path, *, keyring: bool = True) -> SessionStore:
    """Keep sessions in the keyring where there is one (unless `keyring` is off), else in files of `folder`."""
    backend = keyring_backend() if keyring else None
    return FileSessions(folder) if backend is None else KeyringSessions(folder, backend)


def _file(name: str) -> str:
    text = quote(name, safe="@ ").replace(" ", "~")
    return text if len(text) <= _MOST_CHARACTERS else hashlib.sha256(name.encode()).hexdigest()


def _check_owner(path: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if mode & _OTHERS:
        raise CredentialsError(
            f"{path} is open to others (mode {mode:o}), who may know your session: "
            f"`goodstrace logout --everywhere` after `chmod 600 {path}`, and sign in again"
        )
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise CredentialsError(f"{path} belongs to somebody else")


def _text(session: Session) -> str:
    return msgspec.json.encode(session).decode()


def _parsed(text: bytes, where: str) -> Session:
    try:
        return msgspec.json.decode(text, type=Session)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CredentialsError(f"{where} does not hold a session: sign in again: goodstrace login") from error
