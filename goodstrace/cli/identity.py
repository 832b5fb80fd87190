"""As whom a command calls. The first of these that is there:

1. `--api-key-file`, GOODSTRACE_API_KEY_FILE or GOODSTRACE_API_KEY: an API key, or a token of the platform's identity provider.
2. GOODSTRACE_CLIENT_ID with GOODSTRACE_CLIENT_SECRET_FILE: a service account.
3. The session that `goodstrace login` began at the query service. It is shown to hosts other than that service's only where
   `goodstrace login --also HOST` said so.
4. On this machine alone: what the local stack wrote into run/credentials.json (GOODSTRACE_CREDENTIALS).
5. Nobody: what is public.
"""  # noqa: D415 - a list

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import click
import grpc

from goodstrace.cli.tls import tls_for
from goodstrace.connections import channel, local_target
from goodstrace.credentials import (
    LOCAL_FILE,
    LOCAL_OPERATOR_TOKEN,
    LocalUser,
    host_of,
    is_local,
    local_api_key,
    local_user,
)
from goodstrace.login import LoginClient
from goodstrace.session import Renewed, StoredSession
from goodstrace.session_store import Session, SessionStore, sessions_in
from goodstrace.token_sources import (
    NO_TOKEN,
    ClientCredentials,
    FixedToken,
    Issued,
    TokenFile,
    TokenSource,
    read_token,
)

QUERY_VARIABLE: Final = "GOODSTRACE_QUERY_TARGET"
QUERY_PORT: Final = 50051


def default_query() -> str:
    """Give the local stack's query service."""
    return local_target(QUERY_PORT)


def channel_of(target: str) -> grpc.Channel:
    """Make the channel on which somebody signs in."""
    return channel(target, tls_for(target), credential=True)


def login_client(target: str, source: TokenSource = NO_TOKEN) -> LoginClient:
    """Make the client of the login at a query service."""
    return LoginClient(target, source, channel_of=channel_of)


def sessions() -> SessionStore:
    """Find where sessions are kept: GOODSTRACE_SESSIONS names another folder, GOODSTRACE_KEYRING=off wants files."""
    folder = Path(click.get_app_dir("goodstrace", force_posix=True)) / "sessions"
    return sessions_in(
        Path(os.environ.get("GOODSTRACE_SESSIONS") or folder),
        keyring=os.environ.get("GOODSTRACE_KEYRING") != "off",
    )


def session_name(target: str) -> str:
    """Give the name under which a session is kept: the same service has the same one, whatever goes before its address."""
    return target.partition("://")[2] or target


def session_source(target: str, store: SessionStore) -> StoredSession:
    """Give the tokens of the session that somebody began at a query service."""
    how = "goodstrace login" + ("" if target == default_query() else f" --query {target}")
    return StoredSession(store, session_name(target), partial(_refreshed, target), how=how)


def source_for(
    place: str, api_key_file: Path | None = None, *, query_target: str = "", role: str = "merchant"
) -> TokenSource:
    """Find as whom to call `place`, a URL or a target; of the local stack as the demo merchant, or as its user of another role.

    Raises: CredentialsError.
    """
    target = query_target or os.environ.get(QUERY_VARIABLE) or default_query()
    found = _told(target, api_key_file) or _stored(target, place)
    if found is None and role == "merchant":
        key = local_api_key(_local_file(), place)
        found = FixedToken(key) if key else None
    return found or _demo(target, place, role) or NO_TOKEN


def operator_for(
    place: str, token_file: Path | None = None, *, query_target: str = "", as_person: bool = False
) -> TokenSource:
    """Find as which operator to call `place`: by the operator's token where one is told, by the session, or of the local stack.

    There it is the operator's token, or (`as_person`) the demo operator. Raises: CredentialsError.
    """
    target = query_target or os.environ.get(QUERY_VARIABLE) or default_query()
    if token_file is not None:  # before the environment, as a file with an API key is
        return FixedToken(read_token(token_file))
    if given := os.environ.get("GOODSTRACE_OPERATOR_TOKEN"):
        return FixedToken(given)
    ways: list[Callable[[], TokenSource | None]] = [
        lambda: _demo(target, place, "operator"),
        lambda: _local_operator(place),
    ]
    found = _stored(target, place)
    for way in ways if as_person else reversed(ways):
        found = found or way()
    return found or NO_TOKEN


def _told(target: str, api_key_file: Path | None) -> TokenSource | None:
    if api_key_file is not None:
        return TokenFile(api_key_file)
    if key := os.environ.get("GOODSTRACE_API_KEY"):
        return FixedToken(key)
    client, secret = os.environ.get("GOODSTRACE_CLIENT_ID"), os.environ.get("GOODSTRACE_CLIENT_SECRET_FILE")
    if client and secret:
        return ClientCredentials(partial(_issued, target, client, Path(secret)))
    return None


def _stored(target: str, place: str) -> TokenSource | None:
    """Give the session at a query service, where there is one that may be shown to `place`."""
    store = sessions()
    session = store.get(session_name(target))
    if session is None or not (session.is_open or session.lost):
        return None
    is_near = host_of(place) == host_of(target) or (is_local(place) and is_local(target))
    return session_source(target, store) if is_near or host_of(place) in session.hosts else None


def _demo(target: str, place: str, role: str) -> TokenSource | None:
    """Give the tokens of the local stack's user of a role; its session is kept as well, under a name of its own."""
    user = local_user(_local_file(), target, role) if is_local(place) else None
    if user is None:
        return None
    sign_in = partial(_signed_in, target, user)
    return StoredSession(
        sessions(), f"{session_name(target)} {role}", partial(_refreshed, target), sign_in=sign_in
    )


def _local_operator(place: str) -> TokenSource | None:
    is_there = is_local(place) and LOCAL_OPERATOR_TOKEN.exists()
    return FixedToken(read_token(LOCAL_OPERATOR_TOKEN)) if is_there else None


def _local_file() -> Path:
    return Path(os.environ.get("GOODSTRACE_CREDENTIALS", LOCAL_FILE))


def _refreshed(target: str, refresh_token: str) -> Renewed:
    with login_client(target) as client:
        return client.refresh(refresh_token)


def _issued(target: str, client_id: str, secret_file: Path) -> Issued:
    with login_client(target) as client:
        return client.issued(client_id, read_token(secret_file))


def _signed_in(target: str, user: LocalUser, known: Session | None) -> Session:
    with login_client(target) as client:
        return client.sign_in(user.name, user.password, known=known)
