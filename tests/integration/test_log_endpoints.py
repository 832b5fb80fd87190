"""The public logs over real HTTP from a real store: C2SP tlog-tiles, strictly, and nothing beyond what is published."""

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import httpx
import pymongo.monitoring
import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace import tiles as tlog
from goodstrace.bundles import bundle_path, decode_bundle, encode_bundle
from goodstrace.checkpoint import Checkpoint, open_checkpoint
from goodstrace.merkle import HASH_SIZE, leaf_hash, root_of, verify_consistency, verify_inclusion
from goodstrace.note import Verifier
from goodstrace.tiles import TILE_WIDTH, Tile, tile_path, width_at
from services.query.http_app import make_app
from services.query.log_endpoints import LogEndpoints
from services.query.metrics import QueryMetrics
from services.runtime.http import HttpServer
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings
from services.sealing.bundles import EntryReader
from services.sealing.mongo import MongoBlockStore
from services.sealing.provision import provision
from services.sealing.reader import LogReader
from tests.integration.sealed_logs import SealedLog, entry
from tests.open_guard import open_guard

SIZES = {"goods/0": 0, "goods/1": 1, "goods/2": 255, "goods/3": 256, "goods/10": 257, "root": 66_000}
DATABASE = "log-endpoints"
FOREVER = "public, max-age=31536000, immutable"


class Calls(pymongo.monitoring.CommandListener):
    """Counts what is asked of the store."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
        if event.database_name == DATABASE:
            self.counts[event.command_name] += 1

    def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None:
        """Not counted."""

    def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None:
        """Not counted."""


CALLS = Calls()
pymongo.monitoring.register(CALLS)


@pytest.fixture(scope="module")
def settings(mongo_uri: str) -> MongoSettings:
    """A database with a log of each size; one more, "ahead/0", is sealed further than it is published,
    and "waiting/0" is signed and waits for its witnesses.
    """
    made = MongoSettings(uri=mongo_uri, database=DATABASE, timeout_ms=10_000)

    async def build() -> None:
        mongo = Mongo(made)
        await provision(mongo.database)
        store = MongoBlockStore(mongo.database)
        for name, size in SIZES.items():
            log = SealedLog(store, name)
            await log.register()
            await log.grow(size)
        ahead = SealedLog(store, "ahead/0")
        await ahead.register()
        await ahead.grow(250)
        await ahead.write(range(250, 600))
        waiting = SealedLog(store, "waiting/0")
        await waiting.register()
        await waiting.write(range(5))
        await waiting.publish(cosigned=False)
        mongo.close()

    asyncio.run(build())
    return made


class Served:
    """The endpoints on a port of their own, and a client."""

    def __init__(self, mongo: Mongo, client: httpx.AsyncClient, registry: CollectorRegistry) -> None:
        self.mongo, self.client, self.registry = mongo, client, registry

    async def get(self, path: str, status: int = 200, /, **headers: str) -> httpx.Response:
        answer = await self.client.get(path, headers={"Accept-Encoding": "identity", **headers})
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text[:200]}"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        return answer

    async def checkpoint(self, log: str) -> Checkpoint:
        vkey = SealedLog(MongoBlockStore(self.mongo.database), log).vkey
        note = (await self.get(f"/logs/{log}/checkpoint")).text
        return open_checkpoint(note, [Verifier.parse(vkey)])

    async def tiles(self, log: str, wanted: set[Tile]) -> dict[tuple[int, int], bytes]:
        return {
            (tile.level, tile.n): (await self.get(f"/logs/{log}/{tile_path(*tile)}")).content
            for tile in wanted
        }


async def serve(settings: MongoSettings, public_url: str = "", timeout_s: float = 5) -> AsyncIterator[Served]:
    mongo, registry = Mongo(settings), CollectorRegistry()
    reader = LogReader(mongo.database)
    endpoints = LogEndpoints(
        reader,
        EntryReader(mongo.database, reader),
        public_url=public_url,
        timeout_s=timeout_s,
        metrics=QueryMetrics(registry),
        log=structlog.get_logger(),
    )
    server = HttpServer(make_app(endpoints, open_guard()), "127.0.0.1", 0, max_connections=50, drain_s=1)
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(server.run(stop, port.set_result))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{await port}") as client:
        yield Served(mongo, client, registry)
    stop.set()
    await running
    mongo.close()


@pytest.fixture
async def served(settings: MongoSettings) -> AsyncIterator[Served]:
    async for each in serve(settings):
        yield each


def all_tiles(size: int) -> Iterator[Tile]:
    return iter(tlog.changed_tiles(0, size))


async def test_the_list_names_the_logs_that_can_be_read(served: Served) -> None:
    store = MongoBlockStore(served.mongo.database)
    answer = await served.get("/logs")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-cache"
    listed = {each["name"]: each for each in answer.json()}
    assert listed.pop("waiting/0")["vkey"] == SealedLog(store, "waiting/0").vkey, (
        "witnesses find its key here"
    )
    await served.get("/logs/waiting/0/checkpoint", 404)
    assert set(listed) == {"ahead/0", *(name for name, size in SIZES.items() if size)}
    for name, each in listed.items():
        log = SealedLog(store, name)
        url = f"{served.client.base_url}".rstrip("/") + f"/logs/{name}"
        assert each == {"name": name, "origin": log.signer.name, "vkey": log.vkey, "url": url}
        assert (await served.client.get(f"{each['url']}/checkpoint")).status_code == 200
    page = await served.get("/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "66000" in page.text
    assert (await served.get("/logs/goods/0/keys")).json() == [
        {"vkey": SealedLog(store, "goods/0").vkey, "from_height": 0}
    ]


async def test_the_urls_are_those_of_the_proxy_before_us(settings: MongoSettings) -> None:
    async for served in serve(settings, "https://logs.example.com/trace"):
        urls = {each["url"] for each in (await served.get("/logs")).json()}
        assert "https://logs.example.com/trace/logs/root" in urls


async def test_a_host_that_is_none_gets_into_no_url(served: Served) -> None:
    answer = await served.get("/logs", Host='evil"/><script>')
    assert all(each["url"].startswith("http://127.0.0.1:") for each in answer.json())


@pytest.mark.parametrize("log", [name for name, size in SIZES.items() if 0 < size < 1000])
async def test_a_small_log_verifies_whole(served: Served, log: str) -> None:
    checkpoint = await served.checkpoint(log)
    assert checkpoint.size == SIZES[log]
    entries: list[bytes] = []
    for n in range(-(-checkpoint.size // TILE_WIDTH)):
        path = bundle_path(n, width_at(checkpoint.size, 0, n))
        entries += decode_bundle((await served.get(f"/logs/{log}/{path}")).content)
    assert entries == [entry(log, index) for index in range(checkpoint.size)]
    assert root_of([leaf_hash(each) for each in entries]) == checkpoint.root
    data = await served.tiles(log, set(all_tiles(checkpoint.size)))
    assert tlog.root(checkpoint.size, data) == checkpoint.root


async def test_a_large_log_is_proved_from_its_tiles(served: Served) -> None:
    checkpoint = await served.checkpoint("root")
    data = await served.tiles("root", tlog.edge_tiles(checkpoint.size))
    assert tlog.root(checkpoint.size, data) == checkpoint.root
    for index in (0, 255, 256, 65_535, 65_536, 65_999):
        data = await served.tiles("root", tlog.tiles_for_inclusion(index, checkpoint.size))
        proof = tlog.inclusion_proof(index, checkpoint.size, data)
        verify_inclusion(leaf_hash(entry("root", index)), index, checkpoint.size, proof, checkpoint.root)
    bundle = decode_bundle((await served.get("/logs/root/tile/entries/257.p/208")).content)
    assert bundle == [entry("root", index) for index in range(257 * 256, 66_000)]


async def test_headers_of_what_never_changes(served: Served) -> None:
    for path in (
        "tile/0/000",
        "tile/0/x000/000",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/257.p/3",
    ):
        answer = await served.get(f"/logs/root/{path}", 404 if "x000" in path else 200)
        if answer.status_code == 200:
            assert answer.headers["Content-Type"] == "application/octet-stream"
            assert answer.headers["Cache-Control"] == FOREVER
            head = await served.client.head(f"/logs/root/{path}", headers={"Accept-Encoding": "identity"})
            assert head.content == b""
            assert head.headers["Content-Length"] == answer.headers["Content-Length"]
        else:
            assert answer.headers["Cache-Control"] == "no-store"


async def test_a_checkpoint_is_asked_for_again_and_sent_once(served: Served) -> None:
    first = await served.get("/logs/root/checkpoint")
    assert first.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert first.headers["Cache-Control"] == "no-cache"
    etag = first.headers["ETag"]
    for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await served.get("/logs/root/checkpoint", 304, **{"If-None-Match": header})
        assert again.content == b""
        assert again.headers["ETag"] == etag
    assert (
        await served.get("/logs/root/checkpoint", **{"If-None-Match": '"other"'})
    ).content == first.content


@pytest.mark.parametrize(
    ("log", "size"), [(name, size) for name, size in SIZES.items() if size in (255, 257)]
)
async def test_partial_ones_are_as_wide_as_asked_up_to_what_is_there(
    served: Served, log: str, size: int
) -> None:
    whole = [entry(log, index) for index in range(size)]
    for n in range(2):
        there = width_at(size, 0, n)
        for width in {1, 2, 100, 254, 255, there, there + 1} - {0, 256, 257}:
            of_tile, of_bundle = (
                f"/logs/{log}/{tile_path(0, n, width)}",
                f"/logs/{log}/{bundle_path(n, width)}",
            )
            if width > there:
                assert "beyond the tree" in (await served.get(of_tile, 404)).text
                assert (await served.get(of_bundle, 404)).headers["Cache-Control"] == "no-store"
            else:
                entries = whole[n * 256 : n * 256 + width]
                assert (await served.get(of_tile)).content == b"".join(map(leaf_hash, entries))
                assert (await served.get(of_bundle)).content == encode_bundle(entries)


async def test_nothing_is_served_before_it_is_published(served: Served) -> None:
    assert (await served.checkpoint("ahead/0")).size == 250
    for path in ("tile/0/000", "tile/0/000.p/251", "tile/0/001.p/1", "tile/1/000.p/1", "tile/entries/000"):
        await served.get(f"/logs/ahead/0/{path}", 404)
    tile = await served.get("/logs/ahead/0/tile/0/000.p/250")
    assert len(tile.content) == 250 * HASH_SIZE
    assert len(decode_bundle((await served.get("/logs/ahead/0/tile/entries/000.p/250")).content)) == 250


NOWHERE = [
    "/logs/",
    "/logs/root",
    "/logs/root/",
    "/logs/root/checkpoint/",
    "//logs/root/checkpoint",
    "/logs//root/checkpoint",
    "/logs/root/%63heckpoint",
    "/logs/goods%2F1/checkpoint",
    "/logs/goods/01/checkpoint",
    "/logs/Root/checkpoint",
    "/logs/other/checkpoint",
    "/logs/goods/0/checkpoint",  # registered, empty
    "/logs/goods/0/tile/0/000.p/1",
    "/logs/root/tile/0/000.p/0",
    "/logs/root/tile/0/000.p/01",
    "/logs/root/tile/0/000.p/256",
    "/logs/root/tile/0/000.p/",
    "/logs/root/tile/0/000/",
    "/logs/root/tile/0/0",
    "/logs/root/tile/0/00",
    "/logs/root/tile/0/0000",
    "/logs/root/tile/0/x000/000",
    "/logs/root/tile/0/x000",
    "/logs/root/tile/00/000",
    "/logs/root/tile/64/000",
    "/logs/root/tile/-1/000",
    "/logs/root/tile/63/000",
    "/logs/root/tile/0/258",
    "/logs/root/tile/0/x999/x999/x999/x999/x999/999",
    "/logs/root/tile/0/xx00/000",
    "/logs/root/tile/entries/000.p/256",
    "/logs/root/tile/entries/x000/000",
    "/logs/root/tile/8/000",
    "/logs/root/../root/checkpoint",
    "/favicon.ico",
    f"/logs/root/{'x' * 5000}",
]


async def test_any_other_path_is_not_there(served: Served) -> None:
    for path in NOWHERE:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.client.base_url.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.1 404 "), (path, head)
        assert b"content-type: text/plain; charset=utf-8" in head.lower()
        assert body.count(b"\n") == 1


async def test_the_logs_are_read_only(served: Served) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        for path in ("/", "/logs", "/logs/root/checkpoint"):
            answer = await served.client.request(method, path)
            assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


async def test_bundles_and_lists_are_compressed_for_whom_takes_it(served: Served) -> None:
    for path in ("/logs/root/tile/entries/000", "/logs", "/logs/root/keys"):
        plain = await served.get(path)
        assert "Content-Encoding" not in plain.headers
        packed = await served.get(path, **{"Accept-Encoding": "br, gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
        assert packed.content == plain.content
        refused = await served.get(path, **{"Accept-Encoding": "gzip;q=0"})
        assert "Content-Encoding" not in refused.headers
    raw = await served.client.send(
        served.client.build_request(
            "GET", "/logs/root/tile/entries/000", headers={"Accept-Encoding": "gzip"}
        ),
        stream=True,
    )
    body = b"".join([chunk async for chunk in raw.aiter_raw()])
    assert len(body) < len(gzip.decompress(body)) / 3
    assert (
        "Content-Encoding"
        not in (await served.get("/logs/root/tile/0/000", **{"Accept-Encoding": "gzip"})).headers
    )


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/000", "tile/entries/000", "tile/entries/000.p/7"])
async def test_a_request_costs_the_same_however_large_the_log(served: Served, path: str) -> None:
    costs = []
    for log in ("goods/3", "root"):
        CALLS.counts.clear()
        await served.get(f"/logs/{log}/{path}")
        costs.append(dict(CALLS.counts))
    assert costs[0] == costs[1]
    assert sum(costs[0].values()) <= 2


async def test_a_log_that_grows_while_it_is_read(served: Served) -> None:
    """What a reader knows of an older checkpoint stays readable, and the newer tree begins with it."""
    log = SealedLog(MongoBlockStore(served.mongo.database), "grows/0")
    await log.register()
    await log.grow(200)
    before = await served.checkpoint(log.name)
    partial = (await served.get(f"/logs/{log.name}/tile/0/000.p/200")).content

    async def growing() -> None:
        for size in range(250, 1200, 50):
            await log.grow(size)

    writing = asyncio.create_task(growing())
    while not writing.done():
        now = await served.checkpoint(log.name)
        data = await served.tiles(log.name, tlog.tiles_for_consistency(before.size, now.size))
        proof = tlog.consistency_proof(before.size, now.size, data)
        verify_consistency(before.size, before.root, now.size, now.root, proof)
        n, width = divmod(now.size, TILE_WIDTH)
        if width:
            bundle = (await served.get(f"/logs/{log.name}/{bundle_path(n, width)}")).content
            assert decode_bundle(bundle)[-1] == entry(log.name, now.size - 1)
        before = now
    await writing
    assert (await served.get(f"/logs/{log.name}/tile/0/000.p/200")).content == partial
    assert before.size > 200


async def test_packs_that_no_block_names_change_nothing(served: Served) -> None:
    log = SealedLog(MongoBlockStore(served.mongo.database), "orphans/0")
    await log.register()
    await log.grow(40, block_entries=20)
    packs = served.mongo.database["packs"]
    orphan = await packs.find_one({"log": log.name, "first": 20})
    assert orphan is not None
    orphan["_id"], orphan["first"] = "orphan", 25
    await packs.insert_one(orphan)
    bundle = (await served.get(f"/logs/{log.name}/tile/entries/000.p/40")).content
    assert decode_bundle(bundle) == [entry(log.name, index) for index in range(40)]


async def test_what_is_stored_wrongly_is_said_and_not_served(served: Served) -> None:
    log = SealedLog(MongoBlockStore(served.mongo.database), "broken/0")
    await log.register()
    await log.grow(300, block_entries=30)
    await served.mongo.database["tiles"].delete_one({"_id": f"{log.name}/0/1"})
    await served.mongo.database["packs"].delete_one({"log": log.name, "first": 270})
    for path in ("tile/0/001.p/44", "tile/entries/001.p/44"):
        answer = await served.get(f"/logs/{log.name}/{path}", 500)
        assert "tell the operator" in answer.text
        assert log.name not in answer.text
    assert (
        served.registry.get_sample_value(
            "goodstrace_query_log_requests_total", {"kind": "tile", "code": "500"}
        )
        == 1
    )


async def test_a_store_that_is_away(settings: MongoSettings) -> None:
    away = settings.model_copy(update={"uri": "mongodb://127.0.0.1:1", "timeout_ms": 200})
    async for served in serve(away, timeout_s=0.2):
        for path in ("/", "/logs", "/logs/root/checkpoint", "/logs/root/tile/0/000", "/logs/root/keys"):
            answer = await served.get(path, 503)
            assert answer.headers["Retry-After"] == "2"
            assert "127.0.0.1" not in answer.text


async def test_requests_are_counted_by_kind_and_status(served: Served) -> None:
    def counted(kind: str, code: str) -> float | None:
        labels = {"kind": kind, "code": code}
        return served.registry.get_sample_value("goodstrace_query_log_requests_total", labels)

    assert counted("tile", "404") == 0
    await served.get("/logs/root/tile/0/000")
    await served.get("/logs/root/tile/0/999", 404)
    await served.get("/nothing", 404)
    assert (counted("tile", "200"), counted("tile", "404"), counted("other", "404")) == (1, 1, 1)
    sent = served.registry.get_sample_value("goodstrace_query_log_response_bytes_total", {"kind": "tile"})
    assert sent is not None
    assert sent > tlog.TILE_BYTES
