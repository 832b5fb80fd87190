"""The watch over 30,000 records, its worker killed five times: counts are exact."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deploy.stack import Stack
from tests.conftest import Names
from tests.integration import test_watch
from tests.integration.watching import Watching

RECORDS = int(os.environ.get("GOODSTRACE_SOAK_BROWSES", "30000"))


@pytest.fixture
async def watching(stack: Stack, tmp_path: Path, names: Names) -> AsyncIterator[Watching]:
    made = Watching(stack, tmp_path, names)
    await made.prepare()
    yield made
    made.stop()


async def test_30000_records_and_five_kills(watching: Watching, tell: Callable[[str], None]) -> None:
    await test_watch.killed_five_times(watching, RECORDS, tell)
