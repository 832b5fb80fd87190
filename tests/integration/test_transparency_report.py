"""A month's transparency report from a real store, derived again from the public logs: over HTTP and from exported files."""

import asyncio
import datetime as dt
import json
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from goodstrace.errors import AnswerError
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from goodstrace.transparency import values
from goodstrace.transparency.values import Month
from services.audit.command import audit as audit_group
from services.audit.report.making import make_report
from services.ledger.commands.export import export
from tests.deadlines import DEADLINE_S
from tests.handmade import event
from tests.integration.looking import Looking, eventually

ITEM = "https://id.gs1.org/01/09521234543213/21/1"
LOOKS = 12


@pytest.fixture
async def looking(looking: Looking) -> Looking:
    await looking.seal({0: [event(1, ITEM, secret=looking.secret)]})
    await asyncio.gather(looking.start("query"), looking.start("audit"))
    return looking


async def _looks(looking: Looking, count: int) -> None:
    async with looking.query_channel() as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        for _ in range(count):
            await stub.Trace(trace_pb2.TraceRequest(key=ITEM), timeout=DEADLINE_S)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(audit_group, ["report", *map(str, arguments)])


async def test_a_report_is_written_and_checked_by_commands_from_an_exported_folder(
    looking: Looking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's and the public's side, each by its command; whoever alters the report or the folder is found out."""
    for name in ("MONGODB_URI", "GOODSTRACE_DATABASE"):
        monkeypatch.setenv(name, looking.environment[name])
    month = f"{dt.datetime.now(dt.UTC):%Y-%m}"
    await _looks(looking, LOOKS)
    out, folder, keys = tmp_path / "reports", tmp_path / "exported", tmp_path / "vkeys"

    async def written() -> bool:
        made = await asyncio.to_thread(_run, "--month", month, "--out", out)
        assert made.exit_code == 0, made.output
        assert made.output.splitlines() == [str(out / f"{month}{each}") for each in (".json", ".md")]
        return values.decode((out / f"{month}.json").read_bytes()).public.total.looks == LOOKS

    await eventually(written, f"{LOOKS} looks are in the report")
    text = (out / f"{month}.md").read_text()
    assert "as the operator's word" in text
    assert "nobody else can derive these figures" in text
    printed = await asyncio.to_thread(_run, "--month", month)
    assert printed.output.splitlines()[0] == text.splitlines()[0]

    exported = await asyncio.to_thread(CliRunner().invoke, export, ["--out", str(folder)])
    assert exported.exit_code == 0, exported.output
    keys.write_text(
        "\n".join(each.vkey for each in await looking.reader.logs() if each.name.startswith("browse/"))
    )
    file = out / f"{month}.json"
    checked = ("--vkeys", keys, "--logs", folder, "--verify")
    done = await asyncio.to_thread(_run, *checked, file)
    assert done.exit_code == 0, done.output
    assert f"{LOOKS} records of looks" in done.output
    said = json.loads((await asyncio.to_thread(_run, *checked, file, "--json")).output)
    assert (said["month"], said["verified"], said["total"]["looks"]) == (month, True, LOOKS)
    there = json.loads((await asyncio.to_thread(_run, "--month", month, "--json")).output)
    assert there["month"] == month

    told = json.loads(file.read_bytes())
    told["public"]["total"]["looks"] -= 1
    altered = tmp_path / "altered.json"
    altered.write_text(json.dumps(told))
    refused = await asyncio.to_thread(_run, *checked, altered)
    assert refused.exit_code == 1
    assert isinstance(refused.exception, AnswerError)  # which the command line tells as "does not verify"
    refused = await asyncio.to_thread(_run, *checked, altered, "--json")
    assert refused.exit_code == 1
    said = json.loads(refused.output)
    assert said["verified"] is False
    assert "the report states" in said["problem"]

    # The first entry of each log: the last ones may be later than the report.
    for bundle in (folder / "logs").glob("browse/*/tile/entries/**/*.p/*"):
        data = bytearray(bundle.read_bytes())
        data[4] ^= 1
        bundle.write_bytes(data)
    refused = await asyncio.to_thread(_run, *checked, file)
    assert refused.exit_code == 1


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
    url = looking.log_url
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
        return told.exit_code == 1 and "is not among what the report counts" in str(told.exception)

    await eventually(
        refused, "a report that leaves the month's last look out and says that it is complete is refused"
    )
