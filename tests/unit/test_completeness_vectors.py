"""The published examples of proofs of completeness: what other languages can test themselves with."""

from typing import Any

import pytest

from goodstrace.completeness import leaf as leaves
from goodstrace.completeness import wrong_index
from goodstrace.completeness.proof import RunPages, TagRows
from goodstrace.completeness.rows import run_root, split
from goodstrace.entry import TagKind, tag
from goodstrace.log_keys import LogKeys
from goodstrace.merkle import leaf_hash
from goodstrace.merkle_ranges import verify_range
from tests.vector_files import vectors

VECTORS: Any = vectors("completeness")
SECRET = bytes.fromhex(VECTORS["secret"])


def test_tags_and_the_commitment_to_their_secret() -> None:
    for each in VECTORS["tags"]:
        assert tag(SECRET, TagKind(each["kind"]), each["text"]).hex() == each["tag"]
    assert leaves.secret_commitment(SECRET) == VECTORS["secret_commitment"]


@pytest.mark.parametrize("each", VECTORS["ranges"], ids=lambda each: f"{each['first']}-{each['end']}")
def test_range_proofs(each: Any) -> None:
    hashes = [leaf_hash(bytes.fromhex(data)) for data in each["leaves"]]
    proof = [bytes.fromhex(hash_) for hash_ in each["proof"]]
    verify_range(hashes, each["first"], each["size"], proof, bytes.fromhex(each["root"]))


def test_a_leaf_and_its_runs() -> None:
    leaf = leaves.decode(VECTORS["leaf"].encode())
    assert leaf.secret == VECTORS["secret_commitment"]
    for run, each in zip(leaf.runs, VECTORS["runs"], strict=True):
        assert (run.since, run.to, run.root) == (each["since"], each["to"], each["root"])
        assert run_root(split(bytes.fromhex(each["rows"]))) == (run.rows, bytes.fromhex(run.root))


@pytest.mark.parametrize("each", VECTORS["proofs"], ids=lambda each: each["text"])
def test_proofs_of_names(each: Any) -> None:
    rows = TagRows(leaves.decode(VECTORS["leaf"].encode()), tag(SECRET, TagKind(each["kind"]), each["text"]))
    assert rows.tag.hex() == each["tag"]
    for piece in each["pieces"]:
        hashes = tuple(bytes.fromhex(hash_) for hash_ in piece["hashes"])
        rows.add(RunPages(piece["first_page"], bytes.fromhex(piece["pages"]), hashes))
    assert rows.is_whole
    assert [list(place) for place in rows.positions()] == each["found"]


def test_the_proof_of_a_wrong_index() -> None:
    each = VECTORS["wrong_index"]
    data = each["file"].encode()
    proof = wrong_index.decode(data)
    assert wrong_index.encode(proof) == data
    shown = wrong_index.verify_wrong_index(proof, LogKeys.parse(each["vkeys"]))
    assert (shown.entry.log, shown.entry.index, shown.tag.hex()) == (each["log"], each["index"], each["tag"])
