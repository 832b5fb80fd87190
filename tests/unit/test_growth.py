"""Growing the number of partitions: who must remember what, and that a stage does from its own partition's records alone."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.collector import growth
from services.collector.flow import Reason, StageName
from services.collector.growth import cut, spread
from services.collector.stages import ORDER, Span
from services.collector.summarise import memories
from services.replay.through import Through
from services.runtime import envelope, topics
from services.runtime.envelope import Memory, Remembered
from services.runtime.errors import EnvelopeError
from services.runtime.partitioner import event_key, partition_of
from services.sealing.core import Fetched
from tests.unit.collector_builders import (
    SECRET,
    WHOLE,
    collected,
    counted,
    document,
    fresh_state,
    object_event,
    taken_up,
    wires,
)
from tests.vector_files import vectors

VECTORS: dict[str, Any] = vectors("memories")


def values(count: int, salt: int = 0) -> list[tuple[str, bytes]]:
    """Events with their IDs; another salt gives them as captured once more."""
    random = counted()
    for _ in range(salt):
        random(4)
    names = [f"urn:e:{number}" for number in range(count)]
    sent = collected(document(*[object_event(eventID=name) for name in names]), random=random)
    return list(zip(names, wires(sent), strict=True))


def by_partition(events: list[tuple[str, bytes]], partitions: int) -> dict[int, list[bytes]]:
    parts: dict[int, list[bytes]] = {each: [] for each in range(partitions)}
    for name, value in events:
        parts[partition_of(event_key(1, name), partitions)].append(value)
    return parts


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(1, 40), st.data())
@settings(max_examples=30, deadline=None)
def test_an_event_of_before_is_a_duplicate_after_any_growth(
    old: int, more: int, again: int, count: int, data: st.DataObject
) -> None:
    counts = [old, old + more, old + more + again]
    topic: dict[int, list[bytes]] = {}  # goods.collected
    passed: dict[int, list[bytes]] = {}  # goods.summarised
    for step, partitions in enumerate(counts):
        if step:
            known = [each for listed in passed.values() for value in listed for each in memories(value)]
            for partition, listed in spread(known, partitions, 1000).items():
                topic.setdefault(partition, []).extend(cut(listed))
        for partition, listed in by_partition(values(count, salt=1000 * step), partitions).items():
            topic.setdefault(partition, []).extend(listed)
        passed = {
            each: WHOLE.run(fresh_state(), listed).passed[StageName.SUMMARISE]
            for each, listed in topic.items()
        }
    stored, refused = [], []
    for partition, listed in topic.items():
        output = WHOLE.run(fresh_state(), listed)
        stored += output.passed[StageName.STORE]
        refused += [reason for _, reason, _ in output.rejected]
        through = Through(topics.GOODS_COLLECTED, 1000, SECRET)
        replayed = through(partition, [Fetched(offset, value) for offset, value in enumerate(listed)])
        assert [each.value for each in replayed] == output.passed[StageName.STORE]
        place = data.draw(st.integers(0, len(listed)))
        before = WHOLE.run(fresh_state(), listed[:place])
        after = WHOLE.run(taken_up(before.passed[StageName.SUMMARISE]), listed[place:])
        assert (
            before.passed[StageName.STORE] + after.passed[StageName.STORE] == output.passed[StageName.STORE]
        )
    assert len(stored) == count
    assert refused == [Reason.DUPLICATE] * (2 * count)


def known(number: int, placed: int = 0) -> Remembered:
    return Remembered(
        number.to_bytes(32, "big"), bytes(16), bytes(16), number.to_bytes(16, "big"), number, placed
    )


def test_a_partition_remembers_the_last_of_its_own_the_oldest_first() -> None:
    listed = [known(number, number) for number in range(20)]
    found = spread([*listed[::-1], *listed], 2, window=3)
    assert [each.time_ms for each in found[0]] == [14, 16, 18]
    assert [each.time_ms for each in found[1]] == [15, 17, 19]


def test_a_memory_is_cut_into_messages_that_kafka_takes() -> None:
    listed = [known(number, 2**31 - 1) for number in range(2 * growth.MEMORY_RECORDS + 1)]
    messages = cut(listed)
    assert len(messages) == 3
    assert max(map(len, messages)) < 1024 * 1024
    assert [each for value in messages for each in memories(value)] == listed


def test_only_summarise_reads_a_memory_and_it_goes_no_further() -> None:
    (value,) = cut([known(1)])
    output = WHOLE.run(fresh_state(), [value])
    assert output.passed == {stage: [value] if stage is StageName.SUMMARISE else [] for stage in ORDER}
    assert not output.rejected
    later = Span(StageName.RECORD, StageName.STORE).run(fresh_state(), [value])
    assert not any(later.passed.values())
    assert not later.rejected


def test_a_memory_is_no_record_and_a_broken_one_is_refused() -> None:
    with pytest.raises(EnvelopeError, match="memory"):
        envelope.decode(envelope.encode_memory(Memory((known(1),))))
    broken = Remembered(b"short", bytes(16), bytes(16), bytes(16), 0, 0)
    with pytest.raises(EnvelopeError, match="length"):
        envelope.decode_any(envelope.encode_memory(Memory((broken,))))


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_the_published_memories_are_made_and_read(vector: dict[str, Any]) -> None:
    found = [each for value in vector["summarised"] for each in memories(bytes.fromhex(value))]
    said = [
        {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
        for fields in map(msgspec.structs.asdict, found)
    ]
    assert said == vector["remembered"]
    assert [value.hex() for value in cut(found)] == [vector["bytes"]]
    assert memories(bytes.fromhex(vector["bytes"])) == found
