"""RFC 6962 proofs of many leaves at once: each hash is in the proof once, however many of the leaves need it.

The proof is of the hashes of the largest subtrees that hold none of the leaves, from left to right; with the leaves they make up the
tree. A multiproof of one leaf is its inclusion proof in another order. Pure, no I/O. Source of the trees: RFC 6962 section 2.1.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from goodstrace.errors import ProofError
from goodstrace.merkle import HASH_SIZE, MAX_SIZE, Range, node_hash


def multiproof_path(indexes: Sequence[int], size: int) -> list[Range]:
    """Name the subtrees whose hashes are the proof of some leaves in the tree of `size` leaves.

    Args:
        indexes: of the leaves, rising, at least one.
        size: the tree's number of leaves.
    Returns: the subtrees beside the leaves, from left to right.
    Raises: ProofError, unless the indexes rise and 0 <= each < size <= MAX_SIZE.
    """
    if not indexes or not 0 <= indexes[0] <= indexes[-1] < size <= MAX_SIZE:
        raise ProofError(f"there are no such leaves in a tree of size {size}")
    if any(later <= earlier for earlier, later in pairwise(indexes)):
        raise ProofError("the leaves of a multiproof must be named once each, in order")
    return list(_beside(Range(0, size), indexes, 0, len(indexes)))


def verify_multiproof(hashes: Mapping[int, bytes], size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that leaves are at their indexes in the tree of `size` leaves with this root.

    Args:
        hashes: leaf hash by index, 32 bytes each, at least one, made from the leaves themselves.
        size: the tree's number of leaves, from the same trusted source as `root`.
        proof: 32-byte hashes, exactly those that `multiproof_path` names, in its order.
        root: 32 bytes.
    Raises: ProofError, on anything else than a right proof.
    """
    indexes = sorted(hashes)
    path = multiproof_path(indexes, size)
    if len(proof) != len(path):
        raise ProofError(f"the multiproof has {len(proof)} hashes, not {len(path)}")
    if any(len(each) != HASH_SIZE for each in (*proof, *hashes.values(), root)):
        raise ProofError("a hash is not 32 bytes")
    known = dict(zip(path, proof, strict=True))
    known |= {Range(index, index + 1): each for index, each in hashes.items()}
    if _hash_of(Range(0, size), known) != root:
        raise ProofError(f"the leaves are not in the tree of size {size}")


def _beside(subtree: Range, indexes: Sequence[int], low: int, high: int) -> Iterator[Range]:
    """Name what is beside the leaves indexes[low:high], which are those inside `subtree`."""
    if low == high:
        yield subtree
    elif high - low < subtree.end - subtree.start:
        left, right = _halves(subtree)
        middle = bisect_left(indexes, right.start, low, high)
        yield from _beside(left, indexes, low, middle)
        yield from _beside(right, indexes, middle, high)


def _hash_of(subtree: Range, known: Mapping[Range, bytes]) -> bytes:
    found = known.get(subtree)
    if found is not None:
        return found
    left, right = _halves(subtree)
    return node_hash(_hash_of(left, known), _hash_of(right, known))


def _halves(subtree: Range) -> tuple[Range, Range]:
    """Split a subtree of at least two leaves where RFC 6962 does."""
    middle = subtree.start + (1 << ((subtree.end - subtree.start - 1).bit_length() - 1))
    return Range(subtree.start, middle), Range(middle, subtree.end)
