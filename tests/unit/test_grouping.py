"""Values gathered by what they belong to."""

from hypothesis import given
from hypothesis import strategies as st

from goodstrace.grouping import grouped


@given(st.lists(st.tuples(st.integers(0, 5), st.integers())))
def test_each_key_has_its_values_in_the_order_in_which_they_came(pairs: list[tuple[int, int]]) -> None:
    found = grouped(iter(pairs))
    assert list(found) == list(dict.fromkeys(key for key, _ in pairs))
    for key, values in found.items():
        assert values == [value for other, value in pairs if other == key]
