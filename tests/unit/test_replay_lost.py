"""A log that was cut off is told from one that waits to be sealed: by what an earlier run compared, and by what was published."""

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.merkle import Frontier, leaf_hash, root_of
from services.ledger import root_records
from services.replay import runs
from services.replay.commands import replay
from services.replay.comparing import EARLIER_RUN, Mark
from services.replay.published import take
from services.replay.verifying import Replayed, gone
from services.runtime import envelope
from services.runtime.errors import ServiceError
from services.runtime.state_file import StateFile
from services.sealing.core import Fetched
from services.sealing.fsck.faults import Fault
from services.sealing.fsck.saved import Saved
from services.sealing.values import Head, StoredCheckpoint
from tests.records import make_value
from tests.unit.test_replay import LOG, sealed
from tests.unit.test_replay_marks import RECORDS, Store, compared, mark_at
from tests.unit.test_root_rounds import NOTE

HASHES = [leaf_hash(each.record.entry) for each in RECORDS]
BLOCKS = sealed(RECORDS, [2] * 6)
TOPIC = "logs.checkpoints"


def published(size: int, root: bytes | None = None) -> Saved:
    return Saved(size, root_of(HASHES[:size]) if root is None else root, "the root log's topic")


def fields(found: Replayed) -> list[tuple[str, int | None]]:
    return [(each.field, each.index) for each in found.lost]


@given(st.integers(0, 6), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
async def test_a_store_smaller_than_what_was_compared_has_lost_it(left: int, known: int) -> None:
    """And one that has as much, with records that are not sealed yet, is only behind."""
    mark = await mark_at(Store(BLOCKS), known)
    found, told = await compared(Store(BLOCKS[:left]), mark)
    assert found.waiting == 12 - 2 * left
    assert fields(found) == ([("rolled-back", 2 * left)] if left < known else [])
    assert found.sound is (left >= known)
    earlier = told[-1][1].earlier
    assert earlier == (Saved(2 * known, root_of(HASHES[: 2 * known]), EARLIER_RUN) if left < known else None)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) <= 12), st.data())
@settings(max_examples=40, deadline=None)
async def test_a_store_is_held_to_what_was_published_without_any_state(
    sizes: list[int], data: st.DataObject
) -> None:
    """Wherever its blocks are cut: the checkpoint may be of another store, made anew since."""
    size, total = data.draw(st.integers(1, 12)), sum(sizes)
    store = Store(sealed(RECORDS, sizes))
    found, _ = await compared(store, Mark(LOG), [published(size)])
    assert fields(found) == ([("rolled-back", total)] if size > total else [])
    found, _ = await compared(store, Mark(LOG), [published(size, bytes(32))])
    assert [each.field for each in found.lost] == ["rolled-back" if size > total else "rewritten"]
    assert not found.sound


async def test_a_log_that_the_topic_of_today_gives_and_an_earlier_one_did_not_was_rewritten() -> None:
    other = [leaf_hash(b"%d" % number) for number in range(7)]
    before = Frontier().append(other)
    mark = Mark(LOG, 3, before.size, 7, before.hashes, "ab" * 32)
    for _ in range(2):
        found, told = await compared(Store(BLOCKS), mark)
        [fault] = found.lost
        assert (fault.field, fault.block, found.difference) == ("rewritten", 3, None)
        assert root_of(other).hex() in fault.problem
        mark = told[-1][1]  # as if it was interrupted there: it does not forget
        assert mark.earlier is not None


async def test_what_was_lost_is_told_again_after_an_interruption_and_not_once_it_is_back() -> None:
    mark = await mark_at(Store(BLOCKS), 5)
    _, told = await compared(Store(BLOCKS[:3]), mark)
    for reached in (mark for _, mark in told):
        kept = msgspec.json.decode(msgspec.json.encode(reached), type=Mark)
        assert kept == reached
        found, _ = await compared(Store(BLOCKS[:3]), kept)
        assert fields(found) == [("rolled-back", 6)]
        assert found.resumed == kept.size
        found, after = await compared(Store(BLOCKS), kept)
        assert found.sound
        assert after[-1][1].earlier is None
        # cut off once more, below where it was: it is still held to the most that was known
        found, _ = await compared(Store(BLOCKS[:1]), kept)
        assert fields(found) == [("rolled-back", 2)]
        assert "was of size 10" in found.lost[0].problem


async def test_of_a_log_that_is_not_there_at_all_everything_was_lost() -> None:
    mark = await mark_at(Store(BLOCKS), 4)
    found = gone(mark, "goods.stored", [published(12)])
    assert found is not None
    assert fields(found) == [("rolled-back", 0), ("rolled-back", 0)]
    assert not found.sound
    assert gone(Mark(LOG), "goods.stored") is None
    with pytest.raises(ServiceError, match="none of ours"):
        gone(Mark(LOG, 1, 5), "goods.stored")


def pin(log: str, size: int) -> bytes:
    """What a round of the root log writes of a log."""
    head = Head(size, StoredCheckpoint(log, size, bytes(32), NOTE.format(size=size)))
    made = root_records.checkpoint_record(head, b"header", record_id=bytes(16), salt=bytes(32), time_ms=1)
    return envelope.encode(made)


def taken(*values: bytes) -> dict[str, list[Saved]]:
    found = dict[str, list[Saved]]()
    for offset, value in enumerate(values):
        take(found, TOPIC, Fetched(offset, value))
    return found


def test_of_the_topic_the_largest_checkpoint_of_each_log_counts() -> None:
    values = [
        pin("goods/0", 4),
        pin("browse/0", 1),
        pin("goods/0", 9),
        make_value(1),
        b"\xff",
        pin("goods/0", 9),
    ]
    found = taken(*values)
    assert {log: [each.size for each in of_log] for log, of_log in found.items()} == {
        "goods/0": [9],
        "browse/0": [1],
    }
    assert found["goods/0"][0].source == "the checkpoint at offset 2 of logs.checkpoints"


@given(st.lists(st.integers(1, 9), max_size=12))
def test_what_was_pinned_before_a_log_was_pinned_from_a_smaller_size_on_counts_too(sizes: list[int]) -> None:
    found = taken(*(pin("goods/0", size) for size in sizes)).get("goods/0", [])
    tops = [size for size, after in zip_longest(sizes, sizes[1:], fillvalue=0) if after < size]
    assert [each.size for each in found] == tops


async def test_a_log_that_was_cut_off_and_grew_otherwise_is_rewritten_however_long_it_is_now() -> None:
    """Its topic was made anew with other records, which agree with it, and its later checkpoints are its own."""
    before, since = published(7, bytes(32)), published(12)
    found, _ = await compared(Store(BLOCKS), Mark(LOG), [before, since])
    assert [each.field for each in found.lost] == ["rewritten"]


async def test_the_state_file_stays_until_the_log_is_what_it_was(tmp_path: Path) -> None:
    """Whatever else is compared meanwhile, and whole runs do not go on from where it was."""
    path = tmp_path / "state.json"
    state = StateFile(path, "store", Mark)
    mark = await mark_at(Store(BLOCKS), 5)
    lost, told = await compared(Store(BLOCKS[:3]), mark)
    state.keep(LOG, told[-1][1])
    state.keep("goods/1", Mark("goods/1", 1, 1, 1, (bytes(32),)))
    runs._settle(state, [lost, Replayed(log="goods/1", topic="goods.stored")])
    state = StateFile(path, "store", Mark)
    assert state.logs() == [LOG]
    held = state.get(LOG)
    assert held == mark.anew()
    assert held is not None
    assert held.size == 0
    runs._settle(state, [Replayed(log="browse/0", topic="goods.browsed")])
    assert StateFile(path, "store", Mark).get(LOG) == held
    whole, told = await compared(Store(BLOCKS), held)
    state.keep(LOG, told[-1][1])
    runs._settle(state, [whole])
    assert not path.exists()


def test_the_state_of_another_store_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = StateFile(path, "one", Mark)
    state.keep(LOG, Mark(LOG, 1, 1, 1, (bytes(32),)))
    state.write()
    before = path.read_bytes()
    with pytest.raises(
        ServiceError, match="To begin anew on purpose, remove it or name another with --state"
    ):
        runs._state(path, "another")
    assert path.read_bytes() == before
    assert runs._state(path, "one").logs() == [LOG]
    path.unlink()
    assert runs._state(path, "another").logs() == []


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_says_what_it_means_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, as_json: bool
) -> None:
    fault = Fault(log=LOG, index=2, field="rolled-back", problem="was of size 8, the log has 2: rolled back")
    found = Replayed(log=LOG, topic="goods.stored", blocks=1, entries=2, waiting=6, lost=[fault])

    async def verified(*_: Any) -> list[Replayed]:
        return [found]

    monkeypatch.setattr(runs, "verify_all", verified)
    path = tmp_path / "state.json"
    done = CliRunner().invoke(replay, ["verify", "--state", str(path), *(["--json"] if as_json else [])])
    assert done.exit_code == 1
    if as_json:
        said = json.loads(done.output)
        assert (said["sound"], said["logs"][0]["lost"][0]["field"]) == (False, "rolled-back")
        assert set(said["kinds"]["rolled-back"]) == {"standing", "meaning", "hint"}
        return
    for text in (
        "LOST    2 entries in 1 blocks, 6 records not sealed yet",
        "goods/0, index 2, rolled-back: was of size 8",
        "What to do: do not repair",
        "docs/runbooks/recovery.md, A log was cut off",
        f"the state file {path} knows",
        "to begin anew on purpose, remove it",
    ):
        assert text in done.output
