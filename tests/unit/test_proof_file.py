"""Proof files: read strictly, written as read, refused when any byte of them is another."""

import base64
import json
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import proof_file
from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.cosignature import Cosigner
from goodstrace.entry import Kind
from goodstrace.errors import (
    EntryError,
    NoteError,
    ProofError,
    QuorumError,
    UnknownLogError,
    VerificationError,
)
from goodstrace.log_keys import LogKeys
from goodstrace.merkle import inclusion_path, root_of
from goodstrace.note import Signer, parse_note
from goodstrace.policy import Policy
from goodstrace.proof_file import ProofFile
from tests.unit.fake_services import FakeLog
from tests.vector_files import vectors

VECTORS: Final[dict[str, Any]] = vectors("proof_files")
COSIGNERS: Final = [Cosigner(f"witness-{number}.example", bytes([64 + number]) * 32) for number in range(3)]
NOTE: Final = sign_checkpoint(Checkpoint("a/b/root", 1, bytes(32)), Signer("a/b/root", bytes(32)))


def made(log: FakeLog, index: int, cosigners: Sequence[Cosigner] = COSIGNERS[:2]) -> ProofFile:
    """The proof of an entry of a log, cosigned."""
    sealed, note = log.sealed(index), log.checkpoint().note
    text = parse_note(note).text
    lines = "".join(
        cosigner.cosign(text, 1_700_000_000 + place).line() for place, cosigner in enumerate(cosigners)
    )
    return ProofFile(index, tuple(sealed.inclusion_proof), note + lines, sealed.entry)


def policy(log: FakeLog | None, quorum: str) -> Policy:
    lines = [f"log {log.signer.verifier.vkey()}"] if log else []
    lines += [f"witness w{place} {each.verifier.vkey()}" for place, each in enumerate(COSIGNERS)]
    names = " ".join(f"w{place}" for place in range(len(COSIGNERS)))
    return Policy.parse("\n".join([*lines, f"group g {quorum} {names}", "quorum g"]))


@pytest.fixture
def log() -> FakeLog:
    grown = FakeLog("goods/0")
    for number in range(11):
        grown.append(Kind.EVENT, {"event": b"{}", "facts": b'{"number":%d}' % number})
    return grown


@pytest.fixture
def keys(log: FakeLog) -> LogKeys:
    return LogKeys([log.signer.verifier])


@pytest.mark.parametrize("index", range(11))
def test_every_entry_is_proved_by_its_file(log: FakeLog, keys: LogKeys, index: int) -> None:
    proof = proof_file.parse(made(log, index).encode())
    assert proof == made(log, index)
    verified = proof_file.verify(proof, keys, policy(None, "2"))
    assert (verified.log, verified.index, verified.checkpoint.size) == ("goods/0", index, 11)
    assert verified.entry_bytes == log.records[index][0]
    assert verified.cosigned == {"w0": 1_700_000_000, "w1": 1_700_000_001}
    assert verified.unknown_signatures == 0


def test_a_policy_that_names_the_log_is_enough(log: FakeLog) -> None:
    proof = made(log, 4)
    assert proof_file.verify(proof, None, policy(log, "any")).cosigned.keys() == {"w0", "w1"}
    with pytest.raises(UnknownLogError):
        proof_file.verify(proof, None, policy(None, "any"))
    with pytest.raises(UnknownLogError):
        proof_file.verify(proof, None)
    with pytest.raises(UnknownLogError):
        proof_file.verify(proof, LogKeys([FakeLog("goods/1").signer.verifier]))


def test_the_quorum_must_have_cosigned(log: FakeLog, keys: LogKeys) -> None:
    with pytest.raises(QuorumError, match="lacks the policy's quorum 'g': cosigned by w0, w1"):
        proof_file.verify(made(log, 4), keys, policy(None, "all"))
    assert len(proof_file.verify(made(log, 4, COSIGNERS), keys, policy(None, "all")).cosigned) == 3


def test_what_unknown_keys_have_signed_is_counted_and_not_believed(log: FakeLog, keys: LogKeys) -> None:
    verified = proof_file.verify(made(log, 4), keys)
    assert (verified.cosigned, verified.unknown_signatures) == ({}, 2)


def test_keys_and_policy_must_both_hold_where_both_know_the_log(log: FakeLog, keys: LogKeys) -> None:
    other = FakeLog("goods/0", seed=9)
    with pytest.raises(NoteError):
        proof_file.verify(made(log, 4), keys, policy(other, "any"))
    with pytest.raises(NoteError):
        proof_file.verify(made(log, 4), LogKeys([other.signer.verifier]), policy(log, "any"))


def test_the_proof_holds_for_its_entry_only(log: FakeLog, keys: LogKeys) -> None:
    bare = ProofFile(4, made(log, 4).hashes, made(log, 4).checkpoint)
    assert proof_file.verify(bare, keys, entry_bytes=log.records[4][0]).index == 4
    with pytest.raises(ProofError):
        proof_file.verify(bare, keys, entry_bytes=log.records[5][0])
    with pytest.raises(ProofError, match="does not hold the entry"):
        proof_file.verify(bare, keys)


def test_a_leaf_that_is_no_entry_of_ours_is_refused(keys: LogKeys, log: FakeLog) -> None:
    log.records[3] = (b"something else", ())
    with pytest.raises(EntryError):
        proof_file.verify(made(log, 3), keys)


@pytest.mark.parametrize("bits", [0x01, 0x02, 0x20, 0x80])
def test_any_byte_changed_is_refused(log: FakeLog, keys: LogKeys, bits: int) -> None:
    proof, trust = made(log, 6).encode().encode(), policy(None, "2")
    proof_file.verify(proof_file.parse(proof), keys, trust)
    for place in range(len(proof)):
        changed = bytearray(proof)
        changed[place] ^= bits
        with pytest.raises(VerificationError):
            proof_file.verify(proof_file.parse(bytes(changed)), keys, trust)
    for end in range(len(proof)):
        with pytest.raises(VerificationError):
            proof_file.verify(proof_file.parse(proof[:end]), keys, trust)


def test_parts_are_checked_against_the_entry(log: FakeLog, keys: LogKeys) -> None:
    parts = {name: (salt, content) for name, salt, content in log.records[6][1]}
    data = proof_file.encode_parts(parts)
    verified = proof_file.verify(made(log, 6), keys)
    assert proof_file.verify_parts(verified, data) == {"event": b"{}", "facts": b'{"number":6}'}
    with pytest.raises(EntryError):
        proof_file.verify_parts(proof_file.verify(made(log, 7), keys), data)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x01
        with pytest.raises(EntryError):
            proof_file.verify_parts(verified, bytes(changed))
    twice = json.dumps([*json.loads(data), json.loads(data)[0]], separators=(",", ":"))
    for malformed in (twice.encode(), b" " + data, b"{}", b"\xff"):
        with pytest.raises(EntryError):
            proof_file.verify_parts(verified, malformed)


@given(
    st.integers(0, 2**63 - 2),
    st.lists(st.binary(min_size=32, max_size=32), max_size=proof_file.MAX_HASHES),
    st.none() | st.binary(max_size=300),
)
def test_what_is_written_is_read_back(index: int, hashes: list[bytes], extra: bytes | None) -> None:
    proof = ProofFile(index, tuple(hashes), NOTE, extra)
    text = proof.encode()
    assert proof_file.parse(text) == proof
    assert proof_file.parse(text.encode()).encode() == text


@given(
    st.text(max_size=200),
    st.sampled_from(["", "c2sp.org/tlog-proof@v1\nindex 1\n\n", "c2sp.org/tlog-proof@v1\n"]),
)
def test_other_text_is_refused_and_nothing_else_is_raised(text: str, before: str) -> None:
    with pytest.raises((ProofError, NoteError)):
        proof_file.parse(before + text)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_and_nothing_else_is_raised(data: bytes) -> None:
    with pytest.raises((ProofError, NoteError)):
        proof_file.parse(data)


HASH = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "lines",
    [
        ["c2sp.org/tlog-proof@v2", "index 0"],
        [" c2sp.org/tlog-proof@v1", "index 0"],
        ["c2sp.org/tlog-proof@v1"],
        ["c2sp.org/tlog-proof@v1", "index 00"],
        ["c2sp.org/tlog-proof@v1", "index +1"],
        ["c2sp.org/tlog-proof@v1", "index -1"],
        ["c2sp.org/tlog-proof@v1", "index \u0661"],
        ["c2sp.org/tlog-proof@v1", "index  1"],
        ["c2sp.org/tlog-proof@v1", "index 1 "],
        ["c2sp.org/tlog-proof@v1", "index 9223372036854775807"],
        ["c2sp.org/tlog-proof@v1", "index 1", "extra AA=="],
        ["c2sp.org/tlog-proof@v1", "extra AA==", "extra AA==", "index 1"],
        ["c2sp.org/tlog-proof@v1", "extra AB==", "index 1"],
        ["c2sp.org/tlog-proof@v1", "extra A", "index 1"],
        ["c2sp.org/tlog-proof@v1", "index 1", HASH[:-4]],
        ["c2sp.org/tlog-proof@v1", "index 1", HASH + "AAAA"],
        ["c2sp.org/tlog-proof@v1", "index 1", HASH[:-2] + "B="],
        ["c2sp.org/tlog-proof@v1", "index 1", HASH + "\r"],
        ["c2sp.org/tlog-proof@v1", "index 1", *([HASH] * 64)],
        ["c2sp.org/tlog-proof@v1", f"extra {'A' * 4 * 22_000}", "index 1"],
    ],
)
def test_what_is_not_exactly_the_format_is_refused(lines: list[str]) -> None:
    with pytest.raises(ProofError):
        proof_file.parse("\n".join([*lines, "", NOTE]))


def test_what_the_format_cannot_say_is_not_written() -> None:
    for proof in (
        ProofFile(-1, (), NOTE),
        ProofFile(0, (b"short",), NOTE),
        ProofFile(0, (), "no note"),
        ProofFile(0, (bytes(32),) * 64, NOTE),
    ):
        with pytest.raises((ProofError, NoteError)):
            proof.encode()


def test_a_file_without_end_is_not_read() -> None:
    with pytest.raises(ProofError, match="over"):
        proof_file.parse("c2sp.org/tlog-proof@v1\n" + "x" * proof_file.MAX_PROOF_BYTES)


@pytest.mark.parametrize("vector", VECTORS["proofs"], ids=lambda vector: vector["name"])
def test_the_published_proofs_verify(vector: dict[str, Any]) -> None:
    entry = bytes.fromhex(vector["entry"])
    proof = proof_file.parse(vector["proof"])
    assert proof.encode() == vector["proof"]
    beside = entry if proof.extra is None else None
    verified = proof_file.verify(proof, None, Policy.parse(VECTORS["policy"]), beside)
    assert verified.entry_bytes == entry
    assert [verified.checkpoint.origin, verified.index, verified.checkpoint.size] == [
        vector["origin"],
        vector["index"],
        vector["size"],
    ]
    assert dict(verified.cosigned) == vector["cosigned"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["why"])
def test_the_published_forgeries_do_not_verify(vector: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        proof_file.verify(proof_file.parse(vector["proof"]), None, Policy.parse(VECTORS["policy"]))


def test_the_root_of_the_published_log_is_that_of_its_leaves() -> None:
    """The paths of the vectors are those of RFC 6962, derived another way here."""
    leaves = [bytes.fromhex(each) for each in VECTORS["leaf_hashes"]]
    for vector in VECTORS["proofs"]:
        path = inclusion_path(vector["index"], vector["size"])
        expected = tuple(root_of(leaves[start:end]) for start, end in path)
        assert proof_file.parse(vector["proof"]).hashes == expected
