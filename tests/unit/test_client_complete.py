"""The client against services that hide something: it is caught every time, and an honest answer is shown to be complete."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from goodstrace import entry as entries
from goodstrace.cli.verify import verify
from goodstrace.client import Client
from goodstrace.completeness import wrong_index
from goodstrace.completeness.proof import RunPages
from goodstrace.completeness.wrong_index import WrongIndex
from goodstrace.entry import TagKind, tag
from goodstrace.errors import (
    AnswerError,
    CallError,
    LeftOutError,
    ProofError,
    RollbackError,
    StaleError,
    UnknownLogError,
    VerificationError,
    WrongIndexError,
)
from goodstrace.facts import decode
from goodstrace.log.v1 import log_pb2
from goodstrace.log_keys import INDEX_LOG, LogKeys
from goodstrace.proof_file import ProofFile
from goodstrace.query.v1 import completeness_pb2, trace_pb2
from goodstrace.retrace import ShownEvent
from goodstrace.shared_proofs import give_own_proofs
from goodstrace.tracing.wire import ABRIDGED
from goodstrace.verification import VerifiedEntry
from services.query.completeness import CompletenessServicer
from services.query.index_gate import IndexGate
from services.runtime.grpc import Context
from tests.unit.collector_builders import SECRET
from tests.unit.completeness_builders import pieces as pieces_of
from tests.unit.completeness_world import CompleteWorld, MemoryReader


@pytest.fixture(scope="module")
def world() -> CompleteWorld:
    return CompleteWorld()


@pytest.fixture
def client(world: CompleteWorld, tmp_path: Path) -> Iterator[Client]:
    world.reader.hidden.clear()
    world.reader.refused.clear()
    with world.served(tmp_path) as made:
        yield made


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


def test_hiding_one_event_is_caught_every_time(
    client: Client, world: CompleteWorld, tell: Callable[[str], None]
) -> None:
    item = world.known.item
    assert item is not None
    random_ = random.Random(1)
    caught = 0
    for direction in ("both", "upstream", "history"):
        places = world.places_of(client.trace(item, direction=direction).events)
        for place in places if len(places) < 40 else random_.sample(places, 40):
            world.reader.hidden = {place}
            world.reader.refused = {place} if random_.random() < 0.3 else set()
            with pytest.raises(LeftOutError if not world.reader.refused else VerificationError):
                client.trace(item, direction=direction)
            caught += 1
        world.reader.hidden.clear()
        world.reader.refused.clear()
    assert caught > 40
    tell(f"hidings of one event caught: {caught} of {caught}")


def test_hiding_all_events_of_a_key_is_caught(client: Client, world: CompleteWorld) -> None:
    item = world.known.item
    assert item is not None
    world.reader.hidden = {
        (r.log, r.index) for log in ("goods/0", "goods/1") for r in world.reader.sealed[log]
    }
    with pytest.raises(LeftOutError):
        client.trace(item)
    world.reader.hidden.clear()


def _bare(place: VerifiedEntry) -> log_pb2.SealedEntry:
    return log_pb2.SealedEntry(
        log=place.log,
        index=place.index,
        entry=entries.encode(place.entry),
        inclusion_proof=place.inclusion_proof,
    )


def _alter_events(
    client: Client, monkeypatch: pytest.MonkeyPatch, alter: Callable[[trace_pb2.TraceEvent], None]
) -> None:
    """Have the pages of traces altered by `alter`, event by event, with proofs of their own."""
    pages = partial(Client._pages, client)

    def altered(request: Any, method: Any) -> Iterator[Any]:
        for page in pages(request, method):
            sealed = [entry for event in page.events for entry in (event.sealed, *event.also_at)]
            give_own_proofs(sealed, page.shared_proofs, page.checkpoints)
            del page.shared_proofs[:]
            for event in page.events:
                alter(event)
            yield page

    monkeypatch.setattr(client, "_pages", altered)


def _pairs(shown: Sequence[ShownEvent]) -> Iterator[tuple[VerifiedEntry, VerifiedEntry]]:
    """Two events of one merchant, either of which may be hidden behind the other."""
    for hidden in shown:
        for other in shown:
            places = hidden.event.position, other.event.position
            if hidden is not other and places[0].entry.merchant == places[1].entry.merchant:
                yield places


@pytest.mark.parametrize("marks", [(), (ABRIDGED,)])
def test_hiding_an_event_as_another_place_of_one_that_is_shown_is_caught(
    client: Client, world: CompleteWorld, monkeypatch: pytest.MonkeyPatch, marks: tuple[str, ...]
) -> None:
    item = world.known.item
    assert item is not None
    pairs = list(_pairs(client.trace(item, direction="history").events))
    assert len(pairs) > 10
    for hidden, other in pairs[:: len(pairs) // 10]:
        world.reader.hidden = {(hidden.log, hidden.index)}

        def call_it_the_other(
            event: trace_pb2.TraceEvent, hidden: VerifiedEntry = hidden, other: VerifiedEntry = other
        ) -> None:
            if (event.sealed.log, event.sealed.index) == (other.log, other.index):
                event.also_at.append(_bare(hidden))
                event.marks.extend(marks)

        _alter_events(client, monkeypatch, call_it_the_other)
        with pytest.raises(LeftOutError):
            client.trace(item, direction="history", complete=True)
        assert not client.trace(item, direction="history", complete=False).tree_verified


def test_hiding_an_event_behind_its_own_identity_at_another_place_is_caught(
    client: Client, world: CompleteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The identity of an event without facts is the service's word: it does not show that the event is in the answer.
    item = world.known.item
    assert item is not None
    first, second = client.trace(item, direction="history").events[:2]
    stands = second.event.position  # that of any other event

    def stand_elsewhere(event: trace_pb2.TraceEvent) -> None:
        if event.identity == first.event.identity:
            event.sealed.CopyFrom(_bare(stands))

    def count(page: Any) -> Any:
        page.withheld += 1
        return page

    _alter_events(client, monkeypatch, stand_elsewhere)
    altered = client._pages
    monkeypatch.setattr(client, "_pages", lambda *asked: map(count, altered(*asked)))
    with pytest.raises(LeftOutError, match="leaves out"):
        client.trace(item, direction="history", complete=True)


def test_places_that_an_abridged_answer_shows_bare_are_asked_for_and_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = CompleteWorld(twice=True)
    item = world.known.item
    assert item is not None
    with world.served(tmp_path) as client:
        assert client.trace(item, complete=True).tree_verified

        def abridge(event: trace_pb2.TraceEvent) -> None:
            for each in event.also_at:
                del each.parts[:]
            if event.also_at:
                event.marks.append(ABRIDGED)

        _alter_events(client, monkeypatch, abridge)
        answer = client.trace(item, complete=True)
        assert any(each.event.also_at for each in answer.events)
        assert answer.complete is not None
        assert not answer.tree_verified
        assert "GetRecords" in [look.method for look in world.recorder.looks]


def test_what_is_left_out_is_asked_for_once_more(
    client: Client, world: CompleteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where a merchant changes who sees its events between the answer and its proof.
    item = world.known.item
    assert item is not None
    whole = client.trace(item)
    asked = 0
    pages = client._pages

    def hiding_at_first(request: Any, method: Any) -> Any:
        nonlocal asked
        asked += 1
        world.reader.hidden = set(world.places_of(whole.events)[:1]) if asked == 1 else set()
        return pages(request, method)

    monkeypatch.setattr(client, "_pages", hiding_at_first)
    again = client.trace(item)
    assert asked == 2
    assert world.places_of(again.events) == world.places_of(whole.events)
    assert again.complete is not None


def test_a_service_without_a_log_is_caught(client: Client, world: CompleteWorld) -> None:
    world.reader.without_log = "goods/1"
    try:
        with pytest.raises(LeftOutError, match="without the log goods/1"):
            client.trace("urn:nobody:knows")
    finally:
        world.reader.without_log = ""


class Hiding(CompletenessServicer):
    """A service that takes rows out of its proofs, or pages, or pieces."""

    row = b""
    how = 0

    async def ProveComplete(  # noqa: N802 - the name in the proto
        self, request: completeness_pb2.ProveCompleteRequest, context: Context
    ) -> completeness_pb2.ProveCompleteResponse:
        answer = await super().ProveComplete(request, context)
        for proof in answer.proofs:
            for number, piece in enumerate(proof.pieces):
                if self.row in piece.pages:
                    if self.how == 0:
                        piece.pages = piece.pages.replace(self.row, b"")
                    elif self.how == 1:
                        del proof.pieces[number]
                    else:
                        piece.pages = piece.pages.replace(self.row, self.row[:-1] + bytes([self.row[-1] ^ 1]))
                    return answer
        return answer


def _hiding(world: CompleteWorld) -> Hiding:
    made = world.servicers()[1]
    made.__class__ = Hiding
    assert isinstance(made, Hiding)
    return made


@pytest.mark.parametrize("how", [0, 1, 2])
def test_hiding_it_from_the_proofs_too_is_caught(world: CompleteWorld, tmp_path: Path, how: int) -> None:
    item = world.known.item
    assert item is not None
    wanted = tag(SECRET, TagKind.KEY, item)
    hiding = _hiding(world)
    hiding.how = how
    with world.served(tmp_path, hiding) as client:
        for log in ("goods/0", "goods/1"):
            for record in world.reader.sealed[log]:
                if wanted in record.tags:
                    world.reader.hidden = world.reader.refused = {(log, record.index)}
                    hiding.row = wanted + (log[-1:] == "1").to_bytes(2) + record.index.to_bytes(6)
                    with pytest.raises(VerificationError) as raised:
                        client.trace(item)
                    assert isinstance(raised.value, ProofError) or "proof" in str(raised.value)
    world.reader.hidden, world.reader.refused = set(), set()


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


def test_an_index_that_leaves_one_out_is_proved_wrong_to_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = CompleteWorld()
    item = world.known.item
    assert item is not None
    with world.served(tmp_path) as client:
        places = world.places_of(client.trace(item, complete=True).events)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys").write_text(
        "\n".join(log.signer.verifier.vkey() for log in world.reader.logs.values())
    )
    other = CompleteWorld(seed=8, events=30)
    (tmp_path / "others").write_text(
        "\n".join(log.signer.verifier.vkey() for log in other.reader.logs.values())
    )
    for place in places[:3]:
        world.index(4, left_out=place)
        with world.served(tmp_path) as client, pytest.raises(WrongIndexError) as raised:
            client.trace(item)
        file = tmp_path / "proof.wrong-index"
        file.write_bytes(raised.value.proof)
        done = CliRunner().invoke(verify, [str(file), "--vkeys", str(tmp_path / "keys"), "--json"])
        assert done.exit_code == 0, done.output
        [said] = json.loads(done.output)["files"]
        assert (said["wrong_index"]["log"], said["wrong_index"]["index"]) == place
        assert CliRunner().invoke(verify, [str(file), "--vkeys", str(tmp_path / "keys")]).exit_code == 0
        keys = LogKeys.load(tmp_path / "keys")
        proof = wrong_index.decode(raised.value.proof)
        for wrong in _altered(proof):
            with pytest.raises(VerificationError):
                wrong_index.verify_wrong_index(wrong, keys)
        for number in range(0, len(raised.value.proof), 97):
            data = bytearray(raised.value.proof)
            data[number] ^= 1
            try:
                altered = wrong_index.decode(bytes(data))
            except ProofError:
                continue
            with pytest.raises(VerificationError):
                wrong_index.verify_wrong_index(altered, keys)


def _altered(proof: WrongIndex) -> Iterator[WrongIndex]:
    replace = msgspec.structs.replace
    yield replace(proof, tag=bytes(16))
    yield replace(proof, tag_number=proof.tag_number + 1)
    yield replace(proof, pieces=proof.pieces[1:])
    yield replace(proof, index=proof.entry)
    yield replace(proof, entry=proof.index)
    yield replace(proof, leaf=proof.leaf.replace(b'"since":0', b'"since":1'))


def test_a_right_index_cannot_be_proved_wrong(tmp_path: Path) -> None:
    world = CompleteWorld()
    item = world.known.item
    assert item is not None
    world.index(4, left_out=("goods/0", 5))
    with world.served(tmp_path) as client:
        keys = [
            facts.keys for r in world.reader.sealed["goods/0"][5:6] for facts in [decode(r.parts[1].content)]
        ]
        key = next(key for of_role in keys for those in of_role.values() for key in those)
        with pytest.raises(VerificationError) as raised:
            client.trace(key)
    assert isinstance(raised.value, WrongIndexError), raised.value
    proof = wrong_index.decode(raised.value.proof)
    world.index(4)
    shown: list[RunPages] = asyncio.run(pieces_of(world.store, world.leaf, proof.tag))
    index = world.reader.logs["index"]
    right = msgspec.structs.replace(
        proof,
        index=ProofFile(
            2, tuple(index.sealed(2).inclusion_proof), index.checkpoint().note, index.sealed(2).entry
        ).encode(),
        leaf=world.reader.sealed["index"][2].parts[0].content,
        pieces=tuple(wrong_index.Piece(p.first_page, p.hashes, p.pages) for p in shown),
    )
    with pytest.raises(AnswerError, match="the index is right"):
        wrong_index.verify_wrong_index(right, world.keys())
