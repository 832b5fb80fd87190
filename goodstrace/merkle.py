"""RFC 6962 Merkle trees: hashing, appending by the right edge, and proofs made of node ranges.

Everything here is a function on values. A proof is described by the *ranges* of leaves whose hashes it holds; who has
the hashes (a store, tiles, a list) looks them up with `range_nodes` and folds them with `fold`. The verifier walks the
same ranges. Source: RFC 6962 section 2.1; RFC 9162 section 2.1 has the same trees and proofs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from goodstrace.errors import ProofError, TreeError

HASH_SIZE: Final = 32
MAX_SIZE: Final = 2**63 - 1
"""The most leaves a tree may have: what a signed 64-bit integer holds, in every store and language it travels through."""
EMPTY_ROOT: Final = sha256(b"").digest()

_LEAF_HASHER: Final = sha256(b"\x00")
_NODE_HASHER: Final = sha256(b"\x01")


class Range(NamedTuple):
    """The leaves start..end-1 of a tree, which together are one subtree of it (perhaps an incomplete one)."""

    start: int
    end: int


class Node(NamedTuple):
    """A complete subtree: the 2**level leaves from n * 2**level on. Level 0 are the leaves themselves."""

    level: int
    n: int


def leaf_hash(data: bytes) -> bytes:
    """Hash one log entry as a leaf: SHA-256(0x00 || data), 32 bytes. Source: RFC 6962 section 2.1."""
    return sha256(b"\x00" + data).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Hash a batch of log entries as leaves, in order; for hundreds of entries faster than one by one."""
    copy = _LEAF_HASHER.copy
    hashes = []
    for entry in entries:
        hasher = copy()
        hasher.update(entry)
        hashes.append(hasher.digest())
    return hashes


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two 32-byte subtree hashes into their parent's: SHA-256(0x01 || left || right). Source: RFC 6962 2.1."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root of the tree with these leaf hashes (32 bytes each); `EMPTY_ROOT` if there are none.

    Reads every leaf. A log that grows keeps a `Frontier` instead. Source: RFC 6962 section 2.1.
    """
    if not hashes:
        return EMPTY_ROOT
    row = list(hashes)
    while len(row) > 1:
        # The last node of an odd row has no sibling yet and moves up as it is, which is RFC 6962's split.
        row = parents_of(row) + row[len(row) & ~1 :]
    return row[0]


def parents_of(row: Sequence[bytes]) -> list[bytes]:
    """Hash neighbouring pairs (0, 1), (2, 3), ... of a row of nodes; the last of an odd row is left out."""
    copy = _NODE_HASHER.copy
    nodes = iter(row)
    parents = []
    for left, right in zip(nodes, nodes, strict=False):
        hasher = copy()
        hasher.update(left)
        hasher.update(right)
        parents.append(hasher.digest())
    return parents


def fold(hashes: Sequence[bytes]) -> bytes:
    """Hash the complete subtrees of a range, left to right as `range_nodes` lists them, into the range's hash.

    Without hashes this is `EMPTY_ROOT`.
    """
    if not hashes:
        return EMPTY_ROOT
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: all that is needed to append to it and to know its root, never re-reading the log.

    Attributes:
        size: number of leaves, 0..MAX_SIZE.
        hashes: the 32-byte hashes of the complete subtrees that make up the tree, largest (leftmost) first; one for
            each 1 bit of `size`.

    Raises: TreeError, if `hashes` do not fit `size`.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE:
            raise TreeError(f"tree size {self.size} is not in 0..2**63-1")
        if len(self.hashes) != self.size.bit_count():
            raise TreeError(
                f"a tree of size {self.size} has {self.size.bit_count()} frontier hashes, not {len(self.hashes)}"
            )
        if any(len(hash_) != HASH_SIZE for hash_ in self.hashes):
            raise TreeError("a frontier hash is not 32 bytes")

    @classmethod
    def decode(cls, size: int, hashes: Iterable[bytes]) -> Frontier:
        """Rebuild a frontier from its size and what `encode` returned. Raises: TreeError."""
        return cls(size, tuple(bytes(hash_) for hash_ in hashes))

    def encode(self) -> list[bytes]:
        """Return the hashes as a list to store beside the size; at most 63 of 32 bytes."""
        return list(self.hashes)

    def root(self) -> bytes:
        """Return the tree's RFC 6962 root, 32 bytes."""
        return fold(self.hashes)

    def append(self, hashes: Sequence[bytes]) -> Frontier:
        """Return the frontier after appending these leaf hashes (32 bytes each). Raises: TreeError."""
        return self.grow(hashes)[0]

    def grow(self, hashes: Sequence[bytes]) -> tuple[Frontier, list[list[bytes]]]:
        """Append leaf hashes and also return every complete node that came into being.

        Args:
            hashes: new leaf hashes in log order, 32 bytes each.
        Returns: the new frontier, and rows of nodes: rows[level] holds the new nodes of that level, whose first has
            the number `size >> level` of this (old) frontier. Row 0 is `hashes`. A node is hashed once, so this costs
            about one hash for each leaf.
        Raises: TreeError, if a hash is not 32 bytes or the tree would be larger than MAX_SIZE.
        """
        if any(len(hash_) != HASH_SIZE for hash_ in hashes):
            raise TreeError("a leaf hash is not 32 bytes")
        edge = list(self.hashes)  # the not yet paired nodes, smallest last
        unpaired: list[bytes] = []  # of the new tree, smallest first
        rows: list[list[bytes]] = []
        row, level = list(hashes), 0
        while row:
            rows.append(row)
            if self.size >> level & 1:
                row = [edge.pop(), *row]
            if len(row) & 1:
                unpaired.append(row[-1])
            row = parents_of(row)
            level += 1
        return Frontier(self.size + len(hashes), (*edge, *reversed(unpaired))), rows


def range_nodes(start: int, end: int) -> list[Node]:
    """List the complete subtrees that make up the leaves start..end-1, left to right.

    The range must be a subtree of a tree, as `inclusion_path` and `consistency_path` name them, or 0..size.
    """
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append(Node(level, start >> level))
        start += 1 << level
    return nodes


def inclusion_path(index: int, size: int) -> list[Range]:
    """Name the subtrees whose hashes are the inclusion proof of leaf `index` in the tree of `size` leaves.

    Returns: the siblings from the leaf up to the root, in the order of the proof.
    Raises: ProofError, unless 0 <= index < size <= MAX_SIZE.
    Source: PATH(m, D[n]) of RFC 6962 section 2.1.1.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError(f"there is no leaf {index} in a tree of size {size}")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _left_size(end - start)
        if index < middle:
            path.append(Range(middle, end))
            end = middle
        else:
            path.append(Range(start, middle))
            start = middle
    path.reverse()
    return path


def consistency_path(old_size: int, new_size: int) -> list[Range]:
    """Name the subtrees whose hashes prove that the tree of `new_size` leaves begins with the one of `old_size`.

    Returns: the ranges in the order of the proof; none where either tree says it all (old is empty, or the same size).
    Raises: ProofError, unless 0 <= old_size <= new_size <= MAX_SIZE.
    Source: PROOF(m, D[n]) of RFC 6962 section 2.1.2.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise ProofError(f"a tree of size {new_size} has no earlier one of size {old_size}")
    path: list[Range] = []
    if old_size == 0:
        return path
    start, end = 0, new_size
    while end != old_size:
        middle = start + _left_size(end - start)
        if old_size <= middle:
            path.append(Range(middle, end))
            end = middle
        else:
            path.append(Range(start, middle))
            start = middle
    if start > 0:  # else the old tree is a whole subtree of the new one, and the verifier has its root
        path.append(Range(start, end))
    path.reverse()
    return path


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf with this hash is at `index` of the tree of `size` leaves with this root.

    Args:
        leaf_hash: 32 bytes, as `leaf_hash()` makes it from the entry (never taken from the log's answer).
        index: the leaf's position, 0 <= index < size.
        size: the tree's number of leaves, from the same checkpoint as `root`.
        proof: 32-byte hashes from the leaf upwards, exactly as many as `inclusion_path` names.
        root: 32 bytes, from a checkpoint whose signature was verified.
    Raises: ProofError, on anything else than a right proof.
    Source: RFC 9162 section 2.1.3.2.
    """
    path = inclusion_path(index, size)
    _check_hashes(proof, len(path), leaf_hash, root)
    node = leaf_hash
    for sibling, hash_ in zip(path, proof, strict=True):
        node = node_hash(hash_, node) if sibling.end <= index else node_hash(node, hash_)
    if node != root:
        raise ProofError(f"leaf {index} is not in the tree of size {size} with that root")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the new tree begins with the whole old tree: nothing was changed, moved or taken away.

    Args:
        old_size: number of leaves of the old tree, 0 <= old_size <= new_size.
        old_root: its root, 32 bytes, from a checkpoint whose signature was verified.
        new_size: number of leaves of the new tree.
        new_root: its root, 32 bytes, from a checkpoint whose signature was verified.
        proof: 32-byte hashes, exactly as many as `consistency_path` names (none if old_size is 0 or equals new_size).
    Raises: ProofError, on anything else than a right proof.
    Source: RFC 9162 section 2.1.4.2.
    """
    path = consistency_path(old_size, new_size)
    _check_hashes(proof, len(path), old_root, new_root)
    if (old_size == 0 and old_root != EMPTY_ROOT) or (new_size == 0 and new_root != EMPTY_ROOT):
        raise ProofError("the root of an empty tree is not the empty root")
    if old_size == 0:
        return
    # Where the old tree is one complete subtree the proof begins from its root, else from the proof's first hash.
    seeded = not path or path[0].start >= old_size
    steps = list(zip(path, proof, strict=True))
    old = new = old_root if seeded else steps.pop(0)[1]
    for subtree, hash_ in steps:
        if subtree.end <= old_size:
            old, new = node_hash(hash_, old), node_hash(hash_, new)
        else:
            new = node_hash(new, hash_)
    if old != old_root or new != new_root:
        raise ProofError(f"the tree of size {new_size} does not begin with the tree of size {old_size}")


def _left_size(size: int) -> int:
    """Return the largest power of two smaller than `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _check_hashes(proof: Sequence[bytes], length: int, *others: bytes) -> None:
    if len(proof) != length:
        raise ProofError(f"the proof has {len(proof)} hashes, not {length}")
    if any(len(hash_) != HASH_SIZE for hash_ in (*proof, *others)):
        raise ProofError("a hash is not 32 bytes")
