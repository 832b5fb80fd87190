"""From an answer up to the root log, and files to hand on: the client takes what is proved, and nothing else."""

import base64
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from goodstrace import block as blocks
from goodstrace import root
from goodstrace.block import BlockHeader, KafkaRange
from goodstrace.checkpoint import open_checkpoint
from goodstrace.entry import Kind
from goodstrace.errors import (
    AnswerError,
    BlockError,
    CallError,
    NoteError,
    ProofError,
    RollbackError,
    UnknownLogError,
    VerificationError,
)
from goodstrace.log_keys import LogKeys
from goodstrace.memory import FileMemory, VolatileMemory
from goodstrace.note import parse_note
from goodstrace.query.v1 import trace_pb2
from goodstrace.root import PinnedHead
from goodstrace.root_proof import verify_root_proof
from goodstrace.verification import VerifiedCheckpoint
from tests.fake_witness import UNIX_S, FakeWitness, policy_of
from tests.unit.fake_services import ClientOf, FakeLog, FakeServices

Answer = trace_pb2.GetRootProofResponse
SEEN = 4


class World:
    """A goods log of seven entries pinned at five by the root log, among other pins."""

    def __init__(self) -> None:
        self.goods, self.other, self.root = FakeLog("goods/0", 1), FakeLog("goods/1", 2), FakeLog("root", 3)
        for log in (self.goods, self.other):
            for number in range(7):
                log.append(Kind.EVENT, {"event": b"{%d}" % number})
        self.header = header_of(self.goods, 5)
        self.pin(self.other, 7)
        self.index = self.pin(self.goods, 5)
        self.pin(self.other, 7)

    def pin(self, log: FakeLog, size: int, name: str = "") -> int:
        pinned = PinnedHead(
            blocks.header_hash(header_of(log, size)),
            2,
            name or log.name,
            log.checkpoint(size).note,
        )
        return self.root.append(Kind.CHECKPOINT, {root.CHECKPOINT_PART: root.encode(pinned)})

    def answer(self, index: int | None = None) -> Answer:
        return Answer(
            entry=self.root.sealed(self.index if index is None else index),
            consistency_proof=self.goods.consistency(SEEN, 5),
            root=self.root.checkpoint(),
            header=self.header,
            header_signature=self.goods.signer.sign(blocks.SIGNATURE_DOMAIN + self.header),
            size=SEEN,
        )

    def keys(self) -> LogKeys:
        return LogKeys(log.signer.verifier for log in (self.goods, self.other, self.root))

    def seen(self, log: FakeLog | None = None, size: int = SEEN) -> VerifiedCheckpoint:
        note = (log or self.goods).checkpoint(size).note
        checkpoint = open_checkpoint(note, [(log or self.goods).signer.verifier])
        return VerifiedCheckpoint((log or self.goods).name, checkpoint, note)


def header_of(log: FakeLog, size: int) -> bytes:
    checkpoint = open_checkpoint(log.checkpoint(size).note, [log.signer.verifier])
    kafka = KafkaRange("cluster", 30, 32, 0, "goods.stored", "id")
    return blocks.encode(
        BlockHeader(
            2, size - 2, 2, kafka, log.name, "ab" * 32, checkpoint.root.hex(), size, 1_700_000_000_000
        )
    )


@pytest.fixture
def world() -> World:
    return World()


def test_what_was_seen_is_proved_up_to_the_root(world: World) -> None:
    proof = verify_root_proof(world.answer(), world.seen(), world.keys())
    assert (proof.covered.checkpoint.size, proof.pinned.checkpoint.size) == (SEEN, 5)
    assert (proof.entry.index, proof.root.checkpoint.size) == (1, 3)
    assert (proof.header.kafka.first, proof.header.kafka.next) == (30, 32)
    exact = world.answer()
    del exact.consistency_proof[:]
    assert verify_root_proof(exact, world.seen(size=5), world.keys()).pinned.checkpoint.size == 5


def _no_part(answer: Answer) -> None:
    del answer.entry.parts[:]


def _other_root_key(answer: Answer) -> None:
    forged = World()
    forged.root.signer = FakeLog("root", 9).signer
    answer.root.CopyFrom(forged.root.checkpoint())


def _other_part(answer: Answer) -> None:
    answer.entry.parts[0].content = answer.entry.parts[0].content.replace(b'"height":2', b'"height":3')


def _other_header(answer: Answer) -> None:
    world = World()
    answer.header = answer.header.replace(b'"first":30', b'"first":29')
    answer.header_signature = world.goods.signer.sign(blocks.SIGNATURE_DOMAIN + answer.header)


@pytest.mark.parametrize(
    ("alter", "error"),
    [
        (lambda answer: answer.entry.ClearField("inclusion_proof"), ProofError),
        (lambda answer: answer.ClearField("root"), VerificationError),
        (lambda answer: answer.ClearField("entry"), AnswerError),
        (lambda answer: answer.ClearField("consistency_proof"), RollbackError),
        (lambda answer: answer.ClearField("header"), BlockError),
        (lambda answer: answer.ClearField("header_signature"), BlockError),
        (lambda answer: setattr(answer.entry, "log", "goods/0"), AnswerError),
        (lambda answer: setattr(answer.entry, "index", 0), ProofError),
        (lambda answer: setattr(answer, "header_signature", bytes(64)), BlockError),
        (_no_part, VerificationError),
        (_other_root_key, NoteError),
        (_other_part, VerificationError),
        (_other_header, BlockError),
    ],
)
def test_what_is_missing_or_altered_is_refused(
    world: World, alter: Callable[[Answer], None], error: type[VerificationError]
) -> None:
    answer = world.answer()
    alter(answer)
    with pytest.raises(error):
        verify_root_proof(answer, world.seen(), world.keys())


def test_a_root_log_rolled_back_to_before_the_pin_proves_nothing(world: World) -> None:
    answer = world.answer()
    answer.root.CopyFrom(world.root.checkpoint(1))
    with pytest.raises(ProofError):
        verify_root_proof(answer, world.seen(), world.keys())


def test_the_pin_of_another_log_is_no_answer(world: World) -> None:
    with pytest.raises(AnswerError, match="what is pinned of goods/1"):
        verify_root_proof(world.answer(0), world.seen(), world.keys())
    index = world.pin(world.other, 7, name="goods/0")  # a root log that lies about whose checkpoint it holds
    with pytest.raises(NoteError):
        verify_root_proof(world.answer(index), world.seen(), world.keys())


def test_an_older_pin_is_no_answer(world: World) -> None:
    with pytest.raises(AnswerError, match="pinned at size 5, under the 6"):
        verify_root_proof(world.answer(), world.seen(size=6), world.keys())


def test_a_fork_of_what_is_pinned_is_evidence(world: World) -> None:
    fork = world.goods.forked(2)
    with pytest.raises(RollbackError):
        verify_root_proof(world.answer(), world.seen(fork), world.keys())


def test_a_header_of_another_block_is_refused(world: World) -> None:
    """The root log says a block hash that its own header does not match the checkpoint of."""
    pinned = PinnedHead(
        blocks.header_hash(header_of(world.goods, 6)), 2, "goods/0", world.goods.checkpoint(5).note
    )
    world.header = header_of(world.goods, 6)
    index = world.root.append(Kind.CHECKPOINT, {root.CHECKPOINT_PART: root.encode(pinned)})
    with pytest.raises(BlockError, match="does not end with the pinned checkpoint"):
        verify_root_proof(world.answer(index), world.seen(), world.keys())


def test_an_entry_that_pins_nothing_is_refused(world: World) -> None:
    index = world.root.append(Kind.EVENT, {"event": b"{}"})
    with pytest.raises(VerificationError, match="does not show a pinned checkpoint"):
        verify_root_proof(world.answer(index), world.seen(), world.keys())


def test_the_client_remembers_the_root_log(
    world: World, services: FakeServices, client_of: ClientOf, tmp_path: Path
) -> None:
    services.logs = {"goods/0": world.goods, "root": world.root}
    client = client_of(world.keys(), memory=FileMemory(tmp_path / "memory"))
    assert client.root_proof(world.seen()) is None
    services.root_proof = world.answer()
    proof = client.root_proof(world.seen())
    assert proof is not None
    assert proof.pinned.checkpoint.size == 5
    services.root_proof.root.CopyFrom(world.root.forked(2).checkpoint())
    services.root_proof.entry.CopyFrom(world.root.forked(2).sealed(world.index))
    with pytest.raises(RollbackError):
        client.root_proof(world.seen())


def _forked(world: World, seen: FakeLog) -> Answer:
    """Have the root log pin another history than `seen` from index 4 on, at size 6; both are signed by the log's key."""
    world.goods = seen.forked(SEEN)
    world.header = header_of(world.goods, 6)
    answer = world.answer(world.pin(world.goods, 6))
    del answer.consistency_proof[:]
    answer.consistency_proof.extend(world.goods.consistency(SEEN, 6))
    return answer


def test_a_pin_of_another_history_than_the_one_remembered_is_evidence(
    world: World, services: FakeServices, client_of: ClientOf, tmp_path: Path
) -> None:
    shown = world.goods
    services.logs = {"goods/0": shown, "root": world.root}
    memory = FileMemory(tmp_path / "memory")
    client = client_of(world.keys(), memory=memory)
    client.checkpoints()
    services.root_proof = _forked(world, shown)
    with pytest.raises(RollbackError, match="goods/0"):
        client.root_proof(world.seen(shown))  # what both histories have
    assert memory.get(shown.origin) == shown.checkpoint().note


def test_a_history_that_was_pinned_binds_what_is_shown_later(
    world: World, services: FakeServices, client_of: ClientOf
) -> None:
    shown = world.goods
    services.logs = {"goods/0": shown.cut(SEEN), "root": world.root}
    client = client_of(world.keys())
    covered = client.checkpoints()["goods/0"]
    services.root_proof = _forked(world, shown)
    services.logs["goods/0"] = world.goods  # proves that the pinned one contains what was seen
    assert client.root_proof(covered) is not None
    services.logs["goods/0"] = shown
    with pytest.raises(RollbackError, match="goods/0"):
        client.checkpoints()


def test_what_is_pinned_may_lack_the_quorum_and_is_remembered(
    world: World, services: FakeServices, client_of: ClientOf
) -> None:
    witness, memory = FakeWitness("one"), VolatileMemory()
    services.logs = {"goods/0": world.goods, "root": world.root}
    services.root_proof = world.answer()
    text = parse_note(services.root_proof.root.note).text
    services.root_proof.root.note += witness.cosigner.cosign(text, UNIX_S).line()
    client = client_of(world.keys(), memory=memory, policy=policy_of([witness], 1))
    assert client.root_proof(world.seen()) is not None
    assert memory.get(world.goods.origin) == world.goods.checkpoint(5).note


def test_other_refusals_are_told(services: FakeServices, client_of: ClientOf, world: World) -> None:
    services.root_proof = world.answer()
    services.error = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(CallError):
        client_of().root_proof(world.seen())


def test_a_proof_file_is_verified_before_it_is_given(services: FakeServices, client_of: ClientOf) -> None:
    proof, verified = client_of().proof_file("goods/0", 3, 5)
    assert (verified.index, verified.checkpoint.size) == (3, 5)
    assert proof.extra == verified.entry_bytes == services.logs["goods/0"].records[3][0]

    other = services.logs["goods/0"].records[2][0]

    def swapped(answer: trace_pb2.GetProofFileResponse) -> None:
        lines = answer.proof.split("\n")
        lines[1] = "extra " + base64.b64encode(other).decode()
        answer.proof = "\n".join(lines)

    services.altered = swapped
    with pytest.raises(ProofError):
        client_of().proof_file("goods/0", 3)


def test_the_proof_of_another_entry_is_no_answer(services: FakeServices, client_of: ClientOf) -> None:
    first = client_of().proof_file("goods/0", 2)[0].encode()
    services.altered = lambda answer: setattr(answer, "proof", first)
    with pytest.raises(AnswerError, match=r"asked for goods/0\[3\]"):
        client_of().proof_file("goods/0", 3)
    with pytest.raises(AnswerError):
        client_of().proof_file("goods/0", 2, 5)
    with pytest.raises(UnknownLogError):
        client_of(LogKeys([services.logs["browse/0"].signer.verifier])).proof_file("goods/0", 2)
