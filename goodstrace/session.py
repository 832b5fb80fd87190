"""A session that lasts over commands and is shared by processes: its access token is renewed by itself, by one of them at a time.

A refresh token counts once, and one that comes a second time ends the session (somebody has a copy). So whoever renews holds a lock from
before it reads the refresh token until the next one is kept; who waited finds what the other got.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from goodstrace.errors import CallError, SignedOutError
from goodstrace.session_store import Session, SessionStore
from goodstrace.token_sources import Issued

_ENDED: Final = "UNAUTHENTICATED"


class Renewed(NamedTuple):
    """What a refresh token gave."""

    issued: Issued
    refresh_token: str


class StoredSession:
    """A `TokenSource` of a kept session."""

    def __init__(
        self,
        store: SessionStore,
        name: str,
        refresh: Callable[[str], Renewed],
        *,
        sign_in: Callable[[Session | None], Session] | None = None,
        how: str = "goodstrace login",
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Use the session kept under a name.

        Args:
            store: where it is kept.
            name: under which.
            refresh: gives new tokens for a refresh token; raises CallError.
            sign_in: begins a session where there is none, or it has ended; without, somebody has to.
            how: the command that begins one, for messages.
            now_s: Unix seconds.
        """
        self._store = store
        self._name = name
        self._refresh = refresh
        self._sign_in = sign_in
        self._how = how
        self._now_s = now_s
        self._known: Session | None = None
        self._turn = threading.Lock()

    def token(self) -> str:
        """See TokenSource. Raises: SignedOutError too."""
        with self._turn:
            if self._known is None:
                self._known = self._store.get(self._name)
            if self._known is None or not self._is_fresh(self._known):
                self._known = self._renew("")
            return self._known.access_token

    def renewed(self, refused: str) -> str:
        """See TokenSource. Raises: SignedOutError too."""
        with self._turn:
            self._known = self._renew(refused)
            return self._known.access_token

    def _renew(self, refused: str) -> Session:
        """Take what another process got meanwhile, or get the next tokens."""
        with self._store.alone(self._name):
            session = self._store.get(self._name)
            if session is not None and self._is_fresh(session) and session.access_token != refused:
                return session
            following = self._following(session, refused)
            if following is not session:
                self._store.put(self._name, following)
            return following

    def _following(self, session: Session | None, refused: str) -> Session:
        if session is None or not session.is_open:
            return self._begun(session)
        try:
            return session.with_tokens(*self._refresh(session.refresh_token))
        except CallError as error:
            if error.code != _ENDED:
                if session.access_token != refused and self._now_s() < session.ends_at_s:
                    return session  # it is early: the next call tries again
                raise
            ended = session.ended(lost=True)
            self._store.put(self._name, ended)
            return self._begun(ended)

    def _begun(self, session: Session | None) -> Session:
        if self._sign_in is not None:
            return self._sign_in(session)
        if session is None:
            raise SignedOutError(f"nobody is signed in: {self._how}")
        raise SignedOutError(f"the session of {session.user} has ended: sign in again: {self._how}")

    def _is_fresh(self, session: Session) -> bool:
        return session.is_open and self._now_s() < session.renew_at_s
