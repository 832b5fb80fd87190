"""Are keys there, closed to others, and the ones that were published? How long do certificates last? Pure. Only public keys come here."""

from collections.abc import Sequence
from typing import Final

import msgspec

from services.doctor.values import Finding, failed, listed, ok, warning

SOON_DAYS: Final = 7


class FileSeen(msgspec.Struct, frozen=True):
    """A secret file or the folder that it is in: its mode (permission bits), None where it is not there; `of`: what it is.

    is_open: whether others may use it who should not, by the rule that the services go by.
    """

    path: str
    of: str
    mode: int | None
    make: str = "python -m services.runtime.provision"
    is_open: bool = False


class LogKeySeen(msgspec.Struct, frozen=True):
    """Public keys of a log.

    registered: as the store says; retired: those before it. held: of the private keys at hand, the one that signs first; published: as the
    key folder tells others, empty where there is no such file. problem: why the private key could not be used.
    """

    log: str
    registered: str
    retired: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    published: str = ""
    problem: str = ""


class CertificateSeen(msgspec.Struct, frozen=True):
    """A certificate file, how many days it lasts, and why it cannot be used."""

    path: str
    days: float = 0.0
    problem: str = ""


def check_files(seen: Sequence[FileSeen]) -> list[Finding]:
    """Are the files of secrets there, and open to their owner alone?"""
    found = []
    for each in seen:
        if each.mode is None:
            found.append(
                failed(
                    f"{each.path} ({each.of}) is missing",
                    f"make it: {each.make}; if there was one, restore it",
                    "docs/keys.md",
                )
            )
        elif each.is_open:
            do = f"chmod go= {each.path}; who could read it may have: think of changing what is in it"
            found.append(
                failed(
                    f"{each.path} ({each.of}) is open to others, mode {each.mode:03o}",
                    do,
                    "changes.md#key-rotation",
                )
            )
    return found or [ok(f"{len(seen)} files and folders of secrets, closed to others")]


def check_log_keys(seen: Sequence[LogKeySeen]) -> list[Finding]:
    """Can each log go on being signed by the key that everybody knows?"""
    found = [finding for each in seen for finding in _log_key(each)]
    if not seen:
        return [
            warning(
                "the store has no logs", "capture something; the ledger makes each log's key", "docs/keys.md"
            )
        ]
    return found or [ok(f"the keys of {len(seen)} logs are those that the store and the key folder tell")]


def _log_key(seen: LogKeySeen) -> list[Finding]:
    found = []
    if seen.problem:
        do = "restore the key from where keys are kept; run this as who runs the ledger, with its GOODSTRACE_KEY_... settings"
        found.append(failed(f"{seen.log}: {seen.problem}", do, "changes.md#key-rotation"))
    elif seen.registered not in seen.held:
        do = "restore the right key: the ledger refuses to sign with another one"
        found.append(
            failed(
                f"{seen.log}: the private key here is not that of {seen.registered}",
                do,
                "changes.md#key-rotation",
            )
        )
    if seen.published and seen.published not in (seen.registered, *seen.retired):
        do = "find out who wrote it; give out the right vkey again"
        found.append(
            failed(
                f"{seen.log}: its .vkey file tells a key that the log never had",
                do,
                "recovery.md#suspected-tampering",
            )
        )
    elif seen.published != seen.registered:
        do = "where the ledger can write its key folder it mends this at its next start; else give out the vkey by hand"
        found.append(
            warning(
                f"{seen.log}: its .vkey file {'tells an older key' if seen.published else 'is missing'}",
                do,
                "changes.md#key-rotation",
            )
        )
    return found


def check_certificates(seen: Sequence[CertificateSeen]) -> list[Finding]:
    """How long do the certificates last that are shown and believed here?"""
    found = []
    for each in seen:
        if each.problem or each.days < 0:
            said = each.problem or f"ended {-each.days:.0f} days ago"
            found.append(
                failed(
                    f"{each.path}: {said}",
                    "put a new one in its place: it is read within seconds",
                    "access.md#certificateends",
                )
            )
        elif each.days < SOON_DAYS:
            found.append(
                warning(
                    f"{each.path} ends in {each.days:.1f} days",
                    "renew it: it is read within seconds",
                    "access.md#certificateends",
                )
            )
    if found:
        return found
    if not seen:
        return [
            ok(
                "no certificates are set in this environment: what services are given elsewhere is not seen from here"
            )
        ]
    return [
        ok(
            f"{listed([each.path for each in seen])}: the first to end does so in {min(each.days for each in seen):.0f} days"
        )
    ]
