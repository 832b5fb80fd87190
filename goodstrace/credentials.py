"""What the local stack wrote for its demo merchant and users, and for whom a credential is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from goodstrace.connections import is_loopback
from goodstrace.errors import CredentialsError

LOCAL_FILE: Final = Path("run/credentials.json")
LOCAL_OPERATOR_TOKEN: Final = Path("run/keys/operator-token")


class LocalUser(NamedTuple):
    """One of the local stack's users."""

    name: str
    password: str


def host_of(place: str) -> str:
    """Give the host of a URL or of a gRPC target, in lower case; a Unix socket is on this machine."""
    scheme, mark, rest = place.partition("://")
    if scheme == "unix" or place.startswith("unix:"):
        return "localhost"
    authority = (rest if mark else place).lstrip("/").partition("/")[0].rpartition("@")[2]
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].lower()


def is_local(place: str) -> bool:
    """Say whether a URL or a target is on this machine."""
    return is_loopback(host_of(place))


def local_api_key(path: Path, url: str) -> str | None:
    """Give the demo merchant's key out of a credentials file, for a service on this machine. Raises: CredentialsError."""
    told = _local(path, url)
    if told is None:
        return None
    try:
        return str(told["merchant"]["api_key"])
    except (KeyError, TypeError) as error:
        raise _malformed(path) from error


def local_user(path: Path, target: str, role: str) -> LocalUser | None:
    """Give the local stack's user of a role, for a service on this machine; None where there is none. Raises: CredentialsError."""
    told = _local(path, target)
    if told is None or "users" not in told:
        return None
    try:
        found = told["users"].get(role)
        return None if found is None else LocalUser(str(found["name"]), str(found["password"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise _malformed(path) from error


def _local(path: Path, place: str) -> dict[str, Any] | None:
    if not is_local(place) or not path.exists():
        return None
    try:
        told = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"cannot read {path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise _malformed(path) from error
    if not isinstance(told, dict):
        raise _malformed(path)
    return told


def _malformed(path: Path) -> CredentialsError:
    return CredentialsError(
        f'{path} is no credentials file: {{"merchant": {{"api_key": ...}}, "users": {{"auditor": {{"name", "password"}}}}}}'
    )
