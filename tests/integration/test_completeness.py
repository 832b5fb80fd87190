"""Proofs of completeness by the query service as a process, over logs and an index in a real store: whole, recorded, bounded."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from goodstrace.client import Client, Trace
from goodstrace.errors import CallError, LeftOutError
from goodstrace.log_keys import LogKeys
from services.runtime.envelope import Record
from services.sealing.indexes import INDEX_PAGES, PAGES
from tests.integration.indexing import covered, indexed
from tests.integration.looking import Looking, eventually
from tests.unit.collector_builders import (
    counted,
    document,
    object_event,
    processed_document,
)

ITEM = "https://id.gs1.org/01/09521234543213/21/{}"


def client_of(looking: Looking, **options: str) -> Client:
    return Client(looking.query_target, LogKeys.load(looking.key_dir), **options)


async def traced(looking: Looking, key: str, *, must: bool = True) -> Trace:
    with client_of(looking) as client:
        return await asyncio.to_thread(client.trace, key, complete=must or None)


def records_of(first: int, count: int) -> list[Record]:
    """Events of thirty items, taken through the collector's own stages."""
    events = [
        object_event(
            eventID=f"urn:uuid:{number:08x}-2222-4333-8444-555555555555",
            epcList=[f"urn:epc:id:sgtin:9521234.054321.{number % 30}"],
        )
        for number in range(first, first + count)
    ]
    return [item.record for item in processed_document(document(*events), random=counted(first * 10))]


async def seal(looking: Looking, first: int, count: int) -> None:
    records = records_of(first, count)
    await looking.seal({0: records[::2], 1: records[1::2]})


async def test_traces_are_complete_and_recorded(looking: Looking, tell: Callable[[str], None]) -> None:
    await seal(looking, 0, 200)
    await looking.start("query")
    before = await traced(looking, ITEM.format(1), must=False)
    assert before.complete is None, "there is no index yet"
    assert before.incomplete_because
    async with indexed(looking):
        leaf = await covered(looking)
        answer = await traced(looking, ITEM.format(1))
        assert answer.complete is not None
        assert answer.complete.sizes == leaf.sizes() == {"goods/0": 100, "goods/1": 100}
        assert answer.complete.root_size == leaf.root.size
        assert len(answer.events) == 7
        nothing = await traced(looking, "urn:nobody:knows")
        assert nothing.events == ()
        assert nothing.complete is not None
        assert nothing.complete.rows == 0

        await seal(looking, 200, 100)
        await covered(looking)
        again = await traced(looking, ITEM.format(1))
        assert again.complete is not None
        assert again.complete.sizes == {"goods/0": 150, "goods/1": 150}
        with client_of(looking) as client:
            as_of = {"goods/0": 100, "goods/1": 100}
            earlier = await asyncio.to_thread(client.trace, ITEM.format(1), as_of=as_of, complete=True)
        assert earlier.complete is not None
        assert [each.event.identity for each in earlier.events] == [
            each.event.identity for each in answer.events
        ]
        assert earlier.complete.sizes == {"goods/0": 100, "goods/1": 100}
    looks = [look["what"] for look in await looking.looks()]
    proofs = [look for look in looks if look["method"] == "ProveComplete"]
    assert any(ITEM.format(1) in look["keys"] for look in proofs)
    assert all([each["log"] for each in look["checkpoints"]] == ["index"] for look in proofs)
    tell(
        f"complete trace over the wire: {again.complete.names} names, {again.complete.rows} rows, "
        f"{again.complete.proof_bytes} B of proofs"
    )


async def test_a_store_that_hides_an_event_is_caught(looking: Looking) -> None:
    """The index by tag does not lead to some events any more: the service does not find them, and the client notices."""
    await seal(looking, 0, 60)
    async with indexed(looking):
        await covered(looking)
    await looking.start("query")
    random_ = random.Random(5)
    key = ITEM.format(3)
    assert len((await traced(looking, key)).events) == 2
    pages = looking.mongo.database[PAGES]
    tags = set(records_of(3, 1)[0].tags)
    hidden = random_.choice(["goods/0", "goods/1"])
    async for page in pages.find({}):
        rows = [page["data"][at : at + 16] for at in range(0, len(page["data"]), 16)]
        kept = [row for row in rows if not any(row[:10] == tag[:10] for tag in tags)]
        if len(kept) < len(rows) and page["_id"].startswith(hidden):
            await pages.update_one({"_id": page["_id"]}, {"$set": {"data": b"".join(kept)}})
    await asyncio.to_thread(looking.daemons["query"].stop)
    await looking.start("query")
    with pytest.raises(LeftOutError, match=f"leaves out {hidden}"):
        await traced(looking, key)


async def test_who_is_elsewhere_needs_the_token(looking: Looking, tmp_path: Path) -> None:
    await seal(looking, 0, 10)
    (tmp_path / "token").write_text("let me in\n")
    looking.daemons["query"].environment["GOODSTRACE_INDEX_TOKEN_FILE"] = str(tmp_path / "token")  # type: ignore[index]
    async with indexed(looking):
        await covered(looking)
        await looking.start("query")
        with client_of(looking) as client, pytest.raises(CallError, match="PERMISSION_DENIED"):
            await asyncio.to_thread(client.trace, ITEM.format(1), complete=True)
        with client_of(looking, index_token="let me in") as client:
            assert (await asyncio.to_thread(client.trace, ITEM.format(1), complete=True)).complete


async def test_what_a_complete_look_costs(looking: Looking, tell: Callable[[str], None]) -> None:
    await seal(looking, 0, 2000)
    async with indexed(looking):
        await covered(looking)
    await looking.start("query")
    with client_of(looking) as client:

        def cost(*, complete: bool) -> float:
            times = []
            for n in range(20):
                began = time.perf_counter()
                client.trace(f"urn:nobody:knows:{n}", complete=complete)
                times.append((time.perf_counter() - began) * 1000)
            return statistics.median(times)

        plain = await asyncio.to_thread(cost, complete=False)
        proved = await asyncio.to_thread(cost, complete=True)
    pages = await looking.mongo.database[INDEX_PAGES].count_documents({})
    tell(
        f"an unknown key over 2000 events: {plain:.1f} ms a trace, {proved:.1f} ms with the proof that it is empty "
        f"(median, browse records included); {pages} documents of runs"
    )
    assert await eventually(lambda: _answers(looking), "it still answers")


async def _answers(looking: Looking) -> bool:
    return (await traced(looking, ITEM.format(2))).complete is not None
