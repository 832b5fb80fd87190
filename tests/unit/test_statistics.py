"""Statistics of looks: each record counts once whatever comes twice, and windows add up."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.figures import values
from services.audit.figures.values import Counts, Look, Marks, Window, figures, windows_of
from services.runtime.goods_browses.days import DAY_MS

BEGIN_MS = int(dt.datetime(2026, 10, 30, 22, tzinfo=dt.UTC).timestamp()) * 1000
Said = Look | Marks

look = st.builds(
    lambda time_ms, kind, user, role, method, refused, times, keys: Look(
        offset=0,
        time_ms=time_ms,
        kind=kind,
        user=user,
        role=role,
        method=method,
        refused=refused if kind in ("sign-in", "refusal") else "",
        times=times if kind == "refusal" else 1,
        shown=len(keys),
        keys=tuple(keys),
        merchant=len(user),
    ),
    st.integers(BEGIN_MS, BEGIN_MS + 5 * DAY_MS),
    st.sampled_from(["look", "sign-in", "refusal", "account-change"]),
    st.sampled_from(["", "a", "bb", "ccc"]),
    st.sampled_from(["shopper", "merchant"]),
    st.sampled_from(["Trace", "GetGoods"]),
    st.sampled_from(["wrong-password", "role"]),
    st.integers(1, 5),
    st.lists(st.sampled_from(["k1", "k2", "k3"]), max_size=3),
)
marks = st.builds(
    Marks,
    st.just(0),
    st.integers(BEGIN_MS, BEGIN_MS + 5 * DAY_MS),
    st.integers(0, 3),
    st.integers(0, 3),
)
said = st.lists(st.one_of(look, look, marks), max_size=40)


def _placed(records: Sequence[Said]) -> list[Said]:
    return [msgspec.structs.replace(each, offset=offset) for offset, each in enumerate(records)]


def _count(batches: Sequence[Sequence[Said]]) -> dict[tuple[Window, int], Counts]:
    kept: dict[tuple[Window, int], Counts] = {}
    for batch in batches:
        for window, start_ms in windows_of(batch):
            values.counted(kept.setdefault((window, start_ms), Counts()), window, start_ms, batch)
    return kept


@given(said, st.lists(st.integers(0, 40), max_size=6))
def test_what_comes_again_counts_once(records: list[Said], read_again_from: list[int]) -> None:
    whole = _placed(records)
    again = [whole[start:] for start in read_again_from]
    assert _count([whole, *again]) == _count([[each] for each in whole])


@given(said, st.integers(1, 3))
def test_windows_and_partitions_add_up(records: list[Said], partitions: int) -> None:
    kept = [_count([_placed(records[part::partitions])]) for part in range(partitions)]
    looks = [each for each in records if isinstance(each, Look)]
    for window in Window:
        starts = {start for each in kept for long, start in each if long is window}
        told = {
            start: figures(each[window, start] for each in kept if (window, start) in each)
            for start in starts
        }
        for start, each in told.items():
            inside = [look for look in looks if start <= look.time_ms < window.next(start)]
            assert each.counts.records == len(inside)
            assert each.counts.shown == sum(look.shown for look in inside)
            assert each.users == len({look.user for look in inside if look.user})
            assert each.keys == len(
                {key for look in inside if look.kind != "account-change" for key in look.keys}
            )
            assert each.counts.looks == sum(look.kind == "look" for look in inside)
            changes = sum(look.kind == "account-change" for look in inside)
            assert each.counts.account_changes == changes
            assert sum(tally.account_changes for tally in each.counts.by_role.values()) == changes
            by_role = Counter(look.role for look in inside if look.kind == "look")
            assert {
                name: tally.looks for name, tally in each.counts.by_role.items() if tally.looks
            } == by_role
            assert sum(tally.refusals for tally in each.counts.by_method.values()) == each.counts.refusals
            assert sum(each.counts.by_reason.values()) == each.counts.refusals + each.counts.sign_ins_refused
        assert sum(each.counts.records for each in told.values()) == len(looks)


@pytest.mark.parametrize(
    ("window", "time", "start", "following"),
    [
        (Window.HOUR, "2026-10-31T23:59:59", "2026-10-31T23:00:00", "2026-11-01T00:00:00"),
        (Window.DAY, "2026-10-31T23:59:59", "2026-10-31T00:00:00", "2026-11-01T00:00:00"),
        (Window.MONTH, "2026-12-31T23:59:59", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        (Window.MONTH, "2028-02-01T00:00:00", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
    ],
)
def test_windows_begin_and_end_in_utc(window: Window, time: str, start: str, following: str) -> None:
    assert window.start(_ms(time)) == _ms(start)
    assert window.next(_ms(start)) == _ms(following)


def test_outcomes_that_are_not_told_are_unknown() -> None:
    looks = [
        Look(offset=place, time_ms=BEGIN_MS, kind="look", role="shopper", method="Trace")
        for place in range(5)
    ]
    kept = _count([[*looks, Marks(5, BEGIN_MS, answered=2, failed=1, withheld=1)]])
    told = figures([kept[Window.DAY, Window.DAY.start(BEGIN_MS)]])
    assert told.outcomes == {"answered": 2, "failed": 1, "withheld": 1, "unknown": 1}


def test_names_beyond_a_hundred_are_counted_together() -> None:
    looks = [
        Look(offset=place, time_ms=BEGIN_MS, kind="look", role="shopper", method=f"Method{place}")
        for place in range(150)
    ]
    counts = _count([looks])[Window.MONTH, Window.MONTH.start(BEGIN_MS)]
    assert len(counts.by_method) == values.MOST_NAMES + 1
    assert counts.by_method[values.OTHER].looks == 50


def _ms(time: str) -> int:
    return int(dt.datetime.fromisoformat(f"{time}+00:00").timestamp()) * 1000


def test_figures_of_a_release_that_counted_no_changes_of_accounts_are_read() -> None:
    earlier = msgspec.msgpack.encode(
        {"offset": 3, "records": 4, "looks": 4, "by_role": {"shopper": [4, 0, 0]}}
    )
    counts = msgspec.msgpack.decode(earlier, type=Counts)
    counts.add(
        Look(offset=4, time_ms=BEGIN_MS, kind="account-change", role="shopper", method="ResetCredential")
    )
    assert (counts.looks, counts.account_changes) == (4, 1)
    assert msgspec.to_builtins(counts.by_role) == {"shopper": [4, 0, 0, 1]}
