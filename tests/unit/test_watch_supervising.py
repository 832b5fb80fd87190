"""A worker that ends is started again, at most so often; signals reach it, and it does not outlive who started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from services.audit.watch.supervising import MAX_RESTARTS, PERIOD_S, Restarts
from tests.deadlines import DEADLINE_S

_SUPERVISE = """
import sys
import structlog
from services.audit.watch import supervising
supervising._FIRST_PAUSE_S = supervising._LONGEST_PAUSE_S = 0.01
sys.exit(supervising.Supervisor(sys.argv[1:], structlog.get_logger()).run())
"""


@pytest.fixture
def supervised(tmp_path: Path) -> "Iterator[Callable[[str], subprocess.Popen[bytes]]]":
    """Start a supervisor of a shell script, in which $0 is a folder and $1 the number of restarts."""
    made: list[subprocess.Popen[bytes]] = []

    def start(script: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", _SUPERVISE, "/bin/sh", "-c", script, str(tmp_path)]
        made.append(subprocess.Popen(command))
        return made[-1]

    yield start
    for each in made:
        each.kill()
        each.wait()


def _eventually(told: Callable[[], object]) -> None:
    until = time.monotonic() + DEADLINE_S
    while not told():
        assert time.monotonic() < until
        time.sleep(0.02)


def _pid(folder: Path, restarts: int) -> int:
    file = folder / f"pid-{restarts}"
    _eventually(lambda: file.exists() and file.read_text().strip())
    return int(file.read_text())


def _is_running(pid: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def test_pauses_grow_and_too_many_in_a_minute_end_it() -> None:
    restarts = Restarts()
    pauses = [restarts.pause_s(nth) for nth in range(MAX_RESTARTS)]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4]
    assert restarts.pause_s(PERIOD_S - 1) is None
    assert restarts.total == MAX_RESTARTS
    assert restarts.pause_s(PERIOD_S) == 6.4  # the first is a minute ago
    assert restarts.pause_s(3 * PERIOD_S) == 0.2


WAITS = 'echo $$ >"$0/new"; mv "$0/new" "$0/pid-$1"; exec sleep 100'


def test_a_killed_worker_is_started_again_and_told_how_often(
    supervised: "Callable[[str], subprocess.Popen[bytes]]", tmp_path: Path
) -> None:
    supervisor = supervised(WAITS)
    for restarts in range(3):
        os.kill(_pid(tmp_path, restarts), signal.SIGKILL)
    last = _pid(tmp_path, 3)
    supervisor.terminate()
    assert supervisor.wait(DEADLINE_S) == 0
    assert not _is_running(last)


@pytest.mark.parametrize("status", [70, 1])
def test_one_that_ends_again_and_again_ends_it(
    supervised: "Callable[[str], subprocess.Popen[bytes]]", tmp_path: Path, status: int
) -> None:
    supervisor = supervised(f'echo $1 >>"$0/starts"; exit {status}')
    assert supervisor.wait(DEADLINE_S) == 1
    starts = (tmp_path / "starts").read_text().split()
    assert starts == [str(nth) for nth in range(MAX_RESTARTS + 1)]


@pytest.mark.parametrize("status", [0, 2])
def test_one_that_is_done_or_set_wrong_is_not_started_again(
    supervised: "Callable[[str], subprocess.Popen[bytes]]", tmp_path: Path, status: int
) -> None:
    assert supervised(f'echo $1 >>"$0/starts"; exit {status}').wait(DEADLINE_S) == status
    assert (tmp_path / "starts").read_text().split() == ["0"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_told_once_and_waited_for(
    supervised: "Callable[[str], subprocess.Popen[bytes]]", tmp_path: Path, number: signal.Signals
) -> None:
    script = (
        'trap \'echo asked >>"$0/asked"; exit 0\' TERM; echo $$ >"$0/pid-$1"; while :; do sleep 0.05; done'
    )
    supervisor = supervised(script)
    _pid(tmp_path, 0)
    supervisor.send_signal(number)
    assert supervisor.wait(DEADLINE_S) == 0
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_the_worker_ends_with_who_started_it(
    supervised: "Callable[[str], subprocess.Popen[bytes]]", tmp_path: Path
) -> None:
    supervisor = supervised(WAITS)
    worker = _pid(tmp_path, 0)
    supervisor.kill()
    supervisor.wait()
    _eventually(lambda: not _is_running(worker))
