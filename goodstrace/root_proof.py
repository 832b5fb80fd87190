"""Verifying that the root log covers what was seen of another log: from its checkpoint up to the root's. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from goodstrace import block as blocks
from goodstrace import root
from goodstrace.block import SIGNATURE_DOMAIN, BlockHeader
from goodstrace.entry import Kind
from goodstrace.errors import AnswerError, BlockError, EntryError
from goodstrace.log_keys import ROOT_LOG, LogKeys
from goodstrace.query.v1 import trace_pb2
from goodstrace.root import PinnedHead
from goodstrace.verification import VerifiedCheckpoint, VerifiedEntry, verify_entry, verify_growth


@dataclass(frozen=True, slots=True)
class RootProof:
    """A log at a size is covered by the root log.

    Attributes:
        covered: the checkpoint of the log from which the proof goes up.
        pinned: the checkpoint of the same log that the root log holds; it contains all of `covered`.
        header: of the block that `pinned` ends with: it chains back to all others, with the Kafka offsets they cover.
        entry: the root log's entry.
        root: the root log's checkpoint, which contains `entry`.
    """

    covered: VerifiedCheckpoint
    pinned: VerifiedCheckpoint
    header: BlockHeader
    entry: VerifiedEntry
    root: VerifiedCheckpoint


def verify_root_proof(
    message: trace_pb2.GetRootProofResponse, covered: VerifiedCheckpoint, keys: LogKeys
) -> RootProof:
    """Check every step from a verified checkpoint of a log up to a checkpoint of the root log.

    Raises: NoteError, CheckpointError, ProofError, EntryError, UnknownLogError; BlockError, where the header is not the
        pinned block's; RollbackError, where the pinned checkpoint does not contain the one seen: both together are evidence
        against the log; AnswerError, where the answer is to something else.
    """
    top = VerifiedCheckpoint(ROOT_LOG, keys.open(ROOT_LOG, message.root.note), message.root.note)
    if message.entry.log != ROOT_LOG or message.root.log != ROOT_LOG:
        raise AnswerError(f"asked for the root log and answered with {message.entry.log!r}")
    entry = verify_entry(message.entry, {ROOT_LOG: top})
    said = pinned_by(entry)
    if said.log != covered.log:
        raise AnswerError(f"asked for {covered.log} and answered with what is pinned of {said.log}")
    pinned = VerifiedCheckpoint(said.log, keys.open(said.log, said.note), said.note)
    _verify_covered(covered, pinned, list(message.consistency_proof))
    header = _verify_header(message.header, message.header_signature, said, pinned, keys)
    return RootProof(covered, pinned, header, entry, top)


def notes_in(answer: trace_pb2.GetRootProofResponse) -> Iterator[tuple[str, str]]:
    """Give the checkpoints in an answer, log and note, without verifying anything. Raises: EntryError."""
    yield answer.root.log, answer.root.note
    for part in answer.entry.parts:
        if part.name == root.CHECKPOINT_PART:
            pinned = root.decode(part.content)
            yield pinned.log, pinned.note


def pinned_by(entry: VerifiedEntry) -> PinnedHead:
    """Read what a verified entry of the root log pins. Raises: EntryError, where it pins no checkpoint."""
    if entry.entry.kind != Kind.CHECKPOINT or root.CHECKPOINT_PART not in entry.parts:
        raise EntryError(f"{entry.log}[{entry.index}] does not show a pinned checkpoint")
    return root.decode(entry.parts[root.CHECKPOINT_PART])


def _verify_covered(covered: VerifiedCheckpoint, pinned: VerifiedCheckpoint, proof: Sequence[bytes]) -> None:
    if covered.checkpoint.origin != pinned.checkpoint.origin:
        raise AnswerError(
            f"pinned is {pinned.checkpoint.origin!r}, and what was seen is of {covered.checkpoint.origin!r}"
        )
    if pinned.checkpoint.size < covered.checkpoint.size:
        raise AnswerError(
            f"{pinned.log} is pinned at size {pinned.checkpoint.size}, under the {covered.checkpoint.size} asked for"
        )
    verify_growth(covered, pinned, proof)


def _verify_header(
    data: bytes, signature: bytes, said: PinnedHead, pinned: VerifiedCheckpoint, keys: LogKeys
) -> BlockHeader:
    place = f"block {said.log}#{said.height}"
    if blocks.header_hash(data) != said.block:
        raise BlockError(f"{place}: the header is not the one that is pinned")
    header = blocks.decode(data)
    checkpoint = pinned.checkpoint
    stated = (header.log, header.height, header.size, header.root)
    if stated != (said.log, said.height, checkpoint.size, checkpoint.root.hex()):
        raise BlockError(f"{place}: the header does not end with the pinned checkpoint")
    if not keys.verifier(said.log, checkpoint.size).is_valid(signature, SIGNATURE_DOMAIN + data):
        raise BlockError(f"{place}: the header is not signed by the log's key")
    return header
