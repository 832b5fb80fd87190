"""Who is told the names behind pseudonyms, and how users are found by name."""

import pytest

from services.audit.watch_names import WatchNames
from services.runtime.access.current import acting
from services.runtime.access.values import EVERYBODY, NOBODY, Principal, Role
from services.runtime.vault.lately import pseudonyms
from tests.watch_scenarios import BEGIN_MS, DAY_MS, pseudonym

NOW_MS = BEGIN_MS + 5 * DAY_MS + DAY_MS // 2


class _People:
    """Knows ann and bob, and their pseudonyms of every day."""

    def __init__(self) -> None:
        days = range(BEGIN_MS, NOW_MS + DAY_MS, DAY_MS)
        self.known = {pseudonym(name, day): name for name in ("ann", "bob") for day in days}
        self.asked: list[str] = []

    async def name_of(self, one: str) -> str | None:
        self.asked.append(one)
        return self.known.get(one)

    async def pseudonym(self, name: str, time_ms: int) -> str:
        return pseudonym(name, time_ms)


def _names(people: _People) -> WatchNames:
    return WatchNames(people, retention_days=2, now_ms=lambda: NOW_MS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("who", "is_told"),
    [
        (NOBODY, False),
        (Principal(name="eve", roles=frozenset({Role.AUDITOR})), False),
        (Principal(name="shop", roles=frozenset({Role.MERCHANT, Role.PLATFORM})), False),
        (Principal(name="oscar", roles=frozenset({Role.OPERATOR})), True),
        (EVERYBODY, True),
    ],
)
async def test_operators_alone_are_told_who_is_behind_a_pseudonym(who: Principal, is_told: bool) -> None:
    people = _People()
    ann, gone = pseudonym("ann", NOW_MS), "0" * 24
    with acting(who):
        told = await _names(people).known(
            [
                ("user", ann),
                ("series", ann),
                ("user", gone),
                ("user", "anonymous"),
                ("network", ann),
                ("key", "k"),
            ]
        )
    assert [(each.pseudonym, each.name) for each in told] == ([(ann, "ann")] if is_told else [])
    assert people.asked == (sorted([gone, ann]) if is_told else [])


async def test_users_are_found_by_name_on_the_days_that_are_kept() -> None:
    names = _names(_People())
    kept = [pseudonym("ann", NOW_MS - days * DAY_MS) for days in range(3)]
    assert await names.subjects("ann", 0, NOW_MS) == [*kept, "ann"]
    assert await names.subjects("ann", NOW_MS - DAY_MS, NOW_MS - DAY_MS) == [kept[1], "ann"]
    assert await names.subjects("ann", 0, BEGIN_MS) == ["ann"]
    assert await names.subjects(kept[0], BEGIN_MS, BEGIN_MS) == [kept[0]]


async def test_nobody_in_particular_has_no_pseudonyms() -> None:
    for name in ("anonymous", "unknown", "several"):
        assert await pseudonyms(_People(), name, 0, NOW_MS) == []  # type: ignore[arg-type]
