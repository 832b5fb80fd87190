"""In which partitions of the ingress somebody has begun: the collection `ingress_partitions`.

Kafka forgets a group's offsets in time. Who then began at the first message again would capture everything twice.
"""

from typing import Final

from services.runtime.mongo import Database, translated

INGRESS_PARTITIONS: Final = "ingress_partitions"


class IngressStore:
    """The collection in one database; one installation has one ingress."""

    def __init__(self, database: Database) -> None:
        """Use the collection in `database`."""
        self._partitions = database[INGRESS_PARTITIONS]

    async def begun(self) -> frozenset[int]:
        """List the partitions of which something was taken. Raises: UnavailableError."""
        async with translated():
            return frozenset([int(each["_id"]) async for each in self._partitions.find()])

    async def mark(self, partitions: frozenset[int]) -> None:
        """Add partitions; those that are there stay. Raises: UnavailableError."""
        for partition in sorted(partitions):
            async with translated():
                await self._partitions.replace_one({"_id": partition}, {"_id": partition}, upsert=True)
