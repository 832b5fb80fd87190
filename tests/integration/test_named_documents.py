"""Documents are read and deleted by any number of names, a few in a call, and all that match page by page."""

import pytest
from pymongo.errors import AutoReconnect

from services.runtime.errors import UnavailableError
from services.runtime.mongo import (
    NAMES_A_CALL,
    Collection,
    Database,
    Mongo,
    OutOfTimeError,
    delete_named,
    find_named,
    find_pages,
    within,
)
from services.sealing.core import LogState
from services.sealing.indexes import PAGES
from services.sealing.mongo import MongoBlockStore
from services.sealing.provision import provision
from services.sealing.tag_index import Page, page_name
from tests.integration.test_block_store import LOG, make_block, seal, sign

THINGS = "things"


@pytest.fixture
async def database(mongo: Mongo) -> Database:
    await provision(mongo.database)
    return mongo.database


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.fixture
async def things(database: Database) -> Database:
    rows = [{"_id": name(number), "of": number // 2, "is": "there"} for number in range(2 * NAMES_A_CALL + 2)]
    await database[THINGS].insert_many(rows)
    return database


def cut_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Let the connection break at the call with this number, from 1, and no other."""
    deleted, calls = Collection.delete_many, iter(range(1, 1000))

    async def delete(self: Collection, *arguments: object) -> object:
        if next(calls) == call:
            raise AutoReconnect("cut")
        return await deleted(self, *arguments)

    monkeypatch.setattr(Collection, "delete_many", delete)


@pytest.mark.parametrize("count", [0, 1, NAMES_A_CALL, NAMES_A_CALL + 1, 2 * NAMES_A_CALL + 1])
async def test_as_many_are_found_as_are_named(things: Database, count: int) -> None:
    asked = [name(number) for number in range(count)]
    found = await find_named(things, THINGS, [*asked, *asked, name(10_000)], {"of": 1})
    assert sorted(found, key=lambda row: row["_id"]) == [
        {"_id": each, "of": number // 2} for number, each in enumerate(asked)
    ]


async def test_they_are_named_by_another_field(things: Database) -> None:
    found = await find_named(things, THINGS, range(NAMES_A_CALL + 1), by="of")
    assert len(found) == 2 * (NAMES_A_CALL + 1)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 9, 10])
@pytest.mark.parametrize("size", [1, 5, 1_000])
async def test_all_that_match_come_once_and_at_most_so_many_at_a_time(
    things: Database, count: int, size: int
) -> None:
    query = {"of": {"$lt": count}}
    pages = [page async for page in find_pages(things, THINGS, query, {"of": 1}, size=size)]
    assert [row for page in pages for row in page] == [
        {"_id": name(number), "of": number // 2} for number in range(2 * count)
    ]
    assert all(len(page) == size for page in pages[:-1])
    assert all(0 < len(page) <= size for page in pages)


async def test_what_is_changed_or_deleted_between_pages_holds_up_no_others(things: Database) -> None:
    found = []
    async for page in find_pages(things, THINGS, {"is": "there"}, size=7):
        found += [row["_id"] for row in page]
        await things[THINGS].delete_many({"_id": {"$in": found}})
    assert found == [name(number) for number in range(2 * NAMES_A_CALL + 2)]


async def test_a_bound_holds_for_all_calls_together(things: Database) -> None:
    with within(0.0001), pytest.raises(OutOfTimeError):
        await find_named(things, THINGS, [name(number) for number in range(3 * NAMES_A_CALL)])


async def test_the_first_ones_are_deleted_first(things: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_at(monkeypatch, 2)
    asked = [name(number) for number in range(2 * NAMES_A_CALL + 1)]
    with pytest.raises(UnavailableError, match="cut"):
        await delete_named(things, THINGS, asked)
    left = {row["_id"] for row in await find_named(things, THINGS, asked)}
    assert left == set(asked[NAMES_A_CALL:])
    await delete_named(things, THINGS, asked)
    assert not await find_named(things, THINGS, asked)


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_pages_that_nobody_names_go_however_often_it_is_cut(
    database: Database, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    store = MongoBlockStore(database)
    state = await seal(store, LogState(LOG, 0), 20)
    block, lost = make_block(state, 20, epoch="mine"), make_block(state, 30, epoch="lost")
    await store.put_packs([*block.packs, *lost.packs])
    await store.insert_block(sign(block))
    first = await store.block(LOG, 0)
    assert first is not None
    run, pages = lost.packs[0].id, 2 * NAMES_A_CALL
    page = Page(bits=pages.bit_length(), rows=1, chunks=2, data=b"")
    chunks = [page_name(run, number, chunk) for number in range(1 << page.bits) for chunk in range(2)]
    kept = await database[PAGES].count_documents({})
    await store.put_pages(dict.fromkeys(chunks, page))
    with monkeypatch.context() as patched:
        cut_at(patched, cut)
        with pytest.raises(UnavailableError, match="cut"):
            await store.remove_orphans([first, sign(block)])
    await store.remove_orphans([first, sign(block)])
    assert await database[PAGES].count_documents({}) == kept
