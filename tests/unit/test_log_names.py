"""The names of logs and the partitions they seal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.log_keys import log_of
from services.sealing.values import log_name, partition_of


@given(st.sampled_from(["goods", "browse", "goods.v2"]), st.integers(0, 10**6))
def test_a_log_is_named_after_its_partition(prefix: str, partition: int) -> None:
    assert partition_of(log_name(prefix, partition)) == partition
    assert log_of(f"example.org/log/0123/{log_name(prefix, partition)}") == f"{prefix}/{partition}"


def test_the_root_log_is_the_only_one_of_its_kind() -> None:
    assert log_name("root", 0) == "root"
    assert partition_of("root") == 0
    assert log_of("example.org/0123/root") == "root"
    with pytest.raises(ValueError, match="one partition"):
        log_name("root", 1)


@pytest.mark.parametrize("name", ["", "goods", "goods/", "goods/x", "goods/-1", "goods/²", "roots"])
def test_what_is_not_the_name_of_a_log_has_no_partition(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a log"):
        partition_of(name)
