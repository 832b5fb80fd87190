"""How the projector's writes go to the store: in pieces that each have a deadline of their own."""

from collections import defaultdict
from typing import Any

import msgspec
from pymongo.errors import BulkWriteError

from services.collector.jobs import Verdict, Verdicts
from services.collector.mongo import GOODS, UPSERTS_A_CALL, VERDICTS, GoodsStore, JobStore
from services.collector.rejection_store import REJECTIONS, RejectionStore
from services.collector.rejections import Rejection, State
from services.runtime.mongo import DOCUMENTS_A_CALL

REJECTION = Rejection(
    id="", order="", state=State.SETTLED, reason="DUPLICATE", stage="summarise", detail="", merchant=1, capture="c",
    sequence=0, time_ms=0, partition=0, offset=0,
)  # fmt: skip


class Collection:
    """Counts the writes of each call, and says each time that some of it was there already."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def bulk_write(self, writes: list[Any], *, ordered: bool) -> None:
        assert not ordered
        self.calls.append(len(writes))

    async def insert_many(self, documents: list[Any], *, ordered: bool) -> None:
        await self.bulk_write(documents, ordered=ordered)
        raise BulkWriteError({"writeErrors": [{"code": 11000, "index": 0}]})


class Database(defaultdict[str, Collection]):
    def __init__(self) -> None:
        super().__init__(Collection)


async def test_no_call_grows_with_the_events() -> None:
    # One event of a MiB may name 40,000 lots: all in one call, that never ends within the deadline and is tried for ever.
    database = Database()
    change: dict[str, dict[str, Any]] = {"$addToSet": {"merchants": {"$each": [1]}}}
    count = 2 * UPSERTS_A_CALL + 1
    await GoodsStore(database).apply({f"urn:x:{each}": change for each in range(count)}, {})  # type: ignore[arg-type]
    assert sum(database[GOODS].calls) == count
    assert max(database[GOODS].calls) <= UPSERTS_A_CALL


async def test_no_call_grows_with_what_was_refused() -> None:
    # A load that is sent again makes as many rejections as it has events, 10,000 of them in a batch, each in five indexes.
    database = Database()
    count = 2 * DOCUMENTS_A_CALL + 1
    refused = [msgspec.structs.replace(REJECTION, id=str(each)) for each in range(count)]
    await RejectionStore(database).add(refused)  # type: ignore[arg-type]
    assert sum(database[REJECTIONS].calls) == count
    assert max(database[REJECTIONS].calls) <= DOCUMENTS_A_CALL


async def test_no_call_grows_with_the_verdicts() -> None:
    database = Database()
    verdict = Verdict(0, "accepted", "r")
    told = [Verdicts(f"{each}", "c", 1, 0, 0, (verdict,)) for each in range(2 * DOCUMENTS_A_CALL + 1)]
    await JobStore(database).add(told)  # type: ignore[arg-type]
    assert sum(database[VERDICTS].calls) == len(told)
    assert max(database[VERDICTS].calls) <= DOCUMENTS_A_CALL
