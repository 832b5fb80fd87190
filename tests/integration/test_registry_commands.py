"""`goodstrace registry` against the collector's API: goods and places from files, listed, shown, refused."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from fastapi import FastAPI, Response

from goodstrace.cli.main import cli
from services.runtime.http import HttpServer
from tests.unit.registry_builders import registry

PICTURE = b"\x89PNG and so on"


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(
        HttpServer(app, "127.0.0.1", 0, max_connections=20, drain_s=1).run(stop, port.set_result)
    )
    try:
        yield f"http://127.0.0.1:{await port}"
    finally:
        stop.set()
        await running


def shop() -> FastAPI:
    app = FastAPI()

    @app.get("/tea.png")
    def picture() -> Response:
        return Response(PICTURE)

    return app


async def run(url: str, key: str, *arguments: str) -> Result:
    environment = {"GOODSTRACE_CAPTURE_URL": url, "GOODSTRACE_API_KEY": key}
    return await asyncio.to_thread(lambda: CliRunner(env=environment).invoke(cli, ["registry", *arguments]))


async def test_goods_and_places_are_registered_from_files_and_shown(tmp_path: Path) -> None:
    goods, places = tmp_path / "goods.csv", tmp_path / "places.json"
    async with registry() as here, serving(here.running.app) as url, serving(shop()) as pictures:
        _, key = await here.merchant(prefixes=["0614141"])
        rows = [f"1061414107346{each},Tea {each},{pictures}/tea.png" for each in (4,)]
        goods.write_text("\n".join(["gtin,name.en,pictures", *rows, "40123455,Foreign,"]) + "\n")
        places.write_text(json.dumps([{"gln": "0614141073467", "names": {"de": "Werk"}, "city": "Bern"}]))

        nothing = await run(url, key, "goods", "list")
        assert (nothing.exit_code, nothing.stdout) == (0, "")
        assert "no goods are registered: goodstrace registry goods put FILE" in nothing.stderr
        dry = await run(url, key, "goods", "put", "--dry-run", str(goods))
        assert (dry.exit_code, "2 of 2" in dry.output, here.kafka.values("goods.collected")[1:]) == (
            0,
            True,
            [],
        )
        put = await run(url, key, "goods", "put", "--json", str(goods))
        assert put.exit_code == 1
        first, foreign = json.loads(put.stdout)["registered"]
        assert first["key"] == "https://id.gs1.org/01/10614141073464"
        assert (foreign["place"], "403" in foreign["fault"]) == ("goods.csv: line 3", True)
        again = json.loads((await run(url, key, "goods", "put", "--json", str(goods))).stdout)["registered"]
        assert again[0]["record"] == first["record"]

        assert (await run(url, key, "places", "put", str(places))).exit_code == 0
        assert (
            await run(url, key, "places", "list")
        ).output == "https://id.gs1.org/414/0614141073467  Werk\n"
        listed = json.loads((await run(url, key, "goods", "list", "--json")).stdout)["goods"]
        assert [each["key"] for each in listed] == [first["key"]]
        shown = json.loads((await run(url, key, "goods", "show", "10614141073464", "--json")).stdout)
        digest = hashlib.sha256(PICTURE).hexdigest()
        assert shown["content"]["pictures"] == [{"uri": f"{pictures}/tea.png", "sha256": digest}]
        missing = await run(url, key, "places", "show", "4012345000009")
        assert missing.exit_code == 1


async def test_what_cannot_be_had_or_read_is_said_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "goods.json"
    told: list[dict[str, Any]] = [
        {"key": "urn:a:1", "names": {"en": "A"}, "pictures": [each]}
        for each in ("http://127.0.0.1:1/x", "file:///etc/passwd", "http://[", "/x")
    ]
    file.write_text(json.dumps(told))
    async with registry() as here, serving(here.running.app) as url:
        _, key = await here.merchant(everything=True)
        put = await run(url, key, "goods", "put", str(file))
        assert (put.exit_code, put.output.count("refused   goods.json"), "0 of 4" in put.output) == (
            1,
            4,
            True,
        )
        file.write_bytes(b"\xff")
        assert (await run(url, key, "goods", "put", str(file))).exit_code == 1
        helped = (await run(url, key, "--help")).output
        assert "gtin,name.en" in helped
