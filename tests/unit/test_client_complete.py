"""The client against services that are honest, or show too little or too old: an answer is complete, or says why it is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goodstrace.client import Client
from goodstrace.errors import (
    CallError,
    LeftOutError,
    RollbackError,
    StaleError,
    UnknownLogError,
    VerificationError,
)
from goodstrace.log_keys import INDEX_LOG, LogKeys
from services.query.index_gate import IndexGate
from tests.unit.completeness_world import CompleteWorld, MemoryReader, client, world

__all__ = ["client", "world"]  # the fixtures


def test_an_honest_answer_is_complete_and_says_up_to_where(
    client: Client, world: CompleteWorld, tell: Callable[[str], None]
) -> None:
    item = world.known.item
    assert item is not None
    answer = client.trace(item)
    assert answer.complete is not None, answer.incomplete_because
    assert answer.complete.sizes == world.sizes
    assert (answer.complete.root_size, answer.complete.index_size) == (world.leaf.root.size, 1)
    assert answer.complete.rows > len(answer.events)
    assert answer.complete.newer == 0
    looks = [look.method for look in world.recorder.looks]
    assert looks[0] == "Trace"
    assert "ProveComplete" in looks
    shown = answer.complete
    tell(
        f"complete trace: {len(answer.events)} events, {shown.names} names, {shown.rows} rows, "
        f"{shown.proof_bytes / shown.names / 1000:.2f} kB of proofs a name, {len(looks) - 1} calls beside the trace"
    )


def test_an_unknown_key_is_provably_empty(client: Client, world: CompleteWorld) -> None:
    answer = client.trace("urn:nobody:knows", complete=True)
    assert (answer.events, [node.key for node in answer.nodes]) == ((), ["urn:nobody:knows"])
    assert answer.complete is not None
    assert answer.complete.rows == answer.complete.newer == 0
    assert answer.complete.sizes == world.sizes


def test_a_trace_of_each_kind_is_complete(client: Client, world: CompleteWorld) -> None:
    known = world.known
    for key in filter(None, (known.lot, known.case, known.pallet, known.upstream[-1][0])):
        for direction in ("both", "upstream", "downstream", "history"):
            assert client.trace(key, direction=direction, complete=True).complete


def test_newer_entries_are_shown_and_not_claimed(tmp_path: Path) -> None:
    world = CompleteWorld(covered=0.8)
    key = world.partly_covered()
    with world.served(tmp_path) as client:
        answer = client.trace(key, complete=True)
        assert answer.complete is not None
        assert answer.complete.sizes == world.sizes
        places = world.places_of(answer.events)
        assert any(index >= world.sizes[log] for log, index in places)
        assert answer.complete.newer > 0
        older = [(log, index) for log, index in places if index < world.sizes[log]]
        for place in older[:10]:
            world.reader.hidden = {place}
            with pytest.raises(LeftOutError):
                client.trace(key)
        world.reader.hidden.clear()


def test_an_answer_of_earlier_sizes_is_complete_up_to_these(client: Client, world: CompleteWorld) -> None:
    assert world.known.lot is not None
    before = client.trace(world.known.lot, as_of={"goods/0": 30, "goods/1": 30}, complete=True)
    assert before.complete is not None
    assert before.complete.sizes == {"goods/0": 30, "goods/1": 30}
    assert before.complete.root_size is None


def test_small_answers_come_in_many_and_are_put_together(tmp_path: Path) -> None:
    world = CompleteWorld()
    world.page_bytes = 64 * 1024
    assert world.known.item is not None
    with world.served(tmp_path) as client:
        assert client.trace(world.known.item, complete=True).complete
    assert [look.method for look in world.recorder.looks].count("ProveComplete") > 3


def test_without_an_index_the_answer_says_why_and_must_have_it_where_asked(
    world: CompleteWorld, tmp_path: Path
) -> None:
    with world.served(tmp_path) as client:
        client._keys._by_log.pop(INDEX_LOG)
        answer = client.trace("urn:nobody:knows")
        assert answer.complete is None
        assert "index" in answer.incomplete_because
        with pytest.raises(UnknownLogError):
            client.trace("urn:nobody:knows", complete=True)


def test_the_secret_is_given_to_whom_shows_the_token(world: CompleteWorld, tmp_path: Path) -> None:
    world.gate = IndexGate("right")
    try:
        with world.served(tmp_path, index_token="wrong") as client:
            assert "NOT_ALLOWED" not in client.trace("urn:x:1").incomplete_because
            with pytest.raises(CallError, match="PERMISSION_DENIED"):
                client.trace("urn:x:1", complete=True)
        with world.served(tmp_path, index_token="right") as client:
            assert client.trace("urn:x:1", complete=True).complete
    finally:
        world.gate = IndexGate(None)


def test_another_secret_than_the_one_committed_to_is_refused(tmp_path: Path) -> None:
    world = CompleteWorld(events=60)
    world.secret = b"x" * 32
    with world.served(tmp_path) as client, pytest.raises(VerificationError, match="index secret"):
        client.trace("urn:x:1")


def test_an_index_that_was_taken_back_is_noticed(tmp_path: Path) -> None:
    world = CompleteWorld(events=60)
    world.index(3)
    with world.served(tmp_path) as client:
        assert client.trace("urn:x:1", complete=True).complete
        world.reader.logs["index"].records.pop()
        world.reader.sealed["index"].pop()
        with pytest.raises(RollbackError, match="index"):
            client.trace("urn:x:1")


def test_an_answer_as_of_before_what_was_seen_is_refused_also_where_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that shows a log, or the index alone, as they once were; it still proves that they have only grown."""
    world = CompleteWorld(covered=0.5)
    runs, half, item = dict(world.store.runs), dict(world.sizes), world.partly_covered()
    world.sizes = {log: len(sealed) for log, sealed in world.reader.sealed.items() if log != INDEX_LOG}
    world.index(4)
    checkpoint = MemoryReader.checkpoint
    cut: dict[str, int] = {}

    async def as_it_was(self: MemoryReader, log: str, size: int | None = None) -> Any:
        return await checkpoint(self, log, size or cut.get(log))

    monkeypatch.setattr(MemoryReader, "checkpoint", as_it_was)
    with world.served(tmp_path) as client:
        monkeypatch.setattr(
            client._trusted, "_consistency", lambda log, *sizes: world.reader.logs[log].consistency(*sizes)
        )
        assert client.trace(item, complete=True).complete is not None
        world.store.runs.clear()
        world.store.runs.update(runs)
        cut = {INDEX_LOG: 1}
        with pytest.raises(StaleError, match="index at size 1"):
            client.trace(item, complete=True)
        cut = {**half, INDEX_LOG: 1}
        with pytest.raises(StaleError, match="goods/0"):
            client.trace(item, complete=True)


def test_keys_of_the_index_log_are_read_as_of_any_other(world: CompleteWorld) -> None:
    keys = LogKeys.parse([log.signer.verifier.vkey() for log in world.reader.logs.values()])
    assert INDEX_LOG in keys.logs()
