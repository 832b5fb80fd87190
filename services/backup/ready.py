"""All that can be known before a copy is put back: nothing is written until it is well."""

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from services.backup import groups, same_kafka
from services.backup.errors import BackupError
from services.backup.folder import read_documents
from services.backup.restoring import refuse_others
from services.backup.values import Manifest
from services.runtime.mongo import Database, translated
from services.runtime.settings import DATABASE_NAME, KafkaSettings
from services.runtime.vault.errors import VaultError
from services.runtime.vault.rotating import WRAPPED
from services.runtime.vault.wrapping import Ring

_SYSTEM: Final = ("admin", "config", "local")
_ADVICE: Final = (
    "it was wrapped under a key that is gone, as after a rotation: take a newer copy, or put that key back"
)
Document = dict[str, Any]


def check_names(into: str, vault: str) -> None:
    """Check the names of the databases. Raises: BackupError."""
    for name in (into, vault):
        if not re.fullmatch(DATABASE_NAME, name) or name.lower() in _SYSTEM:
            raise BackupError(f"{name!r} is no name of a database: letters, digits, - and _, at most 63")
    if into == vault:
        raise BackupError("store and vault need databases of their own")


def check_kafka(settings: KafkaSettings, manifest: Manifest, of_vault: Manifest | None) -> None:
    """Check that Kafka is that of the copies, and that no service reads. Blocks. Raises: BackupError, UnavailableError."""
    groups.check_ours(settings, [*manifest.groups, *(of_vault.groups if of_vault else ())])
    groups.check_stopped(settings)
    same_kafka.check_topics(settings, manifest.logs)


async def check_databases(
    database: Database, vault: Database, copy: tuple[Path, Manifest] | None, ring: Ring
) -> None:
    """Check that the databases to be made are empty, and that every key of the vault opens: of its copy, else of the one in use.

    Raises: BackupError, DamagedError, UnavailableError; OSError.
    """
    await refuse_others(database)
    if copy is not None:
        await refuse_others(vault)
        await asyncio.to_thread(check_copy_opens, *copy, ring)
        return
    for name in WRAPPED:
        async with translated():
            async for document in vault[name].find({}, {"kek": 1, "wrapped": 1}):
                _check_opens(name, [document], ring)


def check_copy_opens(folder: Path, manifest: Manifest, ring: Ring) -> None:
    """Open every key of a copy of the vault. Raises: BackupError, DamagedError; OSError."""
    for entry in manifest.collections:
        for collection, document in read_documents(folder, entry):
            if collection in WRAPPED:
                _check_opens(collection, [document], ring)


def _check_opens(collection: str, found: Iterable[Document], ring: Ring) -> None:
    for document in found:
        of = document.get("_id")
        try:
            ring.unwrap(document, of.encode() if isinstance(of, str) else bytes(of or b""))
        except (VaultError, KeyError, TypeError) as error:
            raise BackupError(f"{collection} of the vault does not open: {error}; {_ADVICE}") from error
