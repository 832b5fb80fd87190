"""50,000 look-ups by 200 users, with the query service, the audit recorder and the watch killed five times each: receipts and logs agree exactly."""

import os
from collections.abc import Callable, Iterator

import pytest

from deploy.stack import Stack
from tests.browse_campaign import PARTITIONS, USERS, Campaign, check_proofs, compare, say
from tests.system.harness import System

LOOKS = int(os.environ.get("GOODSTRACE_SOAK_LOOKS", "50000"))


@pytest.fixture
def system(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(stack, tmp_path_factory.mktemp("system"), {"GOODSTRACE_BROWSE_PARTITIONS": str(PARTITIONS)})
    yield made
    made.stop()


def test_50000_looks_and_fifteen_kills(system: System, tell: Callable[[str], None]) -> None:
    campaign = Campaign(system.start(), looks=LOOKS, kills_each=5)
    told = campaign.run()
    assert len(told.users) == USERS
    say(campaign, compare(campaign), tell)
    check_proofs(campaign, 500)
