"""Where the command line finds its API key: a file, the environment, or what the local stack wrote for its demo merchant."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from goodstrace.connections import is_loopback
from goodstrace.errors import CredentialsError

LOCAL_FILE: Final = Path("run/credentials.json")


def api_key_for(url: str, file: Path | None = None) -> str | None:
    """Find the API key for a collector or a query service: of `file`, of GOODSTRACE_API_KEY, or of the local stack's credentials.

    Those (GOODSTRACE_CREDENTIALS, else run/credentials.json) are only ever sent to this machine. None where there is no key.
    Raises: CredentialsError.
    """
    if file is not None:
        return _read(file).strip() or None
    if from_environment := os.environ.get("GOODSTRACE_API_KEY"):
        return from_environment
    return local_api_key(Path(os.environ.get("GOODSTRACE_CREDENTIALS", LOCAL_FILE)), url)


def local_api_key(path: Path, url: str) -> str | None:
    """Give the demo merchant's key out of a credentials file, for a collector on this machine. Raises: CredentialsError."""
    if not is_loopback(urlsplit(url if "://" in url else f"//{url}").hostname or "") or not path.exists():
        return None
    try:
        told: Any = json.loads(_read(path))
        key = told["merchant"]["api_key"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CredentialsError(
            f'{path} is no credentials file: {{"merchant": {{"api_key": ...}}}}'
        ) from error
    return str(key)


def read_token(path: Path) -> str:
    """Read a token from a file. Raises: CredentialsError, also where it is empty."""
    token = _read(path).strip()
    if not token:
        raise CredentialsError(f"{path} is empty")
    return token


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"cannot read {path}: {error}") from error
