"""The files of development certificates in one folder: `ca.pem`, `ca.key`, `server.pem`, `server.key`, `<client>.pem`, `<client>.key`.

Keys have mode 600. Made once, and made anew where they near their end.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from goodstrace.dev_certificates import (
    LEAF_DAYS,
    LOCAL_NAMES,
    Pair,
    make_ca,
    make_client,
    make_server,
    names_in,
    signs_for,
)
from goodstrace.durable import replace_file
from goodstrace.errors import CredentialsError

CA: Final = "ca"
SERVER: Final = "server"
RENEW_BEFORE: Final = dt.timedelta(days=7)
RENEW_UNASKED_BEFORE: Final = dt.timedelta(days=9)
"""Where it is looked each day by itself: before anybody is told, which is 7 days before the end."""


def certificate_path(folder: Path, name: str) -> Path:
    """Where a certificate lies."""
    return folder / f"{name}.pem"


def key_path(folder: Path, name: str) -> Path:
    """Where its key lies."""
    return folder / f"{name}.key"


def make_all(
    folder: Path, names: Sequence[str], clients: Sequence[tuple[str, str]], now: dt.datetime
) -> list[Path]:
    """Make a CA, a certificate for `names` and the local ones, and one for each client (name, SAN URI); give the files.

    Raises: CredentialsError where one of them is there already: nothing is written then.
    """
    every = (*LOCAL_NAMES, *(each for each in names if each not in LOCAL_NAMES))
    ca = make_ca(now, every)
    made = {CA: ca, SERVER: make_server(ca, now, every)}
    for name, uri in clients:
        if name in made:
            raise CredentialsError(f"there are two certificates named {name}")
        made[name] = make_client(ca, now, name, uri)
    paths = [place(folder, name) for name in made for place in (certificate_path, key_path)]
    taken = [str(path) for path in paths if path.exists()]
    if taken:
        raise CredentialsError(f"there already, and not overwritten: {', '.join(taken)}")
    for name, pair in made.items():
        _write(folder, name, pair)
    return paths


def ensure(
    folder: Path, now: dt.datetime, names: Sequence[str] = LOCAL_NAMES, *, keep_ca: bool = False
) -> bool:
    """Make CA and server certificate where there are none, they end soon, or are not for all `names`; say whether something was made.

    A CA that is still good for longer than a certificate, and may sign for `names`, is kept, so that who trusts it need not be told. With `keep_ca`
    it is in any case: nobody is at hand to tell them, and a certificate ends with its CA at the latest.
    Raises: CredentialsError.
    """
    ca, server = _load(folder, CA), _load(folder, SERVER)
    if keep_ca:
        return _renewed(folder, now, names, ca, server)
    fresh_ca = ca is None or ca.expires < now + dt.timedelta(days=LEAF_DAYS) or not signs_for(ca, names)
    if (
        server is not None
        and not fresh_ca
        and server.expires > now + RENEW_BEFORE
        and set(names) <= set(names_in(server.certificate))
    ):
        return False
    if ca is None or fresh_ca:
        ca = make_ca(now, names)
        _write(folder, CA, ca)
    _write(folder, SERVER, make_server(ca, now, names))
    return True


def _renewed(
    folder: Path, now: dt.datetime, names: Sequence[str], ca: Pair | None, server: Pair | None
) -> bool:
    """Make the server certificate anew where it ends soon and the CA lets another one last longer."""
    if ca is None or not signs_for(ca, names) or (days := (ca.expires - now).days) < 1:
        raise CredentialsError(
            f"the CA in {folder} is missing, has ended, or may not sign for these names: a new one is wanted, which everybody must be told"
        )
    days = min(days, LEAF_DAYS)
    if server is not None and set(names) <= set(names_in(server.certificate)):
        is_good = server.expires > now + RENEW_UNASKED_BEFORE
        if is_good or server.expires > now + dt.timedelta(days=days - 1):
            return False
    _write(folder, SERVER, make_server(ca, now, names, days=days))
    return True


def _load(folder: Path, name: str) -> Pair | None:
    try:
        pair = Pair(certificate_path(folder, name).read_bytes(), key_path(folder, name).read_bytes())
        _ = pair.expires if name == CA else names_in(pair.certificate)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CredentialsError(f"the certificate {name} in {folder} cannot be read: {error}") from error
    return pair


def _write(folder: Path, name: str, pair: Pair) -> None:
    """Put the key first: a service that reads in between sees a pair that does not fit, and keeps what it has."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(key_path(folder, name), pair.key.decode())  # mode 600, as all that is written so
        replace_file(certificate_path(folder, name), pair.certificate.decode())
        certificate_path(folder, name).chmod(0o644)
    except OSError as error:
        raise CredentialsError(f"cannot write certificates to {folder}: {error}") from error
