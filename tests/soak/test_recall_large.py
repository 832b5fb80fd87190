"""A recall of a lot of 100,000 items in 1,000 cases: in bounded memory of client and server, the first level within a second."""

import asyncio
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

from bench.processes import cpu_s, rss_mib
from deploy.stack import Stack
from tests.conftest import Names
from tests.integration.looking import PARTITIONS, Looking
from tests.integration.test_streams import client_of
from tests.recalled_goods import LOT, records_of, spread

CASES = int(os.environ.get("GOODSTRACE_SOAK_CASES", "1000"))
ITEMS = int(os.environ.get("GOODSTRACE_SOAK_ITEMS", "100"))
MOST_MIB = 200


async def test_memory_does_not_follow_the_number_of_items(stack: Stack, tmp_path: Path, names: Names) -> None:
    looking = Looking(stack, tmp_path, names)
    try:
        await looking.prepare()
        await looking.seal(spread(records_of(CASES, ITEMS, looking.secret), PARTITIONS))
        await looking.start("query")
        running = looking.daemons["query"].process
        assert running is not None
        await asyncio.to_thread(_recalled, looking, running.pid)
        await asyncio.to_thread(_exported, looking, tmp_path)
    finally:
        looking.stop()


def _recalled(looking: Looking, pid: int) -> None:
    before, used = rss_mib(pid), cpu_s(pid)
    most, goods, first_s, began = before, 0, 0.0, time.perf_counter()
    tracemalloc.start()
    with client_of(looking) as client:
        for piece in client.recall(LOT):
            goods += len(piece.goods)
            if piece.level == 0 and piece.events and not first_s:
                first_s = time.perf_counter() - began
            if piece.goods:
                most = max(most, rss_mib(pid))
    took_s, held = time.perf_counter() - began, tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert goods == CASES * ITEMS + 1
    print(
        f"recall of {goods} goods: first level begins after {first_s:.2f} s, all in {took_s:.0f} s"
        f" ({cpu_s(pid) - used:.0f} s of the service); the service grew from {before:.0f} to {most:.0f} MiB,"
        f" the client held {held:.0f} MiB at the most"
    )
    assert most - before < MOST_MIB
    assert held < MOST_MIB


def _exported(looking: Looking, folder: Path) -> None:
    """The command writes the spreadsheet in bounded memory too."""
    command = [
        str(Path(sys.executable).parent / "goodstrace"),
        *("recall", LOT, "--xlsx", str(folder / "recall.xlsx"), "--query", looking.query_target),
        *("--log-keys", str(looking.key_dir), "--memory", str(folder / "checkpoints.json")),
    ]
    began = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    most = 0.0
    while running.poll() is None:
        most = max(most, rss_mib(running.pid))
        time.sleep(0.1)
    assert running.returncode == 0
    size = (folder / "recall.xlsx").stat().st_size / 2**20
    print(f"exported in {time.perf_counter() - began:.0f} s with {most:.0f} MiB: {size:.1f} MiB")
    assert most < MOST_MIB
