"""1,500 look-ups by 200 users, with the query service, the audit recorder and the watch killed twice each: receipts and logs agree exactly."""

from collections.abc import Callable

import pytest

from deploy.stack import Stack
from tests.browse_campaign import PARTITIONS, Campaign, check_proofs, compare, say
from tests.system.harness import System

pytestmark = pytest.mark.slow


def test_every_answered_look_has_a_receipt_and_is_sealed_once(
    stack: Stack, systems: Callable[..., System], tell: Callable[[str], None]
) -> None:
    system = systems(stack, GOODSTRACE_BROWSE_PARTITIONS=str(PARTITIONS)).start()
    campaign = Campaign(system, looks=1500, kills_each=2)
    campaign.run()
    say(campaign, compare(campaign), tell)
    check_proofs(campaign, 20)
