"""Making what figures are kept in, a step of provisioning."""

from services.audit.figures import goods, store
from services.runtime.mongo import Database
from services.runtime.settings import load
from services.runtime.vault.opening import vault_database
from services.runtime.vault.settings import VaultSettings


async def provision(database: Database) -> str:
    """Make the indexes where they are not there. Raises: UnavailableError."""
    await goods.provision(vault_database(database, load(VaultSettings)))
    return await store.provision(database)
