"""`goodstrace fsck` on a real store that was tampered with by pymongo: what it says, what it writes, how it ends."""

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pymongo import MongoClient
from pymongo.database import Database

from goodstrace.note import Signer
from services.ledger.commands.fsck import fsck
from services.sealing.documents import Document
from services.sealing.fsck.faults import KINDS
from services.sealing.indexes import BLOCKS, CHECKPOINTS, HEADS, LOGS, PACKS, PAGES, PINS, RUNS, TILES
from services.sealing.operations import COLLECTION as OPERATIONS
from tests.memory_documents import MemoryDocuments, check_store
from tests.unit.sealing_bench import LOG
from tests.unit.test_fsck import ORIGIN, TAMPERED, saved_of, sealed_store, updated
from tests.unit.test_fsck_bytes import applied, changes_of

COLLECTIONS = (LOGS, BLOCKS, PACKS, PAGES, RUNS, TILES, CHECKPOINTS, HEADS, PINS)
EVERY = 331  # of the changes of every byte, which tests/unit/test_fsck_bytes.py makes all of, in memory
Answer = dict[str, Any]
Run = Callable[..., tuple[int, Answer]]


@pytest.fixture(scope="module")
def sealed() -> MemoryDocuments:
    return MemoryDocuments.of(sealed_store())


@pytest.fixture(scope="module")
def database(sealed: MemoryDocuments, mongo_uri: str) -> Iterator[Database[Document]]:
    """A database with the documents of two logs."""
    client: MongoClient[Document] = MongoClient(mongo_uri)
    database = client["fsck-tampered"]
    for collection, rows in sealed.collections.items():
        if rows:
            database[collection].insert_many(list(rows.values()))
    yield database
    client.close()


class Tampered:
    """The real store made what a changed copy in memory is, document by document, and back again."""

    def __init__(self, database: Database[Document], sealed: MemoryDocuments) -> None:
        self._database = database
        self._sealed = sealed
        self._changed: list[tuple[str, Any]] = []

    def be(self, other: MemoryDocuments) -> None:
        for collection in COLLECTIONS:
            before, after = self._sealed.collections[collection], other.collections[collection]
            for key in {*before, *after}:
                if repr(before.get(key)) != repr(after.get(key)):  # for Python False, 0 and 0.0 are equal
                    self._put(collection, key, after.get(key))
                    self._changed.append((collection, key))

    def restore(self) -> None:
        for collection in COLLECTIONS:
            before = self._sealed.collections[collection]
            for document in self._database[collection].find():
                if before.get(document["_id"]) != document:
                    self._changed.append((collection, document["_id"]))
        for collection, key in self._changed:
            self._put(collection, key, self._sealed.collections[collection].get(key))
        self._changed.clear()

    def _put(self, collection: str, key: Any, document: Document | None) -> None:
        self._database[collection].delete_one({"_id": key})
        if document is not None:
            self._database[collection].insert_one(dict(document))


@pytest.fixture
def tampered(database: Database[Document], sealed: MemoryDocuments) -> Iterator[Tampered]:
    changed = Tampered(database, sealed)
    yield changed
    changed.restore()


@pytest.fixture
def run(database: Database[Document], mongo_uri: str) -> Run:
    def run(*arguments: str) -> tuple[int, Answer]:
        environment = {"MONGODB_URI": mongo_uri, "GOODSTRACE_DATABASE": database.name}
        done = CliRunner().invoke(fsck, ["--json", *arguments], env=environment)
        assert done.exit_code in (0, 1, 2), (done.output, done.exception)
        return done.exit_code, json.loads(done.stdout) if done.stdout else {"stderr": done.stderr}

    return run


def places(answer: Answer) -> set[tuple[Any, ...]]:
    return {
        (fault["log"], fault["block"], fault["index"], fault["field"])
        for log in answer["logs"]
        for fault in log["faults"]
    }


def test_nothing_is_found_where_nobody_tampered(run: Run) -> None:
    code, answer = run()
    assert (code, answer["sound"], places(answer)) == (0, True, set())
    assert [(log["log"], log["blocks"], log["entries"]) for log in answer["logs"]] == [
        ("goods/0", 4, 7),
        ("goods/1", 4, 7),
    ]
    assert run("--jobs", "2")[1]["logs"] == answer["logs"]


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_named(
    sealed: MemoryDocuments, tampered: Tampered, run: Run, what: str
) -> None:
    change, wanted = TAMPERED[what]
    other = sealed.copy()
    change(other)
    tampered.be(other)
    code, answer = run()
    assert code == 1
    assert wanted in places(answer)
    assert {field for *_, field in places(answer)} == set(answer["kinds"])
    assert all(kind["hint"] for kind in answer["kinds"].values())


@pytest.mark.parametrize("collection", [BLOCKS, PACKS, PAGES, RUNS, TILES, CHECKPOINTS, HEADS, LOGS])
async def test_changed_bytes_are_named_as_in_memory(
    sealed: MemoryDocuments, tampered: Tampered, run: Run, collection: str
) -> None:
    """A sample of `every byte`: what the real store gives back is what the store in memory gives."""
    count = 0
    for change in islice(changes_of(sealed, collection), 5, None, EVERY):
        other = applied(sealed, change)
        expected = {
            (fault.log, fault.block, fault.index, fault.field)
            for verdict in await check_store(other)
            for fault in verdict.faults
        }
        tampered.be(other)
        code, answer = await asyncio.to_thread(run)
        assert (code, places(answer)) == (1, expected), change
        tampered.restore()
        count += 1
    print(f"\n{count} bytes of {collection} changed in the store, each found")


@pytest.mark.parametrize(
    "what",
    ["tile removed", "index row removed", "list of runs removed", "head removed", "pack of another place"],
)
def test_what_is_derived_is_repaired(
    sealed: MemoryDocuments, tampered: Tampered, run: Run, database: Database[Document], what: str
) -> None:
    other = sealed.copy()
    TAMPERED[what][0](other)
    tampered.be(other)
    assert run("--repair")[0] == 2  # nobody to ask: nothing is written
    code, answer = run("--repair", "--yes")
    assert (code, answer["sound"]) == (0, True)
    for collection in (BLOCKS, LOGS, PACKS, CHECKPOINTS):
        there = {each["_id"]: each for each in database[collection].find()}
        assert there == sealed.collections[collection]


def test_what_is_sealed_is_not_repaired(
    sealed: MemoryDocuments, tampered: Tampered, run: Run, database: Database[Document]
) -> None:
    other = sealed.copy()
    TAMPERED["two entries swapped"][0](other)
    TAMPERED["tile removed"][0](other)
    tampered.be(other)
    before = {name: list(database[name].find().sort("_id")) for name in COLLECTIONS}
    code, answer = run("--repair", "--yes")
    assert code == 1
    assert {"entry", "tile"} <= set(answer["kinds"])
    assert {name: list(database[name].find().sort("_id")) for name in COLLECTIONS} == before


def test_saved_checkpoints_keys_and_reports(
    sealed: MemoryDocuments, tampered: Tampered, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "saved").mkdir()
    saved_of(sealed, tmp_path / "saved")
    arguments = ("--against", str(tmp_path / "saved"), "--report", str(tmp_path / "report.json"))
    code, answer = run(*arguments)
    assert (code, answer["logs"][0]["saved"]) == (0, 3)
    assert json.loads((tmp_path / "report.json").read_text()) == answer
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "goods-0.vkey").write_text(Signer(ORIGIN, b"k" * 32).verifier.vkey())
    code, answer = run("--vkeys", str(keys), "--log", LOG)
    assert (code, answer["trusted_keys"]) == (1, True)
    assert {"key", "signature"} <= set(answer["kinds"])
    assert run("--against", str(keys))[0] == 2
    assert run("--log", "goods/9")[0] == 1


def test_another_kafka_is_noticed(run: Run, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the right one is sound is tested on a running system, in tests/system/test_tamper.py."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    code, answer = run("--kafka", "--log", LOG)
    assert (code, places(answer)) == (1, {(LOG, 3, None, "broker")})
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("services.sealing.fsck.broker.TIMEOUT_S", 1.0)
    assert run("--kafka", "--log", LOG)[0] == 2


def test_a_state_is_kept_only_while_there_is_more_to_do(run: Run, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert run("--state", str(state))[0] == 0
    assert not state.exists()
    state.write_text("junk")
    assert run("--state", str(state))[0] == 2


def test_a_store_that_is_evidence_is_not_written_to(run: Run, database: Database[Document]) -> None:
    def stored() -> dict[str, list[Document]]:
        names = database.list_collection_names()
        return {name: list(database[name].find().sort("_id", 1)) for name in sorted(names)}

    database.drop_collection(OPERATIONS)
    before = stored()
    assert run("--no-note")[0] == 0
    assert stored() == before
    assert run()[0] == 0
    assert database[OPERATIONS].count_documents({}) > 0
    assert run("--no-note", "--repair", "--yes")[0] == 2


def test_a_store_that_is_away_or_empty_is_told_from_a_faulty_one(mongo_uri: str) -> None:
    for uri, said in ((mongo_uri, "no logs"), ("mongodb://127.0.0.1:1/?directConnection=true", "MongoDB")):
        environment = {
            "MONGODB_URI": uri,
            "GOODSTRACE_DATABASE": "empty",
            "GOODSTRACE_MONGO_TIMEOUT_MS": "500",
        }
        done = CliRunner().invoke(fsck, [], env=environment)
        assert done.exit_code == 2
        assert said in done.output


def test_people_read_lines_with_places_and_hints(
    sealed: MemoryDocuments, tampered: Tampered, database: Database[Document], mongo_uri: str
) -> None:
    other = sealed.copy()
    updated(other, BLOCKS, f"{LOG}#1", leaves=b"\1" * 64)
    tampered.be(other)
    environment = {"MONGODB_URI": mongo_uri, "GOODSTRACE_DATABASE": database.name}
    done = CliRunner().invoke(fsck, [], env=environment)
    assert done.exit_code == 1
    assert "goods/0     FAULTY" in done.stdout
    assert "goods/0, block 1, root: " in done.stdout
    assert f"What to do: {KINDS['root'].hint}" in done.stdout
