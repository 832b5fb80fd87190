"""What lies in files of this machine: modes, certificates, public keys, room. Nothing of a secret leaves these functions."""

import datetime as dt
import shutil
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509

from services.doctor.checks.keys import CertificateSeen, FileSeen, LogKeySeen
from services.doctor.checks.store import RoomSeen
from services.runtime.errors import ServiceError, SettingsError
from services.runtime.files import is_too_open
from services.runtime.tls import TlsSettings, read_material
from services.sealing.keys import KeyFolder
from services.sealing.ports import Keys
from services.sealing.values import LogInfo

_DAY_S = 86_400.0


def secret(path: Path, of: str, make: str = "python -m services.runtime.provision") -> FileSeen:
    """Look at a secret's mode."""
    try:
        return FileSeen(str(path), of, stat.S_IMODE(path.stat().st_mode), make, is_too_open(path))
    except OSError:
        return FileSeen(str(path), of, None, make)


def private_keys(folder: Path) -> list[FileSeen]:
    """Look at a folder of keys, and at each private key in it."""
    there = sorted(folder.glob("*.key")) if folder.is_dir() else []
    return [secret(folder, "folder of keys"), *(secret(path, "private key") for path in there)]


def log_keys(infos: Iterable[LogInfo], keys: Keys, folder: KeyFolder) -> list[LogKeySeen]:
    """Compare each log's registered key with the private one at hand and the published file."""
    found = []
    for info in infos:
        held, problem = _held(info, keys)
        path = folder.path(info.name).with_suffix(".vkey")
        published = path.read_text(encoding="utf-8").strip() if path.exists() else ""
        retired = tuple(change.old for change in info.changes)
        found.append(LogKeySeen(info.name, info.vkey, retired, held, published, problem))
    return found


def _held(info: LogInfo, keys: Keys) -> tuple[tuple[str, ...], str]:
    try:
        signing = keys.find(info.name, info.origin, create=False)
    except ServiceError as error:
        return (), str(error)
    return tuple(each.verifier.vkey() for each in signing), ""


def certificates(tls: TlsSettings, believed: Sequence[Path]) -> list[CertificateSeen]:
    """Look at the certificate that ports show, with its key, and at the CAs that are believed."""
    found = []
    if tls.cert_file is not None:
        try:
            material = read_material(tls)
            days = (material.expires_s - dt.datetime.now(dt.UTC).timestamp()) / _DAY_S
            found.append(CertificateSeen(str(tls.cert_file), days))
        except SettingsError as error:
            found.append(CertificateSeen(str(tls.cert_file), problem=str(error)))
    return [*found, *map(_certificate, believed)]


def _certificate(path: Path) -> CertificateSeen:
    try:
        listed = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        return CertificateSeen(str(path), problem=f"cannot be used: {error}")
    ends = min(each.not_valid_after_utc for each in listed)
    return CertificateSeen(str(path), (ends - dt.datetime.now(dt.UTC)).total_seconds() / _DAY_S)


def room(path: Path) -> RoomSeen:
    """Tell how much room the file system of a folder has."""
    at = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    told = shutil.disk_usage(at)
    return RoomSeen(f"this machine's disk of {path}", told.free, told.total)
