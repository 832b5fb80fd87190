"""What the index of looks makes of what is told, and of the records themselves: the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.record.v1 import record_pb2
from services.audit.index_rebuild import Owners, row_from
from services.audit.index_values import MARKS, Place, Row, marks_of, row_of
from services.sealing.browse import Browse, BrowseKind, browse_record, watched_browse
from tests.opened_browses import MemoryPeople

SALTS = (bytes(32),) * 4
words = st.text("abc", max_size=3)


@given(
    st.builds(
        Browse,
        user=st.sampled_from(["ann", "bob"]),
        method=st.sampled_from(["Trace", "ListBrowses"]),
        keys=st.just(()),
        sizes=st.just({}),
        purpose=words,
        events=st.integers(0, 9),
        merchant=st.integers(0, 2**32 - 1),
        kind=st.sampled_from(BrowseKind),
        refused=st.sampled_from(["", "role"]),
        role=st.sampled_from(["", "auditor"]),
    )
)
async def test_a_row_is_the_same_from_what_was_told_and_from_the_record(browse: Browse) -> None:
    person = await MemoryPeople().person(browse.user, 7)
    told = watched_browse(browse, person, record_id=b"i" * 16, time_ms=7)
    record = browse_record(
        browse, secret=bytes(32), user_key=person.key, record_id=b"i" * 16, time_ms=7, salts=SALTS
    )
    found = Owners({b"other": bytes(32), b"subject": person.key}).find(record)
    assert found is not None
    assert row_from(record, *found) == row_of(told, b"subject")
    assert Owners({b"other": bytes(32)}).find(record, b"subject") is None


def test_a_row_has_its_place_among_the_newest() -> None:
    told = record_pb2.WatchedBrowse(
        record_id=b"i" * 16, time_ms=5, kind="look", method="Trace", refused="role"
    )
    row = row_of(told, None)
    assert (row.outcome, row.mark, row.subject) == ("role", "unknown", None)
    assert row.place == Place(5, "69" * 16)
    assert isinstance(row, Row)


def test_marks_say_what_became_of_looks() -> None:
    told = record_pb2.WatchedBrowse(
        kind=MARKS, answered=[b"a" * 16], failed=[b"f" * 16], withheld=[b"w" * 16]
    )
    assert marks_of(told) == {b"a" * 16: "answered", b"f" * 16: "failed", b"w" * 16: "withheld"}


@pytest.mark.parametrize(
    "wrong",
    [
        record_pb2.WatchedBrowse(),
        record_pb2.WatchedBrowse(record_id=b"i" * 16),
        record_pb2.WatchedBrowse(record_id=b"short", kind="look"),
        record_pb2.WatchedBrowse(record_id=b"i" * 16, kind=MARKS),
    ],
)
def test_what_is_none_of_a_look_is_refused(wrong: record_pb2.WatchedBrowse) -> None:
    with pytest.raises(ValueError, match="look"):
        row_of(wrong, None)
    with pytest.raises(ValueError, match="ID"):
        marks_of(record_pb2.WatchedBrowse(failed=[b"short"]))
