"""RFC 6962 proofs of neighbouring leaves: one proof for a whole range of them, each hash in it once.

A range proof of one leaf is its inclusion proof in another order: from left to right in the tree, not from the leaf up.
Pure, no I/O. Source of the trees: RFC 6962 section 2.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from goodstrace.errors import ProofError
from goodstrace.merkle import HASH_SIZE, MAX_SIZE, Range, node_hash, root_of


def range_path(first: int, end: int, size: int) -> list[Range]:
    """Name the subtrees whose hashes are the proof of the leaves first..end-1 in the tree of `size` leaves.

    Returns: the subtrees beside the range, from left to right; with the range's leaves they make up the tree.
    Raises: ProofError, unless 0 <= first < end <= size <= MAX_SIZE.
    """
    if not 0 <= first < end <= size <= MAX_SIZE:
        raise ProofError(f"there are no leaves {first}..{end - 1} in a tree of size {size}")
    return list(_beside(Range(0, size), first, end))


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
    path = range_path(first, first + len(hashes), size)
    if len(proof) != len(path):
        raise ProofError(f"the range proof has {len(proof)} hashes, not {len(path)}")
    if any(len(each) != HASH_SIZE for each in (*proof, *hashes, root)):
        raise ProofError("a hash is not 32 bytes")
    known = dict(zip(path, proof, strict=True))
    if _hash_of(Range(0, size), hashes, first, known) != root:
        raise ProofError(f"leaves {first}..{first + len(hashes) - 1} are not in the tree of size {size}")


def _beside(subtree: Range, first: int, end: int) -> Iterator[Range]:
    if subtree.end <= first or end <= subtree.start:
        yield subtree
    elif not (first <= subtree.start and subtree.end <= end):
        for half in _halves(subtree):
            yield from _beside(half, first, end)


def _hash_of(subtree: Range, hashes: Sequence[bytes], first: int, known: dict[Range, bytes]) -> bytes:
    if subtree in known:
        return known[subtree]
    if first <= subtree.start and subtree.end <= first + len(hashes):
        return root_of(hashes[subtree.start - first : subtree.end - first])
    left, right = _halves(subtree)
    return node_hash(_hash_of(left, hashes, first, known), _hash_of(right, hashes, first, known))


def _halves(subtree: Range) -> tuple[Range, Range]:
    """Split a subtree of at least two leaves where RFC 6962 does."""
    middle = subtree.start + (1 << ((subtree.end - subtree.start - 1).bit_length() - 1))
    (left, right) = pairwise((subtree.start, middle, subtree.end))
    return Range(*left), Range(*right)
