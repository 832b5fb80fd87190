"""Sorting more rows than are held."""

import random

from hypothesis import given
from hypothesis import strategies as st

from goodstrace.completeness.rows import ROW_BYTES
from services.runtime.sorting import Sorter


@given(st.lists(st.integers(0, 400), max_size=20), st.integers(1, 300), st.integers(0, 2**32))
def test_rows_come_out_sorted_and_all_of_them(batches: list[int], part_rows: int, seed: int) -> None:
    random_ = random.Random(seed)
    rows = [[random_.randbytes(ROW_BYTES) for _ in range(count)] for count in batches]
    with Sorter(part_rows) as sorter:
        for batch in rows:
            sorter.add(batch)
        assert list(sorter.sorted()) == sorted(row for batch in rows for row in batch)
        assert sorter.rows == sum(batches)
