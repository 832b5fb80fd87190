"""Who looked at a merchant's goods: what the audit service tells, and no more."""

from services.query.web.merchant.looks import DAYS
from services.query.web.neighbours import NeighbourAwayError
from services.runtime.access.values import EVERYBODY, NOBODY
from services.runtime.merchants.errors import ForbiddenError
from tests.merchant_world import MerchantWorld
from tests.unit.test_web_pages import assert_harmless, get
from tests.web_world import SHOPPER


async def test_counts_are_shown_and_what_is_not_told_is_said_to_be_few() -> None:
    world = MerchantWorld()
    answer = await get(world, "/merchant/looks", authorization="Bearer access-7")
    assert answer.status_code == 200, answer.text
    for text in ("388", "371", "shoppers", "Sale: 352 shoppers", "fewer than 5", "cd" * 16):
        assert text in answer.text, text
    assert answer.text.index("2026-04-16") < answer.text.index("2026-04-15") < answer.text.index("2026-04-14")
    assert world.registry.tokens == ["access-7"]
    assert world.browses == []  # recorded by the audit service, which is asked as who looks
    assert_harmless(answer.text)
    await get(world, "/merchant/looks?from=2026-04-01&until=2026-04-03")
    assert world.registry.days == ("2026-04-01", "2026-04-03")
    assert DAYS == 14


async def test_wrong_days_and_who_may_not() -> None:
    world = MerchantWorld()
    for wrong in (
        "from=x",
        "from=2026-13-01",
        "from=2026-01-02&until=2026-01-01",
        "from=2020-01-01&until=2026-01-01",
    ):
        assert (await get(world, f"/merchant/looks?{wrong}")).status_code == 400
    for who, status in ((NOBODY, 401), (SHOPPER, 403), (EVERYBODY, 403)):
        world.who = who
        assert (await get(world, "/merchant/looks")).status_code == status
    assert world.registry.tokens == []


async def test_what_the_audit_service_refuses_is_refused_here() -> None:
    world = MerchantWorld()
    for error, status in ((NeighbourAwayError("away"), 503), (ForbiddenError("no"), 403)):
        world.registry.fails_with = error
        assert (await get(world, "/merchant/looks")).status_code == status
