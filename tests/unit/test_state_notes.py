"""What is noted of states that depend on registrations: of each note its day is noted, too, and no name stands for both."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from services.collector.renewals import part_of
from services.collector.state_store import _notes

DAY_MS = 86_400_000
KEYS = st.text("17/@k", max_size=6)
MERCHANTS = st.dictionaries(st.sampled_from([1, 7, 17, 71, 177]), st.integers(0, 3 * DAY_MS), max_size=3)


@given(asking=st.dictionaries(KEYS, MERCHANTS, max_size=6))
def test_each_note_has_its_day_and_all_have_names_of_their_own(
    asking: Mapping[str, Mapping[int, int]],
) -> None:
    rows = list(_notes(asking))
    assert len({each["_id"] for each in rows}) == len(rows)
    days = [(each["asked"], each["until_ms"]) for each in rows if "asked" in each]
    notes = {(each["key"], each["merchant"]): each for each in rows if "asked" not in each}
    assert sorted(days) == sorted({(each["merchant"], each["until_ms"]) for each in notes.values()})
    assert notes.keys() == {(key, merchant) for key, merchants in asking.items() for merchant in merchants}
    for (key, merchant), note in notes.items():
        assert 0 < note["until_ms"] - asking[key][merchant] <= DAY_MS
        assert note["part"] == part_of(key)
    assert list(_notes(asking)) == rows
