"""Offsets of groups: what goes wrong with one partition is said, and not taken for done."""

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError

from services.runtime import consumer_groups
from services.runtime.errors import UnavailableError

GROUP = "group"


class Place:
    """A partition of an answer, as the library gives it: what went wrong with it stands in its place alone."""

    def __init__(self, partition: int, offset: int, code: int | None = None) -> None:
        self.topic, self.partition, self.offset = "topic", partition, offset
        self.error = KafkaError(code) if code is not None else None


class Answering:
    """An admin client whose answers about a group are of these partitions; the group has no members."""

    def __init__(self, *places: Place) -> None:
        self.members: tuple[str, ...] = ()
        self.topic_partitions = places

    def _answer(self, *_: Any, **__: Any) -> dict[str, "Future[Any]"]:
        done: Future[Any] = Future()
        done.set_result(self)
        return {GROUP: done}

    list_consumer_group_offsets = alter_consumer_group_offsets = describe_consumer_groups = _answer


def test_what_is_well_is_given() -> None:
    admin: Any = Answering(Place(0, 7), Place(1, -1001))
    assert consumer_groups.committed(admin, GROUP, 1.0) == {("topic", 0): 7}
    consumer_groups.set_back(admin, GROUP, {("topic", 0): 7}, 1.0)


def test_an_error_of_one_partition_is_raised() -> None:
    admin: Any = Answering(Place(0, 7), Place(1, 7, KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(UnavailableError):
        consumer_groups.committed(admin, GROUP, 1.0)
    with pytest.raises(UnavailableError):
        consumer_groups.set_back(admin, GROUP, {("topic", 0): 7, ("topic", 1): 7}, 1.0)
