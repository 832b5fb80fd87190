"""Room for queries and webhooks: limits hold however calls lie over one another, and whatever was kept before."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.visibility import VisibilityPolicy
from services.query.epcis_problems import NotPermittedError
from services.query.webhooks.documents import owner_row
from services.query.webhooks.room import OWNER_PLACE, PLACE, Room, places
from services.query.webhooks.values import Damaged, OwnerId, OwnerKind
from tests.unit.visible_world import MAKER
from tests.unit.webhook_world import MOST, Hooked

OWNERS = (OwnerId(OwnerKind.MERCHANT, "1"), OwnerId(OwnerKind.ACCOUNT, "1"), None)
ROOM = Room(6, 3)
Document = dict[str, Any]
OWNER = {"owner_kind", "owner_id"}


class Kept:
    """A collection with its two unique indexes; a call looks at one time and inserts at a later one."""

    def __init__(self, there: list[tuple[OwnerId | None, int | None]]) -> None:
        """Keep what was there before: its owner, and its place of all, None for what an earlier release kept."""
        self.documents: list[Document] = []
        self.waiting: list[Document] = []
        for owner, number in there:
            rows = {PLACE: number, OWNER_PLACE: f"before/{number}"} if number is not None else {}
            self.documents.append({**owner_row(owner), **rows})

    def look(self, owner: OwnerId | None) -> None:
        try:
            self.waiting.append({**owner_row(owner), **places(self.documents, owner, ROOM, "webhooks")})
        except NotPermittedError:
            assert len(self.documents) >= ROOM.most or self.of(owner) >= ROOM.most_of_owner

    def insert(self, which: int) -> None:
        made = self.waiting.pop(which)
        if not any(made[name] == each.get(name) for each in self.documents for name in (PLACE, OWNER_PLACE)):
            before = len(self.documents)
            self.documents.append(made)
            assert before < ROOM.most

    def of(self, owner: OwnerId | None) -> int:
        row = owner_row(owner)
        return sum({name: each[name] for name in each if name in OWNER} == row for each in self.documents)


@given(st.randoms(use_true_random=True))
def test_calls_that_lie_over_one_another_are_never_over_a_limit(random: Random) -> None:
    old = [(random.choice(OWNERS), None) for _ in range(random.randint(0, ROOM.most))]
    over = [(random.choice(OWNERS), number) for number in random.sample(range(10), random.randint(0, 3))]
    kept = Kept([*old, *over])
    for _ in range(100):
        before = {owner: kept.of(owner) for owner in OWNERS}
        match random.choice(("look", "look", "insert", "insert", "remove")):
            case "look":
                kept.look(random.choice(OWNERS))
            case "insert" if kept.waiting:
                kept.insert(random.randrange(len(kept.waiting)))
            case "remove" if kept.documents:
                kept.documents.pop(random.randrange(len(kept.documents)))
        for owner in OWNERS:
            assert kept.of(owner) <= max(before[owner], ROOM.most_of_owner)


def test_of_two_that_want_the_last_place_one_has_it() -> None:
    kept = Kept([(OWNERS[0], 0), (OWNERS[0], None)])
    kept.look(OWNERS[0])
    kept.look(OWNERS[0])
    kept.insert(0)
    kept.insert(0)
    assert kept.of(OWNERS[0]) == ROOM.most_of_owner
    with pytest.raises(NotPermittedError, match="you have 3 webhooks already: remove one first"):
        places(kept.documents, OWNERS[0], ROOM, "webhooks")
    assert places(kept.documents, OWNERS[1], ROOM, "webhooks")[OWNER_PLACE] == "account:1/0"


def test_a_damaged_place_is_in_nobodys_way() -> None:
    there = [{PLACE: {"a": 1}, OWNER_PLACE: ["x"]}, {PLACE: "0"}]
    assert places(there, OWNERS[0], ROOM, "queries") == {PLACE: 0, OWNER_PLACE: "merchant:1/0"}


def test_webhooks_over_the_limit_are_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    hooked = Hooked({MAKER: VisibilityPolicy("public")})
    hooked.subscribe(hooked.key_of(MAKER))
    assert hooked.gauge("goodstrace_query_webhooks", state="over") == 0
    hooked.store.damaged = [Damaged(f"{number:032x}", "q", "why") for number in range(MOST + 1)]
    for _ in range(2):
        assert hooked.gauge("goodstrace_query_webhooks", state="over") == 2
    assert hooked.gauge("goodstrace_query_webhooks_failing") == MOST + 2, "the alert that fits"
    assert capsys.readouterr().out.count("webhooks over the limit get nothing") == 1
    hooked.store.damaged = []
    assert hooked.gauge("goodstrace_query_webhooks", state="over") == 0
