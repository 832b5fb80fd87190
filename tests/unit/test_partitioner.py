"""murmur2 as Apache Kafka's own clients have it, and the partitions of events' keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.partitioner import event_key, murmur2, partition_of
from tests.vector_files import vectors

VECTORS = vectors("partitions")

# From Apache Kafka's UtilsTest.testMurmur2 (Apache-2.0), as signed 32-bit numbers.
KAFKA = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.mark.parametrize(("text", "expected"), KAFKA.items())
def test_kafkas_own_vectors(text: str, expected: int) -> None:
    assert murmur2(text.encode()) == expected & 0xFFFFFFFF


@pytest.mark.parametrize("vector", VECTORS["event_keys"])
def test_published_partitions(vector: dict[str, object]) -> None:
    merchant, event_id = vector["merchant"], vector["event_id"]
    assert isinstance(merchant, int)
    assert isinstance(event_id, str)
    key = event_key(merchant, event_id)
    assert key.hex() == vector["key"]
    assert murmur2(key) == vector["murmur2"]
    assert [partition_of(key, count) for count in (1, 4, 12, 1024)] == vector["partitions_of_1_4_12_1024"]


@given(st.binary(max_size=100), st.integers(1, 1024))
def test_a_partition_is_one_of_them_and_always_the_same(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, partitions) == partition_of(bytes(key), partitions)
