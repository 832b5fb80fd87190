"""Streams of lines: each answered once it is durable, whatever comes after it."""

import asyncio
import gzip
import json
from collections.abc import AsyncGenerator, AsyncIterator, MutableMapping, Sequence
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from services.collector.documents import Limits
from services.collector.lines import AHEAD_BYTES, GROUP_LINES, LineCutter, LineFeed
from services.collector.preparing import Line
from services.collector.streaming import StreamedAnswer
from services.runtime import envelope
from services.runtime.errors import UnavailableError
from tests.unit.capture_api import Running, running
from tests.unit.collector_builders import document, object_event

STREAM = "application/x-ndjson"


def line(number: int, **changes: Any) -> bytes:
    return json.dumps(object_event(eventID=f"urn:e:{number}", **changes)).encode() + b"\n"


async def stream(here: Running, body: bytes | AsyncIterator[bytes], **headers: str) -> httpx.Response:
    return await here.post(body, content_type=STREAM, **headers)


def told(answer: httpx.Response) -> list[dict[str, Any]]:
    assert (answer.status_code, answer.headers["content-type"]) == (200, STREAM)
    assert "content-length" not in answer.headers
    return [json.loads(each) for each in answer.text.splitlines()]


def captured(here: Running) -> dict[str, str]:
    """Event IDs by record ID of everything that is in Kafka."""
    records = map(envelope.decode, here.kafka.values("goods.collected"))
    return {record.id.hex(): json.loads(record.part("event").content)["eventID"] for record in records}


async def test_each_line_has_its_verdict_and_receipt() -> None:
    body = b"".join((line(1), b"\r\n", b"{\n", document(object_event(), object_event(eventID="urn:e:2")), b"\n", line(5, action="X"), line(6)))  # fmt: skip
    async with running() as here:
        answers = told(await stream(here, body.rstrip()))
        first, broken, whole, refused, last = answers
        assert [each["line"] for each in answers] == [1, 3, 4, 5, 6]
        assert first["eventID"] == "urn:e:1"
        assert first["eventHash"].startswith("ni:///sha-256;")
        assert "line 1, column 2" in broken["problem"]["detail"]
        assert [each["eventID"] for each in whole["events"]] == [object_event()["eventID"], "urn:e:2"]
        assert refused["problem"]["errors"][0]["pointer"] == "/action"
        assert "recordID" not in refused
        job = (await here.http.get(f"/epcis/v2/capture/{last['captureID']}")).json()
        assert (job["eventCount"], job["running"]) == (4, True)
        taken = [first, *whole["events"], last]
        assert captured(here) == {each["recordID"]: each["eventID"] for each in taken}
        records = list(map(envelope.decode, here.kafka.values("goods.collected")))
        assert sorted(record.sequence for record in records) == [0, 1, 2, 3]
        assert {record.capture_size for record in records} == {4}


async def test_with_proceed_the_bad_ones_are_kept_as_rejected() -> None:
    body = line(1, action="X") + document(object_event(), object_event(eventTime="now")) + b"\n"
    async with running() as here:
        bad, mixed = told(await stream(here, body, gs1_capture_error_behaviour="proceed"))
        rejected = {envelope.decode(value).id.hex() for value in here.kafka.values("goods.rejected")}
    assert bad["problem"]["errors"][0]["pointer"] == "/action"
    assert mixed["events"][1]["problem"]["errors"][0]["pointer"] == "/epcisBody/eventList/1/eventTime"
    assert rejected == {bad["recordID"], mixed["events"][1]["recordID"]}
    assert "problem" not in mixed["events"][0]


async def test_nothing_but_faults_makes_no_job() -> None:
    async with running() as here:
        assert [each["problem"]["status"] for each in told(await stream(here, b"1\n[]\n"))] == [400, 400]
        assert told(await stream(here, b"")) == []
        assert not here.jobs.jobs


async def test_a_line_over_the_limit_is_passed_over() -> None:
    async with running(limits=Limits(body=5_000, event=2_000)) as here:
        long, after, large = told(
            await stream(here, b"x" * 6_000 + b"\n" + line(2) + line(3, **{"x:y": "z" * 2_500}))
        )
        assert (long["line"], long["problem"]["status"]) == (1, 413)
        assert after["eventID"] == "urn:e:2"
        assert large["problem"]["status"] == 413
        assert here.metrics.waiting_bytes._value.get() == 0


async def test_a_compressed_stream_is_inflated_as_it_comes() -> None:
    body = gzip.compress(b"".join(map(line, range(3_000))))
    async with running() as here:
        answers = told(await stream(here, body, content_encoding="gzip"))
        assert [each["line"] for each in answers] == list(range(1, 3_001))
        assert len(captured(here)) == 3_000
        assert len(here.kafka.transactions) >= 3
        assert here.metrics.stream_lines._value.get() == 3_000
        cut = await stream(here, body[:-9], content_encoding="gzip")
    *good, last = told(cut)
    assert last["problem"]["status"] == 400
    assert last["linesAnswered"] == good[-1]["line"]


async def paused(*chunks: bytes, until: asyncio.Event) -> AsyncIterator[bytes]:
    for chunk in chunks[:-1]:
        yield chunk
    await until.wait()
    yield chunks[-1]


async def test_where_kafka_goes_away_what_was_answered_is_durable_and_the_end_is_told() -> None:
    async with running() as here:
        first = asyncio.Event()
        write = here.kafka.write

        def failing(writes: Sequence[Any]) -> None:
            if here.kafka.transactions:
                raise UnavailableError("away")
            write(writes)
            loop.call_soon_threadsafe(first.set)

        loop = asyncio.get_running_loop()
        here.kafka.write = failing  # type: ignore[method-assign]
        answers = told(await stream(here, paused(line(1) + line(2), line(3), until=first)))
    *good, last = answers
    assert [each["line"] for each in good] == [1, 2]
    assert (last["problem"]["status"], last["linesAnswered"]) == (503, 2)
    assert captured(here) == {each["recordID"]: each["eventID"] for each in good}


async def test_what_is_wrong_from_the_start_is_told_by_the_status() -> None:
    async with running(max_bytes=100_000) as here:
        here.kafka.failures = [UnavailableError("away")]
        assert (await stream(here, line(1))).status_code == 503
        assert (await stream(here, line(1), accept="application/json")).status_code == 406
        assert (await stream(here, line(1), content_encoding="br")).status_code == 415
        keyed = await stream(here, line(1), idempotency_key="k")
        assert (keyed.status_code, keyed.json()["header"]) == (400, "Idempotency-Key")
        assert (await stream(here, b"x" * 150_000)).status_code == 503
        assert here.metrics.waiting_bytes._value.get() == 0
    async with running(body_timeout_s=0.05) as here:
        assert (await stream(here, paused(b"x", b"y", until=asyncio.Event()))).status_code == 408


async def test_an_idle_stream_ends_with_a_problem() -> None:
    async with running(body_timeout_s=0.05) as here:
        good, last = told(await stream(here, paused(line(1), b"y", until=asyncio.Event())))
    assert good["eventID"] == "urn:e:1"
    assert (last["problem"]["status"], last["linesAnswered"]) == (408, 1)


async def test_a_client_that_reads_no_answers_is_left() -> None:
    sent: list[dict[str, Any]] = []
    closed = asyncio.Event()

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))
        if len(sent) > 2:
            await asyncio.Event().wait()

    async def lines() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"{}\n"
        finally:
            closed.set()

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("the request is somebody else's to read")

    await StreamedAnswer(b"{}\n", lines(), 0.05)({}, receive, send)
    assert closed.is_set()
    assert [message["type"] for message in sent] == ["http.response.start", *["http.response.body"] * 2]
    assert all(message["more_body"] for message in sent[1:])


async def test_reading_ahead_is_bounded() -> None:
    given_out, held = 0, [0]

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given_out
        while True:
            given_out += 65_536
            yield b"1\n" * 32_768
            await asyncio.sleep(0)

    feed = LineFeed(endless(), 1_000, lambda size: held.__setitem__(0, held[0] + size))
    reading = asyncio.create_task(feed.run())
    for _ in range(50):
        await asyncio.sleep(0)
    assert held[0] < 10 * AHEAD_BYTES
    assert given_out <= 2 * 65_536
    lines = await feed.take()
    assert [each.number for each in lines] == list(range(1, GROUP_LINES + 1))
    reading.cancel()
    await asyncio.wait([reading])
    feed.release()
    assert held[0] == 0


@given(
    st.lists(st.binary(max_size=12) | st.sampled_from([b"\n", b"\n\n", b" \n", b"abc"])), st.integers(1, 20)
)
def test_lines_are_cut_the_same_however_they_come(chunks: list[bytes], most: int) -> None:
    whole = b"".join(chunks)
    expected = [
        Line(number, text if len(text) <= most else None)
        for number, text in enumerate(whole.split(b"\n"), 1)
        if text.strip() or len(text) > most
    ]
    cutter = LineCutter(most)
    assert [found for chunk in chunks for found in cutter.feed(chunk)] + cutter.end() == expected
    assert cutter.held_bytes == 0
