"""How goods stand, asked of the query service as a process: verified by the client, as of now and as of before, recorded."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from goodstrace.cli.main import cli
from goodstrace.client import Client
from goodstrace.errors import CallError
from goodstrace.log_keys import LogKeys
from tests.integration.looking import Looking
from tests.unit.test_goods_answer import registered
from tests.unit.test_goods_state import CASE, CASE_KEY, ITEM, ITEM_KEY, SITES, moved, seen, stored

PRODUCT = "https://id.gs1.org/01/10614141073464"


async def test_goods_stand_where_their_events_say(looking: Looking, tmp_path: Path) -> None:
    events = [seen(1, 1, bizLocation={"id": SITES[0]}), moved(2, 2, "ADD", CASE)]
    records = [each.record for each in stored(events)]
    await looking.seal({0: [records[0], registered(PRODUCT, "Green tea", 1_000)], 1: [records[1]]})
    later = [each.record for each in stored([seen(3, 3, epcList=[CASE], bizLocation={"id": SITES[1]})])]
    await looking.seal({0: later})
    await looking.start("query")
    target, keys = looking.query_target, tmp_path / "vkeys"
    keys.write_text("\n".join(info.vkey for info in await looking.reader.logs()))

    def ask() -> None:
        with Client(target, LogKeys.load(keys), user="ann") as client:
            goods = client.goods(ITEM, page_size=1)
            assert list(goods.states) == [ITEM_KEY, CASE_KEY]
            assert goods.states[CASE_KEY].told["place"].value.endswith("0614141000012")
            assert goods.registered is not None
            assert goods.registered.content.names == {"en": "Green tea"}
            assert len(goods.browse_ids) == len(goods.events) == 3
            before = client.goods(ITEM, as_of={"goods/0": 2})
            assert before.states[CASE_KEY].told["place"].value.endswith("/254/1234")  # where it was packed
            with pytest.raises(CallError, match="as_of: a size named") as raised:
                client.goods(ITEM, as_of={"goods/0": 1000})
            assert raised.value.reason == "NOT_FOUND"
            with pytest.raises(CallError) as raised:
                client.goods("")
            assert (raised.value.code, raised.value.field) == ("INVALID_ARGUMENT", "key")

    await asyncio.to_thread(ask)
    options = ["--query", target, "--log-keys", str(keys), "--memory", str(tmp_path / "memory.json")]
    shown = await asyncio.to_thread(CliRunner().invoke, cli, ["goods", ITEM, *options])
    assert shown.exit_code == 0, shown.output
    assert "Green tea" in shown.output
    assert "the state follows from them" in shown.output
    as_json = await asyncio.to_thread(CliRunner().invoke, cli, ["goods", ITEM, "--json", *options])
    assert '"verified": true' in as_json.output
    looks = await looking.looks()
    assert {each["what"]["method"] for each in looks} == {"GetGoods"}
    assert sum(each["outcome"]["events"] for each in looks if each["who"]["user"] == "ann") == 4 + 3
