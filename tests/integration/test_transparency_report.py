"""A month's transparency report from a real store, derived again from the public logs: over HTTP and from exported files."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import msgspec
import pytest
from click.testing import CliRunner

from deploy.stack import Stack
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from goodstrace.transparency import values
from goodstrace.transparency.values import Month
from services.audit.command import audit as audit_group
from services.audit.report.making import make_report
from tests.conftest import Names
from tests.handmade import event
from tests.integration.looking import Looking, eventually

ITEM = "https://id.gs1.org/01/09521234543213/21/1"
LOOKS = 12
DEADLINE_S = 20


@pytest.fixture
async def looking(stack: Stack, tmp_path: Path, names: Names) -> AsyncIterator[Looking]:
    made = Looking(stack, tmp_path, names)
    await made.prepare()
    await made.seal({0: [event(1, ITEM, secret=made.secret)]})
    await asyncio.gather(made.start("query"), made.start("audit"))
    yield made
    made.stop()


async def _looks(looking: Looking, count: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{looking.query_port}") as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        for _ in range(count):
            await stub.Trace(trace_pb2.TraceRequest(key=ITEM), timeout=DEADLINE_S)


async def test_a_report_is_derived_again_from_the_public_logs(looking: Looking, tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    month, database = Month.parse(f"{now:%Y-%m}"), looking.mongo.database
    await _looks(looking, LOOKS)

    async def counted() -> bool:
        made = await make_report(database, month, time.time_ns() // 1_000_000)
        return made.public.total.looks == LOOKS

    await eventually(counted, f"{LOOKS} looks are sealed and counted")
    made = await make_report(database, month, time.time_ns() // 1_000_000)
    assert not made.complete
    assert {span.log for span in made.spans} <= {"browse/0", "browse/1"}
    assert sum(each.looks for each in made.public.by_day.values()) == LOOKS
    assert (await make_report(database, Month.parse("2020-01"), 0)).public.total.looks == 0

    file = tmp_path / "report.json"
    file.write_bytes(values.encode(made))
    keys = tmp_path / "vkeys"
    keys.write_text(
        "\n".join(
            each.vkey
            for each in await looking.reader.logs()
            if each.name in {span.log for span in made.spans}
        )
    )
    arguments = ["report", "--verify", str(file), "--vkeys", str(keys), "--logs"]
    url = f"http://127.0.0.1:{looking.log_port}"
    done = await asyncio.to_thread(CliRunner().invoke, audit_group, [*arguments, url])
    assert done.exit_code == 0, done.output
    assert f"{LOOKS} records of looks" in done.output
    assert "the operator's word" in done.output

    await _looks(looking, 1)  # behind what the report counts: it does not say that it is complete
    again = await asyncio.to_thread(CliRunner().invoke, audit_group, [*arguments, url])
    assert again.exit_code == 0, again.output
    assert "the month was not over" in again.output

    file.write_bytes(values.encode(msgspec.structs.replace(made, complete=True)))

    async def refused() -> bool:
        told = await asyncio.to_thread(CliRunner().invoke, audit_group, [*arguments, url])
        return told.exit_code == 1 and "is not among what the report counts" in told.output

    await eventually(
        refused, "a report that leaves the month's last look out and says that it is complete is refused"
    )
