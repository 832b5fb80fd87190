"""How goods information goes to the store: in pieces that each have a deadline of their own."""

from collections import defaultdict
from typing import Any

from services.collector.mongo import GOODS, UPSERTS_A_CALL, GoodsStore


class Collection:
    """Counts the writes of each call."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def bulk_write(self, writes: list[Any], *, ordered: bool) -> None:
        assert not ordered
        self.calls.append(len(writes))


async def test_no_call_grows_with_the_events() -> None:
    # One event of a MiB may name 40,000 lots: all in one call, that never ends within the deadline and is tried for ever.
    database: dict[str, Collection] = defaultdict(Collection)
    change: dict[str, dict[str, Any]] = {"$addToSet": {"merchants": {"$each": [1]}}}
    count = 2 * UPSERTS_A_CALL + 1
    await GoodsStore(database).apply({f"urn:x:{each}": change for each in range(count)}, {})  # type: ignore[arg-type]
    assert sum(database[GOODS].calls) == count
    assert max(database[GOODS].calls) <= UPSERTS_A_CALL
