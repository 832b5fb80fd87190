"""EPCIS queries of the query service as a process: pages of one state, proved by position, recorded."""

import json
import time
from urllib.parse import quote

from goodstrace.merkle import leaf_hash, verify_inclusion
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from tests.deadlines import DEADLINE_S
from tests.handmade import event
from tests.integration.looking import Looking

ROOT = "/epcis/v2"
ITEM = "https://id.gs1.org/01/09521234543213/21/1"
ITEM_URN = "urn:epc:id:sgtin:9521234.054321.1"
OTHER = "https://id.gs1.org/01/09521234543213/21/2"


async def test_pages_are_of_one_state_and_each_event_is_proved_by_its_position(looking: Looking) -> None:
    contents = [
        f'{{ "type":"ObjectEvent", "eventID":"urn:uuid:{number:032x}","x":1.{number}0e+1 }}'.encode()
        for number in range(250)
    ]
    records = [
        event(number, ITEM, secret=looking.secret, content=content) for number, content in enumerate(contents)
    ]
    await looking.seal({0: [*records[::2], event(900, OTHER, secret=looking.secret)], 1: records[1::2]})
    await looking.start("query")
    texts: list[str] = []
    places: list[tuple[str, int]] = []
    async with looking.http() as http:
        url = f"{ROOT}/epcs/{quote(ITEM_URN, safe='')}/events?perPage=120"
        while url:
            answer = await http.get(url, headers={"goodstrace-user": "ann", "goodstrace-purpose": "recall"})
            assert answer.status_code == 200, answer.text
            texts.append(answer.text)
            for each in answer.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]:
                sealed = each["goodstrace:sealed"]
                places.append((sealed["goodstrace:log"], sealed["goodstrace:index"]))
                assert sealed["goodstrace:size"] == {"goods/0": 126, "goods/1": 125}[places[-1][0]]
            if len(texts) == 1:  # what is sealed now does not change the answer that is being read
                await looking.seal({0: [event(5000, ITEM, secret=looking.secret)]})
            link = answer.headers.get("Link", "")
            assert link.startswith(f"<{looking.log_url}{ROOT}/epcs/") or not link
            url = link[1 : link.index(">")] if link else ""
        everything = await http.get(f"{ROOT}/events?perPage=1000")
        ordered = await http.get(f"{ROOT}/events?MATCH_epc={ITEM_URN}&orderBy=eventTime&eventCountLimit=2")
        listed = await http.get(f"{ROOT}/epcs")
        refused = await http.get(f"{ROOT}/events?EQ_quantity=1")
        none = await http.get(f"{ROOT}/events?perPage=1000&GE_recordTime=2199-01-01T00:00:00Z")
        all_of_them = await http.get(f"{ROOT}/events?perPage=1000&GE_recordTime=1971-01-01T00:00:00Z")
        told = await http.options(f"{ROOT}/events")
    assert await looking.reader.sealed_ms("goods/0", 125) <= time.time_ns() // 1_000_000
    assert (told.status_code, told.headers["Allow"]) == (204, "GET, OPTIONS")
    for answer, count in ((none, 0), (all_of_them, 252)):
        assert len(answer.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]) == count

    assert len(texts) == 3
    assert len(places) == len(set(places)) == 250
    assert all(any(content.decode()[:-2] in text for text in texts) for content in contents)
    assert len(everything.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]) == 252
    newest = ordered.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
    assert [each["eventID"][-3:] for each in newest] == ["388", "0f9"]  # 5000 and 249
    assert set(listed.json()["member"]) == {ITEM, OTHER}
    assert (refused.status_code, refused.json()["parameter"]) == (400, "EQ_quantity")

    looks = await looking.looks()
    assert [each["what"]["method"] for each in looks].count("QueryEvents") == 7
    of_ann = [each for each in looks if each["who"]["user"] == "ann"]
    assert sum(each["outcome"]["events"] for each in of_ann) == 250
    assert [each["what"]["keys"] for each in of_ann] == [[ITEM]] * 3
    assert {each["purpose"]["purpose"] for each in of_ann} == {"recall"}
    await _prove(looking, places[0])


async def _prove(looking: Looking, place: tuple[str, int]) -> None:
    """What is shown with an event is enough to fetch its proof."""
    async with looking.query_channel() as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        request = trace_pb2.GetInclusionProofRequest(log=place[0], index=place[1])
        proof = await stub.GetInclusionProof(request, timeout=DEADLINE_S)
    checkpoint = (await looking.opened([proof.checkpoint]))[place[0]]
    [record] = await looking.reader.records(place[0], [place[1]])
    assert proof.leaf_hash == leaf_hash(record.entry)
    assert json.loads(next(part.content for part in record.parts if part.name == "event"))["type"]
    verify_inclusion(proof.leaf_hash, place[1], checkpoint.size, list(proof.proof), checkpoint.root)
