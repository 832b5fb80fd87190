"""What logs need in MongoDB before the first block: indexes and the installation's ID."""

from services.runtime.mongo import Database, create_indexes
from services.sealing.indexes import indexes
from services.sealing.mongo import MongoBlockStore


async def provision(database: Database) -> str:
    """Make them where they are not there. Raises: UnavailableError."""
    await create_indexes(database, indexes())
    return (
        f"logs: indexes of {', '.join(indexes())}; instance {await MongoBlockStore(database).instance_id()}"
    )
