"""Comparing a log with its topic, a rebuilt log with what was published, and telling how far it is; all without I/O."""

import io
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.merkle import leaf_hash, root_of
from services.collector.stages import StageFault
from services.replay.comparing import Comparison, Mark
from services.replay.rebuilding import RootComparison
from services.replay.sources import origins, version_of
from services.replay.through import Through
from services.runtime import topics
from services.runtime.errors import EnvelopeError, ServiceError
from services.runtime.progress import Progress
from services.runtime.settings import KafkaSettings
from services.runtime.state_file import StateFile
from services.sealing import core
from services.sealing.core import Block, Fetched, LogState, Sealable, TopicIdentity
from services.sealing.errors import CorruptError
from services.sealing.values import StoredBlock, StoredCheckpoint
from tests.records import make_value
from tests.unit.collector_builders import poisoned

LOG = "goods/0"
TOPIC = TopicIdentity("cluster", "goods.stored", "topic-id")


def sealables(count: int) -> list[Sealable]:
    return [core.sealable(LOG, Fetched(number, make_value(number))) for number in range(count)]


def sealed(records: list[Sealable], sizes: list[int]) -> list[tuple[StoredBlock, Block, list[Sealable]]]:
    """Seal records into blocks of the given sizes."""
    state, made, start = LogState(LOG, 0), [], 0
    for size in sizes:
        mine = records[start : start + size]
        block = core.next_block(state, TOPIC, mine, 1_000, "epoch")
        made.append((block.stored(bytes(64)), block, mine))
        state, start = block.after, start + size
    return made


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
@settings(max_examples=40, deadline=None)
def test_the_same_records_are_found_the_same_from_any_mark_on(sizes: list[int], data: st.DataObject) -> None:
    blocks = sealed(sealables(sum(sizes)), sizes)
    comparison = Comparison(Mark(LOG), offsets=True)
    stop = data.draw(st.integers(0, len(blocks)))
    for number, (stored, block, mine) in enumerate(blocks):
        if number == stop:
            mark = msgspec.json.decode(msgspec.json.encode(comparison.mark), type=Mark)
            comparison = Comparison(mark, offsets=True)
        assert comparison.block(stored, block.packs, mine), comparison.difference
    assert comparison.mark.size == sum(sizes)
    assert comparison.mark.offset == sum(sizes)


@given(st.integers(0, 11), st.sampled_from(["entry", "part facts", "tags"]))
@settings(max_examples=40, deadline=None)
def test_a_record_that_differs_is_named_with_its_place(index: int, field: str) -> None:
    records = sealables(12)
    blocks = sealed(records, [5, 7])
    record = records[index].record
    part = record.parts[1]
    changed = {
        "entry": {"entry": record.entry[:-1] + b" "},
        "part facts": {"parts": (record.parts[0], msgspec.structs.replace(part, salt=bytes(32)))},
        "tags": {"tags": record.tags[1:]},
    }[field]
    other = msgspec.structs.replace(records[index], record=msgspec.structs.replace(record, **changed))
    comparison = Comparison(Mark(LOG), offsets=True)
    first_wrong = 0 if index < 5 else 1
    for number, (stored, block, mine) in enumerate(blocks[: first_wrong + 1]):
        fed = [other if each is records[index] else each for each in mine]
        assert comparison.block(stored, block.packs, fed) is (number < first_wrong)
    difference = comparison.difference
    assert difference is not None
    assert (difference.block, difference.index, difference.field) == (first_wrong, index, field)
    assert difference.offset == index


def test_offsets_that_the_header_does_not_cover_differ_only_where_the_topic_is_the_sealed_one() -> None:
    [(stored, block, mine)] = sealed(sealables(3), [3])
    moved = [msgspec.structs.replace(each, offset=each.offset + 10) for each in mine]
    direct = Comparison(Mark(LOG), offsets=True)
    assert not direct.block(stored, block.packs, moved)
    assert direct.difference is not None
    assert direct.difference.field == "offset"
    assert Comparison(Mark(LOG), offsets=False).block(stored, block.packs, moved)


def test_a_checkpoint_of_another_root_and_an_early_end_are_differences() -> None:
    [(stored, block, mine)] = sealed(sealables(3), [3])
    comparison = Comparison(Mark(LOG), offsets=True)
    assert comparison.block(stored, block.packs, mine)
    root = root_of([leaf_hash(each.record.entry) for each in mine])
    assert comparison.checkpoint(StoredCheckpoint(LOG, 3, root, ""))
    assert not comparison.checkpoint(StoredCheckpoint(LOG, 3, bytes(32), ""))
    assert comparison.difference is not None
    assert comparison.difference.field == "checkpoint"
    comparison.ended(2)
    assert comparison.difference.field == "count"


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5), st.lists(st.integers(1, 9), min_size=1, max_size=5)
)
@settings(max_examples=30, deadline=None)
def test_roots_are_compared_at_every_size_however_the_blocks_are_cut(
    ours: list[int], theirs: list[int]
) -> None:
    total = max(sum(ours), sum(theirs))
    ours, theirs = [*ours, total - sum(ours)], [*theirs, total - sum(theirs)]
    records = sealables(total)
    hashes = [leaf_hash(each.record.entry) for each in records]
    ends = [sum(theirs[: count + 1]) for count in range(len(theirs))]
    published = [StoredCheckpoint(LOG, size, root_of(hashes[:size]), "") for size in dict.fromkeys(ends)]
    wrong = msgspec.structs.replace(published[-1], root=bytes(32))
    comparison, spoiled = RootComparison(LOG), RootComparison(LOG)
    for stored, _, _ in sealed(records, [size for size in ours if size]):
        within = [each for each in published if stored.first < each.size <= stored.size]
        comparison.block(stored, within)
        spoiled.block(stored, [wrong if each is published[-1] else each for each in within])
    assert comparison.found.differing == []
    assert comparison.found.checkpoints == len(published)
    assert comparison.found.root == root_of(hashes).hex()
    assert spoiled.found.differing == [total]


def test_a_rebuilt_block_out_of_its_place_is_corrupt() -> None:
    blocks = sealed(sealables(4), [2, 2])
    with pytest.raises(CorruptError, match="begins at 2, not 0"):
        RootComparison(LOG).block(blocks[1][0], [])


def test_a_record_over_which_a_stage_fails_is_told_of_with_its_place() -> None:
    """It is refused, as by the collector; who compares must see why an entry is missing."""
    told = list[tuple[int, int, StageFault]]()
    through = Through(topics.GOODS_COLLECTED, 10, bytes(32), failed=lambda *failure: told.append(failure))
    assert through(3, [Fetched(17, poisoned({"parentID": 7}))]) == []
    ((partition, offset, fault),) = told
    assert (partition, offset, fault.stage) == (3, 17, "record")
    assert "record.py" in fault.told


def test_a_value_that_is_no_record_stops_the_stages_with_its_offset() -> None:
    through = Through(topics.GOODS_COLLECTED, 10, bytes(32))
    assert through.from_the_first
    assert not Through(topics.GOODS_CLASSIFIED, 10, bytes(32)).from_the_first
    with pytest.raises(EnvelopeError):
        through(0, [Fetched(7, b"\xff")])
    with pytest.raises(EnvelopeError, match="offset 8"):
        through(0, [Fetched(8, make_value(1))])


def test_the_state_is_of_one_comparison(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    state = StateFile(path, "one", Mark)
    state.keep(LOG, Mark(LOG, 3, 1, 9, (bytes(32),)))
    state.write()
    assert StateFile(path, "one", Mark).get(LOG) == Mark(LOG, 3, 1, 9, (bytes(32),))
    assert StateFile(path, "another", Mark).get(LOG) is None
    path.write_text("{")
    with pytest.raises(ServiceError, match="remove it to begin anew"):
        StateFile(path, "one", Mark)
    StateFile(tmp_path / "none", "one", Mark).remove()


def test_progress_says_share_rate_and_time_left() -> None:
    now = 100.0
    stream = io.StringIO()
    progress = Progress("goods/0", 1000, stream=stream, clock=lambda: now)
    progress.skip(200)
    now = 105.0
    progress.add(100)
    assert stream.getvalue() == ""  # not yet: a file gets a line now and then
    assert progress.line(now) == "goods/0: 300 of 1,000 (30 %), 20/s, 35 s left"
    now = 111.0
    progress.add(0)
    assert stream.getvalue().startswith("goods/0: 300 of 1,000 (30 %), 9/s, 1 min 17 s left\n")
    assert Progress("x", 0, stream=stream, clock=lambda: now).line(now) == "x: 0, 0/s"


def test_logs_of_stages_run_again_come_from_their_own_topics_and_the_root_log_is_last() -> None:
    assert [version_of(log) for log in ("goods/0", "goods.v2/0", "root", "goods.v2x/1")] == [
        None,
        "v2",
        None,
        None,
    ]
    found = origins(KafkaSettings(), "stored", 1, None, {"v3", "v2"})
    assert [(each.prefix, each.topic) for each in found] == [
        ("goods", "goods.stored"),
        ("browse", "goods.browsed"),
        ("goods.v2", "goods.stored.v2"),
        ("goods.v3", "goods.stored.v3"),
        ("index", "logs.index"),
        ("root", "logs.checkpoints"),
    ]
