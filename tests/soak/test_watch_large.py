"""The watch over 30,000 records, its worker killed five times: counts are exact."""

import os
from collections.abc import Callable

from tests.integration import test_watch
from tests.integration.watching import Watching, watching

__all__ = ["watching"]  # the fixture

RECORDS = int(os.environ.get("GOODSTRACE_SOAK_BROWSES", "30000"))


async def test_30000_records_and_five_kills(watching: Watching, tell: Callable[[str], None]) -> None:
    await test_watch.killed_five_times(watching, RECORDS, tell)
