from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.errors import ProofError, TreeError
from goodstrace.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    Node,
    consistency_path,
    inclusion_path,
    leaf_hash,
    leaf_hashes,
    node_hash,
    parents_of,
    range_nodes,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tests.vector_files import vectors

VECTORS = vectors("merkle")

# The reference trees of the certificate-transparency project: their leaves, and the root at every size from 0 to 8.
CT_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        bytes(range(0x60, 0x70)).hex(),
    ]
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


# RFC 6962 section 2.1, word by word: slow, and what everything else is measured against.


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(d: Sequence[bytes]) -> bytes:
    if len(d) == 0:
        return sha256(b"").digest()
    if len(d) == 1:
        return sha256(b"\x00" + d[0]).digest()
    k = split(len(d))
    return sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: Sequence[bytes]) -> list[bytes]:
    if len(d) == 1:
        return []
    k = split(len(d))
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def proof(m: int, d: Sequence[bytes]) -> list[bytes]:
    return subproof(m, d, whole=True) if m else []


def subproof(m: int, d: Sequence[bytes], *, whole: bool) -> list[bytes]:
    if m == len(d):
        return [] if whole else [mth(d)]
    k = split(len(d))
    if m <= k:
        return [*subproof(m, d[:k], whole=whole), mth(d[k:])]
    return [*subproof(m - k, d[k:], whole=False), mth(d[:k])]


def leaves_of(size: int) -> list[bytes]:
    return [b"leaf %d" % n for n in range(size)]


sizes = st.integers(1, 140)


def test_leaf_and_node_hashes_are_those_of_rfc_6962() -> None:
    assert leaf_hash(b"") == sha256(b"\x00").digest()
    assert leaf_hashes([b"", b"a"]) == [leaf_hash(b""), leaf_hash(b"a")]
    left, right = leaf_hash(b"l"), leaf_hash(b"r")
    assert node_hash(left, right) == sha256(b"\x01" + left + right).digest()
    assert parents_of([left, right, left]) == [node_hash(left, right)]
    assert EMPTY_ROOT == mth([]) == root_of([]) == Frontier().root()


@pytest.mark.parametrize("size", range(9))
def test_certificate_transparency_roots(size: int) -> None:
    hashes = leaf_hashes(CT_LEAVES[:size])
    assert root_of(hashes).hex() == CT_ROOTS[size]
    assert Frontier().append(hashes).root().hex() == CT_ROOTS[size]
    assert mth(CT_LEAVES[:size]).hex() == CT_ROOTS[size]


def test_certificate_transparency_proofs() -> None:
    root = bytes.fromhex(CT_ROOTS[8])
    sixth_of_eight = [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    verify_inclusion(leaf_hash(CT_LEAVES[5]), 5, 8, [bytes.fromhex(h) for h in sixth_of_eight], root)
    six_to_eight = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    verify_consistency(6, bytes.fromhex(CT_ROOTS[6]), 8, root, [bytes.fromhex(h) for h in six_to_eight])


@pytest.mark.parametrize("tree", VECTORS["trees"], ids=lambda tree: f"{tree['size']}")
def test_vectors_made_elsewhere(tree: dict[str, Any]) -> None:
    leaves = [bytes.fromhex(leaf) for leaf in tree["leaves"]] if "leaves" in tree else leaves_of(tree["size"])
    hashes, root, size = leaf_hashes(leaves), bytes.fromhex(tree["root"]), tree["size"]
    assert root_of(hashes) == Frontier().append(hashes).root() == root
    for case in tree["inclusion"]:
        verify_inclusion(hashes[case["index"]], case["index"], size, unhex(case["proof"]), root)
    for case in tree["consistency"]:
        verify_consistency(
            case["old_size"], bytes.fromhex(case["old_root"]), size, root, unhex(case["proof"])
        )


def unhex(hashes: list[str]) -> list[bytes]:
    return [bytes.fromhex(hash_) for hash_ in hashes]


@given(st.lists(st.binary(max_size=5), max_size=60))
def test_root_is_the_recursive_definition(leaves: list[bytes]) -> None:
    assert root_of(leaf_hashes(leaves)) == mth(leaves)


@given(st.lists(st.integers(0, 40), max_size=8))
def test_frontier_appends_any_batches(batches: list[int]) -> None:
    leaves = leaves_of(sum(batches))
    frontier, start = Frontier(), 0
    for batch in batches:
        before = frontier
        frontier, rows = before.grow(leaf_hashes(leaves[start : start + batch]))
        start += batch
        assert frontier.size == start
        assert frontier.root() == mth(leaves[:start])
        assert Frontier.decode(start, frontier.encode()) == frontier
        for level, row in enumerate(rows):
            for n, node in enumerate(row, before.size >> level):
                assert node == mth(leaves[n << level : (n + 1) << level])
            assert (before.size >> level) + len(row) == start >> level


def test_frontier_refuses_what_does_not_fit() -> None:
    hash_ = bytes(32)
    for size, hashes in [
        (-1, []),
        (1, []),
        (3, [hash_]),
        (4, [hash_, hash_]),
        (1, [b"short"]),
        (2**63, [hash_]),
    ]:
        with pytest.raises(TreeError):
            Frontier.decode(size, hashes)
    with pytest.raises(TreeError):
        Frontier().append([hash_, b"short"])
    with pytest.raises(TreeError):
        Frontier(MAX_SIZE, (hash_,) * 63).append([hash_])


@given(st.data(), sizes)
def test_ranges_are_made_of_complete_subtrees(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    old_size = data.draw(st.integers(0, size))
    for start, end in [*inclusion_path(index, size), *consistency_path(old_size, size), (0, size)]:
        covered = [n for level, at in range_nodes(start, end) for n in range(at << level, (at + 1) << level)]
        assert covered == list(range(start, end))
    assert range_nodes(0, 6) == [Node(2, 0), Node(1, 2)]


@given(st.data(), sizes)
def test_inclusion_proofs(data: st.DataObject, size: int) -> None:
    leaves = leaves_of(size)
    index = data.draw(st.integers(0, size - 1))
    expected = path(index, leaves)
    assert [mth(leaves[start:end]) for start, end in inclusion_path(index, size)] == expected
    root, leaf = mth(leaves), leaf_hash(leaves[index])
    verify_inclusion(leaf, index, size, expected, root)
    refuses_inclusion(leaf, (index + 1) % size if size > 1 else 1, size, expected, root)
    refuses_inclusion(leaf_hash(b"other"), index, size, expected, root)
    refuses_inclusion(leaf, index, size, [*expected, root], root)
    refuses_inclusion(leaf, index, size, expected, bytes(32))
    for at in range(len(expected)):
        refuses_inclusion(leaf, index, size, flipped(expected, at), root)
        refuses_inclusion(leaf, index, size, expected[:at] + expected[at + 1 :], root)
        refuses_inclusion(leaf, index, size, [*expected[:at], expected[at][:31], *expected[at + 1 :]], root)


def flipped(hashes: list[bytes], at: int) -> list[bytes]:
    return [*hashes[:at], bytes([hashes[at][0] ^ 1]) + hashes[at][1:], *hashes[at + 1 :]]


def refuses_inclusion(leaf: bytes, index: int, size: int, hashes: list[bytes], root: bytes) -> None:
    with pytest.raises(ProofError):
        verify_inclusion(leaf, index, size, hashes, root)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 1), (5, 3), (0, 2**63), (0, -1)])
def test_inclusion_out_of_range(index: int, size: int) -> None:
    refuses_inclusion(bytes(32), index, size, [], bytes(32))
    with pytest.raises(ProofError):
        inclusion_path(index, size)


def test_hashes_of_other_lengths_are_refused() -> None:
    refuses_inclusion(b"", 0, 1, [], b"")
    refuses_consistency(1, b"short", 1, b"short", [])


@given(st.data(), sizes)
def test_consistency_proofs(data: st.DataObject, size: int) -> None:
    leaves = leaves_of(size)
    old_size = data.draw(st.integers(0, size))
    expected = proof(old_size, leaves)
    assert [mth(leaves[start:end]) for start, end in consistency_path(old_size, size)] == expected
    old, new = mth(leaves[:old_size]), mth(leaves)
    verify_consistency(old_size, old, size, new, expected)
    refuses_consistency(old_size, bytes(32), size, new, expected)
    refuses_consistency(old_size, old, size, new, [*expected, new])
    if old_size:
        refuses_consistency(old_size, old, size, bytes(32), expected)
    if old_size > 1:
        refuses_consistency(old_size, mth([*leaves[: old_size - 1], b"changed"]), size, new, expected)
    for at in range(len(expected)):
        refuses_consistency(old_size, old, size, new, flipped(expected, at))
        refuses_consistency(old_size, old, size, new, expected[:at] + expected[at + 1 :])


def refuses_consistency(old_size: int, old: bytes, new_size: int, new: bytes, hashes: list[bytes]) -> None:
    with pytest.raises(ProofError):
        verify_consistency(old_size, old, new_size, new, hashes)


def test_consistency_edges() -> None:
    one = leaf_hash(b"")
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    verify_consistency(0, EMPTY_ROOT, 1, one, [])
    verify_consistency(1, one, 1, one, [])
    refuses_consistency(0, EMPTY_ROOT, 0, one, [])
    refuses_consistency(0, one, 0, one, [])
    refuses_consistency(1, one, 1, EMPTY_ROOT, [])
    for old_size, new_size in [(2, 1), (-1, 1), (1, 2**63)]:
        refuses_consistency(old_size, one, new_size, one, [])
        with pytest.raises(ProofError):
            consistency_path(old_size, new_size)
