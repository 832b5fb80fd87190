"""A log of forty entries, its fork, and the requests that a log sends to a witness, for tests."""

from collections.abc import Sequence

from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.merkle import consistency_path, leaf_hashes, root_of
from goodstrace.note import Signer
from goodstrace.witnessing import AddCheckpoint

LOG = Signer("example.com/7f3a/goods/0", bytes(32))
TRUE = leaf_hashes([b"%d" % n for n in range(40)])
FORKED = TRUE[:5] + leaf_hashes(
    [b"forked %d" % n for n in range(35)]
)  # parts from the true log at its sixth leaf


def proof(old: int, new: int, leaves: Sequence[bytes] = TRUE) -> tuple[bytes, ...]:
    return tuple(root_of(leaves[part.start : part.end]) for part in consistency_path(old, new))


def note_of(size: int, leaves: Sequence[bytes] = TRUE, signer: Signer = LOG) -> str:
    return sign_checkpoint(Checkpoint(signer.name, size, root_of(leaves[:size])), signer)


def asking(old: int, new: int, leaves: Sequence[bytes] = TRUE, signer: Signer = LOG) -> AddCheckpoint:
    return AddCheckpoint(old, proof(old, new, leaves) if old <= new else (), note_of(new, leaves, signer))
