"""The demo merchant of a stack and a user for each role: made once, in `credentials.json` (mode 600) of the run folder.

The merchant speaks for everything, so that whatever documents are at hand can be captured.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc

from deploy.processes import Report, StackError
from goodstrace.accounts import AccountsClient
from goodstrace.connections import SYSTEM, Tls, channel
from goodstrace.credentials import LocalUser, local_api_key, local_user
from goodstrace.errors import CallError, CredentialsError
from goodstrace.login import LoginClient
from goodstrace.registry import RegistryClient
from goodstrace.token_sources import FixedToken, TokenSource, as_source

FILE = "credentials.json"
TOKEN_FILE = "operator-token"  # noqa: S105 - a file's name
ROLES: Final = ("shopper", "merchant", "auditor", "operator")
_PASSWORD_BYTES: Final = 18
DEMO: dict[str, Any] = {"name": "Demo", "everything": True}


def make_credentials(
    folder: Path,
    url: str,
    operator_token_file: Path,
    report: Report,
    tls: Tls = SYSTEM,
    *,
    query_target: str = "",
) -> str:
    """Give the demo merchant's API key for the collector at `url`; make what the services do not know, and keep what still counts.

    With `query_target` one user for each role is made there too. Raises: StackError.
    """
    path = folder / FILE
    try:
        token = operator_token_file.read_text().strip()
        known = local_api_key(path, url)
        number = _number(url, known, tls) if known is not None else 0
        key, is_new = known or "", not number
        if is_new:
            with RegistryClient(url, token, tls=tls) as registry:
                number = registry.add(DEMO)["merchant"]
                key = str(registry.new_key(number, "demo")["apiKey"])
        users: dict[str, LocalUser] = {}
        if query_target:
            place = Place(query_target, tls, token)
            before = {} if is_new else _before(path, query_target)
            users = {role: demo_user(place, role, number, before.get(role)) for role in ROLES}
        if is_new or users != _before(path, query_target):
            told = {role: user._asdict() for role, user in users.items()}
            _write(path, {"merchant": {"api_key": key}, **({"users": told} if told else {})})
            report(f"demo merchant {number}{' and users' if told else ''}: credentials are in {path}")
    except (CallError, CredentialsError, OSError) as error:
        raise StackError(f"no demo credentials: {error}") from error
    return key


class Place(NamedTuple):
    """Where accounts are kept, how it is reached, and the operator's token."""

    target: str
    tls: Tls
    operator_token: str

    def channel(self, target: str) -> grpc.Channel:
        """Make a channel to it."""
        return channel(target, self.tls, credential=True)

    def login(self, source: TokenSource | str | None = None) -> LoginClient:
        """Make a client of its login."""
        return LoginClient(self.target, as_source(source), channel_of=self.channel)


def demo_user(place: Place, role: str, merchant: int, before: LocalUser | None) -> LocalUser:
    """Give the user of a role: as before where that still signs in, else a new one with a random password of its own.

    The password that an operator makes is to be changed by whom it is for, so it is, at once. Raises: CallError.
    """
    if before is not None and _signs_in(place, before):
        return before
    name, password = f"demo-{role}", secrets.token_urlsafe(_PASSWORD_BYTES)
    with AccountsClient(place.target, FixedToken(place.operator_token), channel_of=place.channel) as accounts:
        try:
            number = merchant if role == "merchant" else 0
            _, made = accounts.add(name, [role], merchant=number)
        except CallError as error:
            if error.code != "ALREADY_EXISTS":
                raise
            accounts.change(name, roles=[role], merchant=number, status="active")
            made = accounts.reset(name)
    with place.login() as login:
        session = login.sign_in(name, made)
    with place.login(session.access_token) as login:
        renewed = login.change_password(made, password)
    _sign_out(place, renewed.issued.token)
    return LocalUser(name, password)


def _signs_in(place: Place, user: LocalUser) -> bool:
    with place.login() as login:
        try:
            session = login.sign_in(*user)
        except CallError as error:
            if error.code != "UNAUTHENTICATED":
                raise
            return False
    _sign_out(place, session.access_token)
    return True


def _sign_out(place: Place, token: str) -> None:
    with place.login(token) as login:
        login.sign_out()


def _before(path: Path, query_target: str) -> dict[str, LocalUser]:
    found = {role: local_user(path, query_target, role) for role in ROLES} if query_target else {}
    return {role: user for role, user in found.items() if user is not None}


def _number(url: str, key: str, tls: Tls) -> int:
    """Give the number of the merchant whose key it is; 0 where the collector does not know it: a store that was emptied does not."""
    with RegistryClient(url, key, tls=tls) as registry:
        try:
            return int(registry.me()["merchant"])
        except CallError as error:
            if error.code != "401":
                raise
            return 0


def _write(path: Path, told: dict[str, Any]) -> None:
    scratch = path.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(told, indent=2) + "\n")
    scratch.replace(path)
