"""Opening the vault as the settings say."""

from pathlib import Path

from pymongo import IndexModel

from services.runtime.access.accounts import AccountReader
from services.runtime.mongo import Database, beside
from services.runtime.settings import load, refuse
from services.runtime.vault import asked, people, personal
from services.runtime.vault.keys import Vault
from services.runtime.vault.people import People
from services.runtime.vault.ring_file import RingFile
from services.runtime.vault.settings import VaultSettings


def open_vault(database: Database) -> Vault:
    """Open the vault that belongs to the services' database; exits with 2, naming the file, where there is no key-encryption key."""
    settings = load(VaultSettings)
    return Vault(vault_database(database, settings), load_ring(settings.key_file))


def open_people(database: Database) -> People:
    """Open the vault, as `open_vault` does, for who records looks."""
    accounts = AccountReader(database)
    return People(
        open_vault(database),
        retention_days=load(VaultSettings).retention_days,
        is_account=accounts.is_name,
    )


def vault_database(database: Database, settings: VaultSettings) -> Database:
    """Give the database of the vault that belongs to the services' one."""
    return beside(database, settings.database_beside(database.name))


def load_ring(path: Path) -> RingFile:
    """Read the key-encryption keys, to be followed as the file changes, or exit with 2 naming the file: `services.runtime.provision` makes it."""
    try:
        return RingFile(path)
    except (OSError, ValueError) as error:
        refuse(
            f"cannot read the vault's keys in {path}: {error}; make them with: python -m services.runtime.provision"
        )


async def provision_vault(database: Database) -> str:
    """Make the vault's indexes beside the services' database, a step of provisioning. Raises: UnavailableError."""
    made = vault_database(database, load(VaultSettings))
    for part in (people, personal, asked):
        await part.provision(made)
    return f"vault: indexes in {made.name}"


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes of the vault's database by collection."""
    found: dict[str, list[IndexModel]] = {}
    for part in (people.indexes(), personal.indexes(), asked.indexes()):
        for collection, models in part.items():
            found.setdefault(collection, []).extend(models)
    return found
