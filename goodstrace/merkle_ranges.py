"""RFC 6962 proofs of neighbouring leaves: multiproofs (goodstrace/multiproof.py) of all leaves of a range. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Sequence

from goodstrace.errors import ProofError
from goodstrace.merkle import Range
from goodstrace.multiproof import multiproof_path, verify_multiproof


def range_path(first: int, end: int, size: int) -> list[Range]:
    """Name the subtrees whose hashes are the proof of the leaves first..end-1 in the tree of `size` leaves.

    Returns: the subtrees beside the range, from left to right; with the range's leaves they make up the tree.
    Raises: ProofError, unless 0 <= first < end <= size <= MAX_SIZE.
    """
    if end > size:
        raise ProofError(f"there are no leaves {first}..{end - 1} in a tree of size {size}")
    return multiproof_path(range(first, end), size)


def verify_range(hashes: Sequence[bytes], first: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaves with these hashes are at `first` and after it in the tree of `size` leaves with this root.

    Args:
        hashes: leaf hashes of neighbouring leaves, 32 bytes each, at least one, made from the leaves themselves.
        first: the index of the first of them.
        size: the tree's number of leaves, from the same trusted source as `root`.
        proof: 32-byte hashes, exactly those that `range_path` names, in its order.
        root: 32 bytes.
    Raises: ProofError, on anything else than a right proof.
    """
    verify_multiproof(dict(enumerate(hashes, first)), size, proof, root)
