"""TLS of the local stack: certificates in `tls/` of the run folder, made at the first start and renewed when they near their end.

`GOODSTRACE_TLS=off`: everything in clear text. GOODSTRACE_TLS_CERT_FILE: certificates of one's own, which are left alone.
"""

import datetime as dt
import shutil
from collections.abc import Mapping
from pathlib import Path

from deploy.processes import Report, StackError
from goodstrace.certificate_files import CA, SERVER, certificate_path, ensure, key_path
from goodstrace.connections import Tls
from goodstrace.errors import CredentialsError

_SWITCH = "GOODSTRACE_TLS"
_OWN = "GOODSTRACE_TLS_CERT_FILE"


def tls_environment(run_dir: Path, environment: Mapping[str, str], report: Report) -> dict[str, str]:
    """Make what is wanting, and give what the services are told. Raises: StackError."""
    wanted = environment.get(_SWITCH) or "on"
    if wanted not in ("on", "off"):
        raise StackError(f"{_SWITCH}: {wanted!r} is neither on nor off")
    folder = run_dir / "tls"
    if wanted == "off":
        # Clients on this machine go by whether there is a CA.
        shutil.rmtree(folder, ignore_errors=True)
        return {}
    if environment.get(_OWN):
        return {}
    try:
        if ensure(folder, dt.datetime.now(dt.UTC)):
            report(f"made certificates in {folder}; clients are to believe {certificate_path(folder, CA)}")
    except CredentialsError as error:
        raise StackError(f"{error}: remove {folder} to make all anew") from error
    return {
        _OWN: str(certificate_path(folder, SERVER)),
        "GOODSTRACE_TLS_KEY_FILE": str(key_path(folder, SERVER)),
        "GOODSTRACE_TLS_CLIENT_CA_FILE": environment.get("GOODSTRACE_TLS_CLIENT_CA_FILE")
        or str(certificate_path(folder, CA)),
        "GOODSTRACE_TLS_PLAIN_ON_LOOPBACK": environment.get("GOODSTRACE_TLS_PLAIN_ON_LOOPBACK") or "true",
        "GOODSTRACE_TLS_METRICS": "false",
        "GOODSTRACE_CA_FILE": environment.get("GOODSTRACE_CA_FILE") or str(certificate_path(folder, CA)),
    }


def client_side(run_dir: Path, environment: Mapping[str, str]) -> tuple[str, Tls]:
    """Say how the stack's ports are reached once it is up: http or https, and whom to believe."""
    ca = environment.get("GOODSTRACE_CA_FILE")
    local = certificate_path(run_dir / "tls", CA)
    if environment.get(_SWITCH) == "off" or not (environment.get(_OWN) or local.exists()):
        return "http", Tls()
    return "https", Tls(Path(ca) if ca else local if local.exists() else None)
