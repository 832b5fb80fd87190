"""`goodstrace export`: logs as plain files, served by Python's own web server, verified from there without a store."""

import asyncio
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from goodstrace import tiles as tlog
from goodstrace.bundles import bundle_path, decode_bundle
from goodstrace.checkpoint import open_checkpoint
from goodstrace.merkle import leaf_hash, root_of
from goodstrace.note import Verifier
from goodstrace.tiles import TILE_WIDTH, tile_path, width_at
from services.ledger.commands.export import export
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings
from services.sealing.core import PACK_ENTRIES, LogState
from services.sealing.mongo import MongoBlockStore
from services.sealing.provision import provision
from tests.conftest import Names
from tests.deadlines import DEADLINE_S
from tests.go_programs import READER
from tests.integration.sealed_logs import SealedLog, entry
from tests.interop import static_logs

LARGE = 66_000


class Store:
    """A database with logs, and the command run on it."""

    def __init__(self, uri: str, database: str) -> None:
        self.settings = MongoSettings(uri=uri, database=database, timeout_ms=10_000)
        self.states: dict[str, LogState] = {}
        self.environment = {"MONGODB_URI": uri, "GOODSTRACE_DATABASE": database}

    def run(self, work: Callable[[Mongo], Awaitable[None]]) -> None:
        """Do something with the store."""

        async def opened() -> None:
            mongo = Mongo(self.settings)
            try:
                await provision(mongo.database)
                await work(mongo)
            finally:
                mongo.close()

        asyncio.run(opened())

    def grow(self, **sizes: int) -> None:
        """Seal each log up to a size; "goods_0" is goods/0."""

        async def build(mongo: Mongo) -> None:
            for name, size in sizes.items():
                log = SealedLog(MongoBlockStore(mongo.database), name.replace("_", "/"))
                log.state = self.states.get(log.name, log.state)
                await log.register()
                await log.grow(size)
                self.states[log.name] = log.state

        self.run(build)

    def change(self, collection: str, which: dict[str, Any], change: dict[str, Any]) -> None:
        """Alter a stored document."""

        async def write(mongo: Mongo) -> None:
            assert (await mongo.database[collection].update_one(which, change)).modified_count == 1

        self.run(write)

    def export(self, out: Path, *arguments: str, status: int = 0) -> Result:
        result = CliRunner().invoke(export, ["--out", str(out), *arguments], env=self.environment)
        assert result.exit_code == status, result.output
        return result

    def reports(self, out: Path, *arguments: str) -> dict[str, dict[str, Any]]:
        answer = json.loads(self.export(out, "--json", *arguments).stdout)
        return {each["log"]: each for each in answer["logs"]}


@pytest.fixture
def store(mongo_uri: str, names: Names) -> Store:
    return Store(mongo_uri, names.database)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        return bytes(answer.read())


def verified(base: str) -> dict[str, int]:
    """Verify all logs of a site, from their entries up; give their sizes. Nothing of a store is asked."""
    sizes = {}
    for log in json.loads(get(f"{base}/logs.json")):
        url = f"{base}/{log['url']}"
        checkpoint = open_checkpoint(get(f"{url}/checkpoint"), [Verifier.parse(log["vkey"])])
        leaves: list[bytes] = []
        for n in range(-(-checkpoint.size // TILE_WIDTH)):
            entries = decode_bundle(get(f"{url}/{bundle_path(n, width_at(checkpoint.size, 0, n))}"))
            leaves += map(leaf_hash, entries)
        assert root_of(leaves) == checkpoint.root
        _, tiles = tlog.TileEdge().append(leaves)
        for (level, n), data in tiles.items():
            assert get(f"{url}/{tile_path(level, n, len(data) // 32)}") == data
        sizes[log["name"]] = checkpoint.size
    return sizes


def read_by_others(url: str) -> dict[str, int]:
    """Verify all logs of a site by the reader that has no code of ours; give how many entries it hashed."""
    command = [str(READER.build()), "logs", "-url", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return {log["name"]: log["entries"] for log in json.loads(done.stdout)["logs"]}


def test_a_log_is_verified_from_its_files_alone(store: Store, tmp_path: Path) -> None:
    store.grow(goods_0=LARGE, goods_1=256, root=700)
    reports = store.reports(tmp_path)
    # Of goods/0: 257 full tiles and one partial at level 0, one full and one partial above, one partial at the top.
    assert (reports["goods/0"]["written"], reports["goods/0"]["kept"]) == (257 + 1 + 1 + 1 + 1 + 258 + 2, 0)
    with static_logs.serve(tmp_path) as base:
        assert verified(base) == {"goods/0": LARGE, "goods/1": 256, "root": 700}
        with pytest.raises(urllib.error.HTTPError):
            get(f"{base}/logs/goods/0/tile/0/258")
        assert read_by_others(f"{base}/logs.json") == {"goods/0": LARGE, "goods/1": 256, "root": 700}
    assert not [name for name in files(tmp_path) if "unfinished" in name]

    again = store.reports(tmp_path)
    assert [each["written"] for each in again.values()] == [0, 0, 0]
    assert again["goods/0"]["kept"] == reports["goods/0"]["written"]


def test_only_what_is_new_is_written_and_what_is_full_loses_its_parts(store: Store, tmp_path: Path) -> None:
    store.grow(goods_0=1000)
    store.export(tmp_path)
    log = tmp_path / "logs" / "goods" / "0"
    assert (log / "tile" / "0" / "003.p" / "232").exists()
    store.grow(goods_0=1500)
    report = store.reports(tmp_path, "--since-last")["goods/0"]
    # Tiles and bundles 3, 4 and 5, the tile above, the checkpoint.
    assert (report["written"], report["kept"]) == (8, 1)
    assert not (log / "tile" / "0" / "003.p").exists()
    assert not (log / "tile" / "entries" / "003.p").exists()
    assert (log / "tile" / "1" / "000.p" / "3").exists(), (
        "readers of the checkpoint before may still ask for it"
    )
    with static_logs.serve(tmp_path) as base:
        assert verified(base) == {"goods/0": 1500}
    assert store.reports(tmp_path)["goods/0"]["written"] == 0


def test_one_log_of_several(store: Store, tmp_path: Path) -> None:
    store.grow(goods_0=10, goods_1=20)
    store.export(tmp_path, "--log", "goods/1")
    assert [each["name"] for each in json.loads((tmp_path / "logs.json").read_text())] == ["goods/1"]
    store.export(tmp_path, "--log", "goods/0")
    with static_logs.serve(tmp_path) as base:
        assert verified(base) == {"goods/0": 10, "goods/1": 20}
    assert "goods/7" in store.export(tmp_path, "--log", "goods/7", status=1).output


def test_an_export_that_was_cut_off_goes_on(store: Store, tmp_path: Path) -> None:
    """Whatever was written before is kept; the checkpoint comes last, so a folder never promises what it has not."""
    store.grow(goods_0=1000)
    store.change("tiles", {"_id": "goods/0/0/2"}, {"$set": {"width": 255, "data": b"x" * 255 * 32}})
    assert "tile/0/002" in store.export(tmp_path, status=1).output
    assert not (tmp_path / "logs" / "goods" / "0" / "checkpoint").exists()
    assert not (tmp_path / "logs.json").exists()
    there = files(tmp_path)
    assert there >= {"logs/goods/0/tile/0/000", "logs/goods/0/tile/0/001"}

    leaves = b"".join(leaf_hash(entry("goods/0", index)) for index in range(512, 768))
    store.change("tiles", {"_id": "goods/0/0/2"}, {"$set": {"width": 256, "data": leaves}})
    assert store.reports(tmp_path)["goods/0"]["kept"] == len(there)
    with static_logs.serve(tmp_path) as base:
        assert verified(base) == {"goods/0": 1000}


@pytest.mark.parametrize(
    "name", ["tile/0/001", "tile/entries/001", "tile/1/000.p/3", "tile/entries/003.p/232"]
)
def test_damaged_files_are_replaced(store: Store, tmp_path: Path, name: str) -> None:
    store.grow(goods_0=1000)
    store.export(tmp_path)
    path = tmp_path / "logs" / "goods" / "0" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert store.reports(tmp_path)["goods/0"]["written"] == 1
    with static_logs.serve(tmp_path) as base:
        assert verified(base) == {"goods/0": 1000}


def test_a_log_that_was_rolled_back_or_forked_replaces_nothing(
    mongo_uri: str, names: Names, tmp_path: Path
) -> None:
    first, second = Store(mongo_uri, names.database), Store(mongo_uri, f"{names.database}-2")
    first.grow(goods_0=600)
    first.export(tmp_path)
    before = files(tmp_path)
    second.grow(goods_0=500)
    for arguments in ((), ("--since-last",)):
        assert "rolled back or forked" in second.export(tmp_path, *arguments, status=1).output
    assert files(tmp_path) == before
    with static_logs.serve(tmp_path) as base:
        assert verified(base) == {"goods/0": 600}


def test_entries_that_are_not_the_trees_are_not_written(store: Store, tmp_path: Path) -> None:
    store.grow(goods_0=600)
    packed = msgspec.msgpack.encode([b"forged"] * PACK_ENTRIES)
    store.change("packs", {"log": "goods/0", "first": 0}, {"$set": {"entries": packed}})
    told = store.export(tmp_path, status=1).output
    assert "goods/0: entries 0 to 255 are not the tree's" in told
    # Bundles are read side by side: one beside it, which is the tree's, may have been written before.
    there = files(tmp_path)
    assert not {"logs/goods/0/tile/entries/000", "logs/goods/0/checkpoint"} & there
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"forged" in path.read_bytes()]


def test_no_log_is_no_failure(store: Store, tmp_path: Path) -> None:
    assert "nothing was exported" in store.export(tmp_path).output
