"""The web pages of the query service as a process: a Digital Link opened, the look recorded in Kafka, the proof checked offline."""

import asyncio
import json
import re
from collections import Counter

from goodstrace import proof_bundle
from goodstrace.entry import Kind
from goodstrace.log_keys import LogKeys
from services.query.accounts import account_store, counters, session_store
from services.runtime.mongo import create_indexes
from tests.integration.looking import Looking, eventually
from tests.integration.test_login_served import goodstrace
from tests.unit.collector_builders import sealed_events
from tests.web_world import EVENTS, ITEM_KEY, ITEM_PATH, registrations

TRACE = 'id="answers-title"'
"""What stands on the page of a trace, and not on that of the public face."""


async def test_a_scan_shows_the_trace_recorded_and_proved(looking: Looking) -> None:
    await looking.seal({0: registrations(), 1: sealed_events(EVENTS)})
    await looking.start("query")
    async with looking.http() as http:
        home = await http.get("/", headers={"Accept-Language": "zh-TW"})
        assert "它從哪裡來" in home.text
        page = await http.get(ITEM_PATH)
        assert page.status_code == 200
        assert "Lofoten sea farm" in page.text
        assert (await http.get("/logs")).json()[0]["name"] == "goods/0"
        data = (await http.get("/bundle", params={"key": ITEM_KEY})).content
    keys = LogKeys.parse([info.vkey for info in await looking.reader.logs()])
    proved = await asyncio.to_thread(proof_bundle.verify, proof_bundle.parse(data), keys)
    kinds = Counter(each.proof.entry.kind for each in proved)
    assert kinds[Kind.EVENT] == len(EVENTS)
    assert 0 < kinds[Kind.REGISTRATION] == len(proved) - len(EVENTS), "what names on the page come from"
    looks = await looking.looks()
    assert [each["what"]["keys"] for each in looks] == [[ITEM_KEY]] * 2
    assert {each["purpose"]["purpose"] for each in looks} == {"web page"}
    assert [each["outcome"]["events"] for each in looks] == [len(EVENTS)] * 2


async def test_an_account_signs_in_sees_more_and_signs_out(looking: Looking) -> None:
    looking.environment["GOODSTRACE_ACCOUNTS"] = "required"
    await looking.seal({0: registrations(), 1: sealed_events(EVENTS)})
    database = looking.mongo.database
    await create_indexes(database, account_store.indexes() | session_store.indexes() | counters.indexes())
    made = json.loads(await goodstrace(looking, "accounts", "bootstrap", "opal", "--json"))
    await looking.start("query")
    async with looking.http() as http:
        face = (await http.get(ITEM_PATH)).text
        assert "Arctic salmon fillet" in face
        assert TRACE not in face
        assert await looking.browsed() == []  # the public face is for everybody

        async def form(path: str) -> dict[str, str]:
            found = re.search(r'name="csrf" value="(\w+)"', (await http.get(path)).text)
            assert found
            return {"csrf": found[1], "name": "opal", "password": made["password"], "back": ITEM_PATH}

        wrong = await http.post("/sign-in", data={**await form("/sign-in"), "password": "wrong"})
        assert wrong.status_code == 401
        done = await http.post("/sign-in", data=await form("/sign-in"))
        assert (done.status_code, done.headers["location"]) == (303, ITEM_PATH)
        # The first operator's password is good for changing it and no more.
        page = await http.get(ITEM_PATH)
        assert "must be changed" in page.text
        assert TRACE not in page.text
        weak = await http.post("/password", data={**await form("/password"), "new_password": "password"})
        assert (weak.status_code, "too common" in weak.text) == (400, True)
        changed = await http.post(
            "/password", data={**await form("/password"), "new_password": "nine calm otters row"}
        )
        assert changed.status_code == 303

        async def seen() -> bool:
            return TRACE in (await http.get(ITEM_PATH)).text

        await eventually(seen, "the account may do what it may")
        world = await looking.looks()
        before = sum(each["what"]["method"] == "Trace" for each in world)
        http.cookies.delete("goodstrace-access")
        renewed = await http.get(ITEM_PATH)
        assert "goodstrace-access" in str(renewed.headers.get_list("set-cookie"))
        assert "opal" in renewed.text
        held = dict(http.cookies)
        assert (await http.post("/sign-out", data=await form("/"))).status_code == 303
        assert "opal" not in (await http.get(ITEM_PATH)).text
        http.cookies.update(held)  # somebody kept a copy

        async def over() -> bool:
            return TRACE not in (await http.get(ITEM_PATH)).text

        await eventually(over, "a session that was ended counts nowhere")
    looks = await looking.looks()
    methods = [each["what"]["method"] for each in looks if each["who"]["user"] == "opal"]
    assert methods.count("Trace") > before
