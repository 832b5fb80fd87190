"""Opening the vault as the settings say, and changing its key-encryption key."""

import os
from pathlib import Path
from typing import Final

from services.runtime.mongo import Database, beside, translated
from services.runtime.settings import load, refuse
from services.runtime.vault.keys import KEYS, NAMES, Vault
from services.runtime.vault.people import DAYS, People, provision
from services.runtime.vault.personal import provision as provision_personal
from services.runtime.vault.settings import VaultSettings
from services.runtime.vault.wrapping import NONCE_BYTES, KeyRing

_A_READ: Final = 500


def open_vault(database: Database) -> Vault:
    """Open the vault that belongs to the services' database; exits with 2, naming the file, where there is no key-encryption key."""
    settings = load(VaultSettings)
    return Vault(vault_database(database, settings), load_ring(settings.key_file))


def open_people(database: Database) -> People:
    """Open the vault, as `open_vault` does, for who records looks."""
    return People(open_vault(database), retention_days=load(VaultSettings).retention_days)


def vault_database(database: Database, settings: VaultSettings) -> Database:
    """Give the database of the vault that belongs to the services' one."""
    return beside(database, settings.database_beside(database.name))


def load_ring(path: Path) -> KeyRing:
    """Read the key-encryption keys, or exit with 2 naming the file: `services.runtime.provision` makes it."""
    try:
        lines = path.read_text(encoding="utf-8").split()
        return KeyRing(tuple(bytes.fromhex(line) for line in lines))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        refuse(
            f"cannot read the vault's keys in {path}: {error}; make them with: python -m services.runtime.provision"
        )


async def provision_vault(database: Database) -> str:
    """Make the vault's indexes beside the services' database, a step of provisioning. Raises: UnavailableError."""
    made = vault_database(database, load(VaultSettings))
    await provision(made)
    await provision_personal(made)
    return f"vault: indexes in {made.name}"


async def rewrap(vault: Vault) -> int:
    """Wrap under the newest key-encryption key what is wrapped under an older one; tells how many. May be repeated at any time.

    Raises: VaultError where one does not open, UnavailableError.
    """
    count = 0
    for name in (KEYS, NAMES, DAYS):
        collection = vault.database[name]
        while True:
            async with translated():
                older = await collection.find({"kek": {"$ne": vault.ring.newest}}).to_list(_A_READ)
            if not older:
                break
            for document in older:
                of = document["_id"]
                about = of.encode() if isinstance(of, str) else bytes(of)
                secret = vault.ring.unwrap(document, about)
                again = vault.ring.wrap(secret, about, os.urandom(NONCE_BYTES))
                async with translated():
                    await collection.update_one({"_id": of, "kek": document["kek"]}, {"$set": again})
                count += 1
    return count
