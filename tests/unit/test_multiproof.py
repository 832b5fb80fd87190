"""Multiproofs against trees that are made in full, and from tiles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import tiles as tlog
from goodstrace.errors import ProofError
from goodstrace.merkle import inclusion_path, leaf_hash, root_of
from goodstrace.multiproof import multiproof_path, verify_multiproof
from goodstrace.tiles import TileEdge


def leaves_of(size: int) -> list[bytes]:
    return [leaf_hash(b"%d" % n) for n in range(size)]


def proof_of(leaves: list[bytes], indexes: list[int]) -> list[bytes]:
    return [root_of(leaves[slice(*subtree)]) for subtree in multiproof_path(indexes, len(leaves))]


@st.composite
def chosen(draw: st.DrawFn, most: int = 300) -> tuple[list[bytes], list[int]]:
    size = draw(st.integers(1, most))
    return leaves_of(size), sorted(draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=30)))


def test_every_set_of_leaves_of_every_small_tree() -> None:
    tried = 0
    for size in range(1, 10):
        leaves = leaves_of(size)
        root = root_of(leaves)
        for mask in range(1, 1 << size):
            indexes = [index for index in range(size) if mask >> index & 1]
            proof = proof_of(leaves, indexes)
            verify_multiproof({index: leaves[index] for index in indexes}, size, proof, root)
            if len(indexes) > 1:
                with pytest.raises(ProofError):
                    verify_multiproof({index: leaves[index] for index in indexes[1:]}, size, proof, root)
            tried += 1
    assert tried == sum(2**size - 1 for size in range(1, 10))


@given(chosen())
def test_it_holds_each_hash_of_the_inclusion_proofs_at_most_once(case: tuple[list[bytes], list[int]]) -> None:
    leaves, indexes = case
    path = multiproof_path(indexes, len(leaves))
    single = [inclusion_path(index, len(leaves)) for index in indexes]
    assert len(path) == len(set(path)) <= sum(map(len, single))
    assert set(path) <= {subtree for each in single for subtree in each}


@given(chosen(), st.data())
def test_any_altered_hash_or_moved_leaf_is_refused(
    case: tuple[list[bytes], list[int]], data: st.DataObject
) -> None:
    leaves, indexes = case
    proof, root = proof_of(leaves, indexes), root_of(leaves)
    shown = {index: leaves[index] for index in indexes}
    verify_multiproof(shown, len(leaves), proof, root)
    place = data.draw(st.integers(0, len(proof) + len(indexes) - 1))
    if place < len(proof):
        proof[place] = bytes([proof[place][0] ^ 1]) + proof[place][1:]
    else:
        moved = indexes[place - len(proof)]
        to = data.draw(st.integers(0, len(leaves)))
        if to in shown:
            shown[moved] = leaf_hash(b"other")
        else:
            shown[to] = shown.pop(moved)
    with pytest.raises(ProofError):
        verify_multiproof(shown, len(leaves), proof, root)


@given(chosen(most=2000))
def test_it_is_made_from_exactly_the_tiles_named(case: tuple[list[bytes], list[int]]) -> None:
    leaves, indexes = case
    _, stored = TileEdge().append(leaves)
    needed = tlog.tiles_for_multiproof(indexes, len(leaves))
    data = {(level, n): stored[level, n][: width * 32] for level, n, width in needed}
    assert tlog.multiproof(indexes, len(leaves), data) == proof_of(leaves, indexes)


@pytest.mark.parametrize(
    ("indexes", "size"), [([], 1), ([1], 1), ([-1], 1), ([0, 0], 2), ([1, 0], 2), ([0], 2**63)]
)
def test_no_such_leaves(indexes: list[int], size: int) -> None:
    with pytest.raises(ProofError):
        multiproof_path(indexes, size)
