"""Range proofs against trees that are made in full."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.errors import ProofError
from goodstrace.merkle import inclusion_path, leaf_hash, root_of
from goodstrace.merkle_ranges import range_path, verify_range


def leaves_of(size: int) -> list[bytes]:
    return [leaf_hash(b"%d" % n) for n in range(size)]


def proof_of(leaves: list[bytes], first: int, end: int) -> list[bytes]:
    return [root_of(leaves[slice(*subtree)]) for subtree in range_path(first, end, len(leaves))]


def test_every_range_of_every_small_tree_verifies_and_nothing_else_does() -> None:
    for size in range(1, 18):
        leaves = leaves_of(size)
        root = root_of(leaves)
        for first in range(size):
            for end in range(first + 1, size + 1):
                proof = proof_of(leaves, first, end)
                verify_range(leaves[first:end], first, size, proof, root)
                for wrong in (first - 1, first + 1):
                    with pytest.raises(ProofError):
                        verify_range(leaves[first:end], wrong, size, proof, root)
                with pytest.raises(ProofError):
                    verify_range(leaves[first:end], first, size, [*proof, root], root)
                if end - first > 1:
                    with pytest.raises(ProofError):
                        verify_range(leaves[first : end - 1], first, size, proof, root)


@given(st.integers(1, 300), st.data())
def test_a_single_leaf_has_the_hashes_of_its_inclusion_proof(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    assert sorted(range_path(index, index + 1, size)) == sorted(inclusion_path(index, size))


@given(st.integers(1, 200), st.data())
def test_any_altered_hash_is_refused(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    first = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(first + 1, size))
    proof, root = proof_of(leaves, first, end), root_of(leaves)
    shown = leaves[first:end]
    place = data.draw(st.integers(0, len(proof) + len(shown) - 1))
    target, at = (proof, place) if place < len(proof) else (shown, place - len(proof))
    target[at] = bytes([target[at][0] ^ 1]) + target[at][1:]
    with pytest.raises(ProofError):
        verify_range(shown, first, size, proof, root)


@pytest.mark.parametrize(
    ("first", "end", "size"), [(0, 0, 1), (1, 1, 2), (0, 2, 1), (-1, 1, 2), (0, 1, 2**63)]
)
def test_ranges_that_are_none_have_no_proof(first: int, end: int, size: int) -> None:
    with pytest.raises(ProofError):
        range_path(first, end, size)
