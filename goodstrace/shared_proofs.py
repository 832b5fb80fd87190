"""Proofs that the entries of an answer share, taken apart into one for each entry. Pure; what comes out is verified as if it had come so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from goodstrace.checkpoint import Checkpoint
from goodstrace.errors import AnswerError, ProofError
from goodstrace.grouping import grouped
from goodstrace.merkle import leaf_hash
from goodstrace.multiproof import inclusion_proofs
from goodstrace.note import parse_note

if TYPE_CHECKING:
    from goodstrace.log.v1 import log_pb2


def give_own_proofs(
    entries: Iterable[log_pb2.SealedEntry],
    proofs: Iterable[log_pb2.SharedProof],
    checkpoints: Iterable[log_pb2.Checkpoint],
) -> None:
    """Put an inclusion proof into each entry whose log has a shared proof.

    Args:
        entries: all that the answer shows; those of such logs have no proof.
        proofs: one for each log at most.
        checkpoints: of the answer. Their sizes are taken as they stand: each proof is verified later, under the verified ones.
    Raises: AnswerError, ProofError where proofs and entries do not fit together; NoteError, CheckpointError.
    """
    shared = {each.log: each for each in proofs}
    if not shared:
        return
    sizes = {each.log: _size_of(each) for each in checkpoints if each.log in shared}
    by_log = grouped((entry.log, entry) for entry in entries)
    for log, proof in shared.items():
        if log not in sizes:
            raise AnswerError(f"the answer has no checkpoint of the log {log}")
        found = by_log.get(log, [])
        leaves = _leaves(log, found)
        own = inclusion_proofs(leaves, sizes[log], list(proof.hashes))
        for entry in found:
            entry.inclusion_proof[:] = own[entry.index]


def _leaves(log: str, entries: Iterable[log_pb2.SealedEntry]) -> Mapping[int, bytes]:
    leaves: dict[int, bytes] = {}
    for entry in entries:
        if entry.inclusion_proof:
            raise AnswerError(f"{log}[{entry.index}]: a proof of its own beside the one that is shared")
        leaf = leaf_hash(entry.entry)
        if leaves.setdefault(entry.index, leaf) != leaf:
            raise ProofError(f"{log}[{entry.index}]: two different entries at one index")
    return leaves


def _size_of(checkpoint: log_pb2.Checkpoint) -> int:
    return Checkpoint.parse(parse_note(checkpoint.note).text).size
