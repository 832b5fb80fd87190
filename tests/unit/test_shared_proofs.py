"""Proofs that entries share come apart into those they would have had, or the answer is refused."""

import pytest

from goodstrace.entry import Kind
from goodstrace.errors import AnswerError, ProofError
from goodstrace.log.v1 import log_pb2
from goodstrace.merkle import leaf_hash, root_of
from goodstrace.multiproof import multiproof_path
from goodstrace.shared_proofs import give_own_proofs
from tests.unit.fake_services import FakeLog

SIZE = 50
SHOWN = (3, 4, 17, 49)


@pytest.fixture(scope="module")
def log() -> FakeLog:
    made = FakeLog("goods/0")
    for number in range(SIZE):
        made.append(Kind.EVENT, {"event": b"%d" % number})
    return made


def bare(log: FakeLog, index: int) -> log_pb2.SealedEntry:
    entry = log.sealed(index)
    del entry.inclusion_proof[:]
    return entry


def shared(log: FakeLog) -> log_pb2.SharedProof:
    leaves = [leaf_hash(entry) for entry, _ in log.records]
    return log_pb2.SharedProof(
        log=log.name, hashes=[root_of(leaves[slice(*each)]) for each in multiproof_path(SHOWN, SIZE)]
    )


def test_each_entry_gets_the_proof_it_would_have_had(log: FakeLog) -> None:
    entries = [
        bare(log, index) for index in (*SHOWN, SHOWN[0])
    ]  # one of them twice, as two events may share a place
    proof = shared(log)
    give_own_proofs(entries, [proof], [log.checkpoint()])
    assert entries == [log.sealed(index) for index in (*SHOWN, SHOWN[0])]
    assert len(proof.hashes) < sum(len(each.inclusion_proof) for each in entries)


def test_without_shared_proofs_nothing_changes(log: FakeLog) -> None:
    entry = log.sealed(1)
    give_own_proofs([entry], [], [])
    assert entry == log.sealed(1)


def test_what_does_not_fit_together_is_refused(log: FakeLog) -> None:
    with pytest.raises(AnswerError, match="no checkpoint"):
        give_own_proofs([bare(log, 3)], [shared(log)], [])
    with pytest.raises(AnswerError, match="of its own"):
        give_own_proofs([log.sealed(3)], [shared(log)], [log.checkpoint()])
    with pytest.raises(ProofError, match="hashes, not"):
        give_own_proofs([bare(log, 3)], [shared(log)], [log.checkpoint()])
    with pytest.raises(ProofError, match="no such leaves"):
        give_own_proofs([], [shared(log)], [log.checkpoint()])
    other = bare(log, 4)
    other.index = 3
    with pytest.raises(ProofError, match="two different"):
        give_own_proofs([bare(log, 3), other], [shared(log)], [log.checkpoint()])
