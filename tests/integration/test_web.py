"""The web pages of the query service as a process: a Digital Link opened, the look recorded in Kafka, the proof checked offline."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deploy.stack import Stack
from goodstrace import proof_bundle
from goodstrace.log_keys import LogKeys
from tests.conftest import Names
from tests.integration.looking import Looking, parts_of
from tests.unit.collector_builders import SECRET
from tests.web_world import EVENTS, ITEM_KEY, ITEM_PATH, registrations, sealed


@pytest.fixture
async def looking(stack: Stack, tmp_path: Path, names: Names) -> AsyncIterator[Looking]:
    made = Looking(stack, tmp_path, names)
    made.secret = SECRET  # that of the stages which make these records
    (made.key_dir / "index-secret").write_text(SECRET.hex())
    await made.prepare()
    yield made
    made.stop()


async def test_a_scan_shows_the_trace_recorded_and_proved(looking: Looking) -> None:
    events = [sealed(event, merchant, str(number)) for number, (merchant, event) in enumerate(EVENTS)]
    await looking.seal({0: registrations(), 1: events})
    await looking.start("query")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{looking.log_port}", timeout=30) as http:
        home = await http.get("/", headers={"Accept-Language": "zh-TW"})
        assert "它從哪裡來" in home.text
        page = await http.get(ITEM_PATH)
        assert page.status_code == 200
        assert "Lofoten sea farm" in page.text
        assert (await http.get("/logs")).json()[0]["name"] == "goods/0"
        data = (await http.get("/bundle", params={"key": ITEM_KEY})).content
    keys = LogKeys.parse([info.vkey for info in await looking.reader.logs()])
    proved = await asyncio.to_thread(proof_bundle.verify, proof_bundle.parse(data), keys)
    assert len(proved) == len(EVENTS)
    looks = [parts_of(record) for record in await looking.browsed()]
    assert [each["what"]["keys"] for each in looks] == [[ITEM_KEY]] * 2
    assert {each["purpose"]["purpose"] for each in looks} == {"web page"}
    assert [each["outcome"]["events"] for each in looks] == [len(EVENTS)] * 2
