"""The clients of examples/ against the whole system: what each prints is what the proofs show, page by page, and is recorded."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from deploy.stack import Stack
from goodstrace.log_keys import LogKeys
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from tests.deadlines import DEADLINE_S
from tests.example_clients import CLIENTS, ExampleClient, ToolMissing
from tests.system.harness import System, eventually
from tests.system.simulated import seal_simulation
from tests.trace_vectors import lines

PAGE_BYTES = 65_536  # the least: a trace has several pages


@pytest.fixture(scope="module")
def running(stack: Stack, systems: Callable[..., System]) -> System:
    return systems(stack, GOODSTRACE_QUERY_PAGE_BYTES=str(PAGE_BYTES)).start()


@pytest.fixture(scope="module")
def item(running: System) -> str:
    """An item that is sealed with all its chain."""
    return seal_simulation(running, seed=4, events=300, depth=4, items_per_case=2, cases_per_pallet=1)


@pytest.fixture(scope="module")
def expected(running: System, item: str) -> list[str]:
    whole, pages = trace_pb2.TraceResponse(), 0
    with grpc.insecure_channel(running.query_target) as channel:
        trace = trace_pb2_grpc.TraceServiceStub(channel).Trace
        while not pages or whole.next_page_token:
            request = trace_pb2.TraceRequest(key=item, page_token=whole.next_page_token)
            for field in ("checkpoints", "next_page_token"):
                whole.ClearField(field)
            whole.MergeFrom(trace(request, timeout=DEADLINE_S))
            pages += 1
    assert pages > 1
    return lines(whole, LogKeys.load(running.key_dir))


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_it_traces_level_by_level(
    running: System, item: str, expected: list[str], client: ExampleClient, tmp_path: Path
) -> None:
    try:
        command = client.build()
    except ToolMissing as error:
        pytest.skip(str(error))
    keys = tmp_path / "vkeys"
    keys.write_text("".join(path.read_text() for path in running.key_dir.glob("*.vkey")))
    done = subprocess.run(
        [*command, str(keys), running.query_target, item],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected
    assert any(line.startswith("level 2 ") for line in expected)
    with running.client() as asking:
        eventually(  # one a page
            lambda: len(asking.browses(user=f"example-{client.name}").entries) > 1,
            what="the looks are sealed",
        )
