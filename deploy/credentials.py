"""The demo merchant of a stack: registered once, its API key in `credentials.json` (mode 600) of the run folder.

It speaks for everything, so that whatever documents are at hand can be captured.
"""

import json
import os
from pathlib import Path
from typing import Any

from deploy.processes import Report, StackError
from goodstrace.connections import SYSTEM, Tls
from goodstrace.credentials import local_api_key
from goodstrace.errors import CallError, CredentialsError
from goodstrace.registry import RegistryClient

FILE = "credentials.json"
TOKEN_FILE = "operator-token"  # noqa: S105 - a file's name
DEMO: dict[str, Any] = {"name": "Demo", "everything": True}


def make_credentials(
    folder: Path, url: str, operator_token_file: Path, report: Report, tls: Tls = SYSTEM
) -> str:
    """Give the demo merchant's API key for the collector at `url`; make both where the collector does not know them.

    Raises: StackError.
    """
    path = folder / FILE
    try:
        known = local_api_key(path, url)
        if known is not None and _counts(url, known, tls):
            return known
        with RegistryClient(url, operator_token_file.read_text().strip(), tls=tls) as registry:
            number = registry.add(DEMO)["merchant"]
            key = str(registry.new_key(number, "demo")["apiKey"])
        _write(path, {"merchant": {"api_key": key}})
    except (CallError, CredentialsError, OSError) as error:
        raise StackError(f"no demo merchant: {error}") from error
    report(f"demo merchant {number}: its API key is in {path}")
    return key


def _counts(url: str, key: str, tls: Tls) -> bool:
    """Say whether the collector knows a key: a store that was emptied does not."""
    with RegistryClient(url, key, tls=tls) as registry:
        try:
            return bool(registry.me())
        except CallError as error:
            if error.code != "401":
                raise
            return False


def _write(path: Path, told: dict[str, Any]) -> None:
    scratch = path.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(told, indent=2) + "\n")
    scratch.replace(path)
