"""Streams of the query service as a process: traces level after level, and recalls of any size."""

import asyncio
import csv
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest

from bench.processes import rss_mib
from goodstrace.client import Client
from goodstrace.errors import CallError
from goodstrace.log_keys import LogKeys
from goodstrace.query.v1 import recall_pb2, trace_pb2, trace_pb2_grpc
from goodstrace.tracing import EventFilter
from tests.deadlines import DEADLINE_S
from tests.integration.looking import PARTITIONS, Looking, eventually
from tests.recalled_goods import DAIRY, GTIN, LOT, case_key, pallet_key, records_of, serials_of, spread

CASES, ITEMS = 30, 10
Tell = Callable[[str], None]


@pytest.fixture
async def looking(looking: Looking) -> Looking:
    await looking.seal(spread(records_of(CASES, ITEMS, looking.secret), PARTITIONS))
    await looking.start("query")
    return looking


def client_of(looking: Looking, **options: float) -> Client:
    keys = LogKeys.load(looking.key_dir)
    return Client(looking.query_target, keys, user="ann", purpose="recall", **options)  # type: ignore[arg-type]


async def browses(looking: Looking, method: str) -> list[dict[str, object]]:
    found = await looking.looks()
    return [each for each in found if each["what"]["method"] == method]


async def test_a_streamed_trace_is_the_trace_in_the_end(looking: Looking) -> None:
    def compared() -> list[int]:
        with client_of(looking) as client:
            item = serials_of(3, ITEMS)[5]
            for key, direction in ((item, "both"), (pallet_key(0), "upstream"), (case_key(1), "both")):
                *before, streamed = client.stream_trace(key, direction=direction)
                whole = client.trace(key, direction=direction, page_size=1000)
                assert list(streamed.nodes) == list(whole.nodes)
                assert [each.event.identity for each in streamed.events] == [
                    each.event.identity for each in whole.events
                ]
                assert [(each.marks, list(each.mentions)) for each in streamed.events] == [
                    (each.marks, list(each.mentions)) for each in whole.events
                ]
                assert streamed.checkpoints.keys() == whole.checkpoints.keys()
                assert streamed.tree_verified
                assert whole.tree_verified
            only = EventFilter(steps=frozenset({whole.events[0].event.facts.step}))  # type: ignore[union-attr]
            *_, few = client.stream_trace(item, only=only)
            filtered = client.trace(item, only=only)
            assert 0 < len(few.events) == len(filtered.events)
            assert few.filtered == filtered.filtered > 0
            assert not few.tree_verified
            return [len(each.nodes) for each in before]

    assert await asyncio.to_thread(compared)
    streams = await browses(looking, "StreamTrace")
    assert len(streams) == 4
    assert all(each["what"]["query"] == "stream" for each in streams)  # type: ignore[index]
    assert all(each["outcome"] == {"events": 0} for each in streams)


async def test_a_recall_reaches_every_item_case_order_and_shop(looking: Looking, tell: Tell) -> None:
    running = looking.daemons["query"].process
    assert running is not None
    pid = running.pid

    def recalled() -> tuple[Counter[str], float]:
        goods: Counter[str] = Counter()
        first_s, began = 0.0, time.perf_counter()
        counts: dict[str, set[str]] = {
            "containers": set(),
            "orders": set(),
            "holders": set(),
            "registered": set(),
        }
        concerned: Counter[int] = Counter()
        with client_of(looking) as client:
            for piece in client.recall(LOT):
                if piece.events and not first_s:
                    first_s = time.perf_counter() - began
                goods.update(each.grade for each in piece.goods)
                counts["containers"].update(each.key for each in piece.containers)
                counts["orders"].update(each.key for each in piece.orders)
                counts["holders"].update(each.key for each in piece.holders)
                counts["registered"].update(each.key for each in piece.registrations)
                for mention in piece.mentions:
                    concerned.update([*mention.certain, *mention.possible])
                summary = piece.summary
        assert summary is not None
        assert not summary.truncated
        assert goods == Counter({"item": CASES * ITEMS, "lot": 1}) == Counter(dict(summary.goods))
        assert counts["containers"] == {*map(case_key, range(CASES)), *map(pallet_key, range(2))}
        assert counts["orders"] == {f"urn:shop:po:{number}" for number in range(2)}
        assert counts["holders"] == {DAIRY, *(f"urn:gdst:shop:party:shop.{number}" for number in range(2))}
        assert counts["registered"] == {GTIN, DAIRY}
        assert summary.events == 3 * CASES + 2
        assert {concerned[number] for number in range(1, CASES * ITEMS + 1)} == {4}
        return goods, first_s

    before = rss_mib(pid)
    began = time.perf_counter()
    goods, first_s = await asyncio.to_thread(recalled)
    tell(
        f"recall of {goods.total()} goods: first events after {first_s * 1000:.0f} ms, all after"
        f" {time.perf_counter() - began:.1f} s; the service grew by {rss_mib(pid) - before:.0f} MiB"
    )
    [browse] = await browses(looking, "Recall")
    assert browse["what"]["keys"] == [LOT]  # type: ignore[index]
    await _ended_early(looking)
    await _refused(looking)
    await asyncio.to_thread(_written, looking)


def _written(looking: Looking) -> None:
    """The command writes both files; of an unknown key there is nothing, and that is no error."""
    folder = looking.key_dir.parent
    options = ("--query", looking.query_target, "--log-keys", str(looking.key_dir))
    options += ("--memory", str(folder / "checkpoints.json"), "--json")
    csv_path, xlsx_path = folder / "recall.csv", folder / "recall.xlsx"
    command = [str(Path(sys.executable).parent / "goodstrace"), "recall"]
    done = subprocess.run(
        [*command, LOT, "--csv", str(csv_path), "--xlsx", str(xlsx_path), *options],
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["goods"] == {"item": CASES * ITEMS, "lot": 1}
    rows = list(csv.DictReader(csv_path.read_text().splitlines()))
    assert len(rows) == told["files"][str(csv_path)] == told["files"][str(xlsx_path)]
    assert {row["Traceability lot code"] for row in rows} == {LOT}
    assert {row["Product description"] for row in rows} == {"'=Cheese, mild"}
    assert {row["Location description"] for row in rows} == {"Dairy, Bern, CH"}
    shipped = [row for row in rows if row["Event type"] == "shipping" and row["Container"]]
    assert sum(int(row["Quantity"]) for row in shipped) == CASES * ITEMS
    assert {row["Reference document type"] for row in shipped} == {"po"}
    assert {row["Reference document number"] for row in shipped} == {
        f"urn:shop:po:{number}" for number in range(2)
    }
    done = subprocess.run([*command, "urn:nobody", *options], capture_output=True, text=True, check=True)
    nothing = json.loads(done.stdout)
    assert (nothing["events"], nothing["containers"], nothing["goods"]) == (0, 0, {"other": 1})


async def _ended_early(looking: Looking) -> None:
    """Who stops taking ends the walk, and a deadline does."""

    def stopped() -> None:
        with client_of(looking) as client:
            pieces = client.recall(LOT)
            assert next(pieces).browse_id
            assert next(pieces).goods
            pieces.close()  # type: ignore[attr-defined]
        with client_of(looking, stream_timeout_s=0.15) as client, pytest.raises(CallError) as raised:
            list(client.recall(LOT))
        assert raised.value.code == "DEADLINE_EXCEEDED"

    async def metrics() -> str:
        async with httpx.AsyncClient() as http:
            return (await http.get(f"http://127.0.0.1:{looking.metrics['query']}/metrics")).text

    async def nothing_in_progress() -> bool:
        return 'calls_in_progress{method="Recall"} 0.0' in await metrics()

    async def ended_early() -> bool:
        """On a busy machine all may be sent before the client stops, or the deadline pass before the call arrives: then once more."""
        await asyncio.to_thread(stopped)
        await eventually(nothing_in_progress, "both recalls are over", deadline_s=DEADLINE_S)
        ended = re.findall(
            r'goodstrace_query_calls_total\{code="(\w+)",method="Recall"\} ([1-9])', await metrics()
        )
        return len(ended) >= 2

    await eventually(ended_early, "a recall ended otherwise than the first", deadline_s=DEADLINE_S)


async def _refused(looking: Looking) -> None:
    """What cannot be asked is refused before anything is recorded."""
    before = len(await looking.browsed())
    async with looking.query_channel() as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        paged = trace_pb2.StreamTraceRequest(trace=trace_pb2.TraceRequest(key=LOT, page_size=5))
        for call in (
            stub.StreamTrace(paged, timeout=DEADLINE_S),
            stub.Recall(recall_pb2.RecallRequest(key=""), timeout=DEADLINE_S),
            stub.Recall(recall_pb2.RecallRequest(key=LOT, max_depth=101), timeout=DEADLINE_S),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                [each async for each in call]
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(await looking.browsed()) == before
