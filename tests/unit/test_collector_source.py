"""The collector's reader of Kafka: whatever fails while a batch is gathered, the next one begins where the group has come."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from services.runtime import group_source as kafka
from services.runtime.errors import UnavailableError
from services.runtime.group_source import Source

TOPIC = "goods.collected"
RECORDS = 9
Rebalance = Callable[[Any, list[TopicPartition]], None]


class FetchedMessage:
    """A record, or an error that the library hands out in the place of one."""

    def __init__(self, offset: int, error: KafkaError | None = None) -> None:
        self._offset, self._error = offset, error

    def offset(self) -> int:
        return self._offset

    def error(self) -> KafkaError | None:
        return self._error

    def __len__(self) -> int:
        return 1


class FakeConsumer:
    """One partition of RECORDS records. Reading moves the position on whether or not the caller keeps what it got."""

    def __init__(self) -> None:
        self.at = 0
        self.kept = 0
        self.fetches = 0
        self.consumed = False
        self.errors_at: set[int] = set()
        self.rebalances_at: set[int] = set()
        self.failing_looks = 0

    def subscribe(
        self, _topics: list[str], on_assign: Rebalance, on_revoke: Rebalance, **_: Rebalance
    ) -> None:
        self.on_assign, self.on_revoke = on_assign, on_revoke
        on_assign(self, [TopicPartition(TOPIC, 0)])

    def poll(self, _timeout_s: float) -> FetchedMessage | None:
        return next(iter(self._fetch(1)), None)

    def consume(self, count: int, _timeout_s: float) -> list[FetchedMessage]:
        return self._fetch(min(count, 2))

    def _fetch(self, count: int) -> list[FetchedMessage]:
        self.fetches += 1
        self.consumed = True
        if self.fetches in self.rebalances_at:
            self.on_revoke(self, [TopicPartition(TOPIC, 1)])
        offsets = range(self.at, min(self.at + count, RECORDS))
        self.at = offsets.stop
        messages = [FetchedMessage(offset) for offset in offsets]
        if self.fetches in self.errors_at:
            return [*messages, FetchedMessage(-1, KafkaError(KafkaError._TRANSPORT))][-count:]
        return messages

    def committed(self, places: list[TopicPartition], _timeout_s: float) -> list[TopicPartition]:
        if self.failing_looks:
            self.failing_looks -= 1
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return [TopicPartition(place.topic, place.partition, self.kept or -1001) for place in places]

    def position(self, places: list[TopicPartition]) -> list[TopicPartition]:
        return [
            TopicPartition(each.topic, each.partition, self.at if self.consumed else -1001) for each in places
        ]

    def get_watermark_offsets(self, _place: TopicPartition, *, cached: bool) -> tuple[int, int]:
        assert cached
        return 2, RECORDS

    def commit(self, offsets: list[TopicPartition], **_: bool) -> None:
        self.kept = offsets[0].offset

    def seek(self, place: TopicPartition) -> None:
        self.consumed = False
        self.at = 0 if place.offset == OFFSET_BEGINNING else place.offset

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        for place in places:
            self.seek(place)

    def incremental_unassign(self, _places: list[TopicPartition]) -> None:
        pass


def reader(fake: FakeConsumer, taken: list[int]) -> Source:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka, "consumer", lambda *_, **__: fake)
        return Source("", "group", [TOPIC], lambda _topic, _partition, offset: taken.append(offset))


def drained(source: Source, max_records: int = 4) -> list[int]:
    """Read, and commit, to the end as the runner does: what fails is tried again."""
    given_out: list[int] = []
    for _ in range(100):
        try:
            batch = source.poll(max_records, 1000, 0)
        except UnavailableError:
            continue
        offsets = [message.offset() or 0 for message in batch]
        given_out += offsets
        if offsets:
            source.commit({(TOPIC, 0): offsets[-1] + 1})
    return given_out


def test_records_before_a_passing_error_in_their_batch_are_read_again() -> None:
    fake, taken = FakeConsumer(), list[int]()
    fake.errors_at = {2}
    source = reader(fake, taken)
    with pytest.raises(UnavailableError):
        source.poll(4, 1000, 0)
    assert fake.at > 0
    assert [message.offset() for message in source.poll(4, 1000, 0)] == [0, 1, 2, 3]
    assert taken == [0, 0]  # the windows are filled again too


def test_records_dropped_at_a_rebalance_are_read_again_where_going_back_fails_at_first() -> None:
    fake = FakeConsumer()
    source = reader(fake, [])
    source.poll(3, 1000, 0)
    source.commit({(TOPIC, 0): 3})
    fake.rebalances_at, fake.failing_looks = {fake.fetches + 2}, 2
    for _ in range(2):
        with pytest.raises(UnavailableError):
            source.poll(4, 1000, 0)
    assert [message.offset() for message in source.poll(4, 1000, 0)] == [3, 4, 5, 6]


def test_an_undisturbed_reader_never_goes_back() -> None:
    taken: list[int] = []
    assert drained(reader(FakeConsumer(), taken)) == list(range(RECORDS))
    assert taken == [0]


@given(st.sets(st.integers(1, 12)), st.sets(st.integers(1, 12)), st.integers(0, 3), st.integers(1, 5))
def test_every_record_is_given_once_and_in_order_whatever_fails(
    errors_at: set[int], rebalances_at: set[int], failing_looks: int, max_records: int
) -> None:
    fake = FakeConsumer()
    source = reader(fake, [])
    fake.errors_at, fake.rebalances_at, fake.failing_looks = errors_at, rebalances_at, failing_looks
    assert drained(source, max_records) == list(range(RECORDS))


@pytest.mark.parametrize(("kept", "behind"), [(0, RECORDS - 2), (5, RECORDS - 5), (RECORDS, 0)])
def test_the_lag_is_known_before_the_first_record_comes(kept: int, behind: int) -> None:
    fake = FakeConsumer()
    fake.kept = kept
    source = reader(fake, [])
    assert source.lag() == 0  # no partition yet
    source._take_pending()
    assert source.lag() == behind
    assert drained(source) == list(range(kept, RECORDS))
    assert source.lag() == 0
    source.rewind()
    assert source.lag() == 0  # it is where the group has come, though nothing was read since
