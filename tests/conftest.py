"""What every test may ask for.

Servers start once per worker process (pytest-xdist), on free ports, when the first test asks for one.
"""

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.stack import Stack

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 6 * 2**30  # several processes of one run, each with less than one GiB


@pytest.fixture(scope="session")
def stack_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the servers that tests share keep their data: in memory where there is room, their logs are kept with the run's.

    The store waits for the disk at each commit: an index takes 16 ms there and 3 ms in memory, and each test makes its own. Nobody
    kills these servers, so that nothing depends on what a disk keeps; those of `own_stack` and `secured` are on the disk.
    """
    kept = tmp_path_factory.mktemp("stack")
    if not (_MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES):
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="goodstrace-tests-", dir=_MEMORY) as folder:
        yield Path(folder)
        logs = Path(folder) / "logs"
        if logs.is_dir():
            shutil.copytree(logs, kept / "logs")


@pytest.fixture(scope="session")
def stack(stack_folder: Path) -> Iterator[Stack]:
    """Kafka and a document store for the whole run; a test that stops or kills servers starts a Stack of its own."""
    running = Stack.on_free_ports(stack_folder, report=print)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of the module's own that asks everybody for a password."""
    running = Stack.on_free_ports(tmp_path_factory.mktemp("secured"), report=print, secured=True)
    try:
        running.start()
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="session")
def kafka_bootstrap(stack: Stack) -> str:
    """`bootstrap.servers` of the run's Kafka."""
    return stack.kafka_bootstrap_servers


@pytest.fixture(scope="session")
def mongo_uri(stack: Stack) -> str:
    """The address of the run's document store."""
    return stack.mongodb_uri


@dataclass(frozen=True)
class Names:
    """Names that no other test uses; they need no removal, since the servers are gone after the run."""

    topic_prefix: str
    group: str
    database: str

    def topic(self, name: str) -> str:
        """Return a topic name of this test."""
        return f"{self.topic_prefix}{name}"


@pytest.fixture
def names(request: pytest.FixtureRequest) -> Names:
    """A topic prefix, a consumer group and a database of the test's own."""
    test = "".join(c if c.isalnum() else "-" for c in request.node.name)[:30].strip("-")
    own = f"{test}-{uuid.uuid4().hex[:8]}"
    return Names(topic_prefix=f"{own}.", group=own, database=own)


TOLD = "told"


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says something at the end of the run, whichever process the test runs in: what was covered, how it came out."""
    return lambda text: record_property(TOLD, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests told."""
    reports = [report for listed in terminalreporter.stats.values() for report in listed]
    told = [
        text
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, text in report.user_properties
        if name == TOLD
    ]
    if told:
        terminalreporter.section("what tests tell")
    for text in told:
        terminalreporter.write_line(str(text))


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, not started, to be stopped and killed at will; ended after the test."""
    stack = Stack.on_free_ports(tmp_path / "run", report=print)
    yield stack
    stack.kill()
