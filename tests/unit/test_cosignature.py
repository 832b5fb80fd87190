from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.cosignature import MAX_TIMESTAMP, CosignatureVerifier, Cosigner
from goodstrace.errors import NoteError
from goodstrace.note import Note, Signature, Signer, Verifier, open_note, parse_note
from tests.vector_files import vectors

VECTORS = vectors("cosignatures")
LOG = Signer("example.com/7f3a/goods/0", bytes(32))
WITNESS = Cosigner("witness.example/w1", bytes([1] * 32))
TEXT = Checkpoint(LOG.name, 5, bytes(32)).text()
NOTE = parse_note(sign_checkpoint(Checkpoint.parse(TEXT), LOG))


@pytest.mark.parametrize("key", VECTORS["keys"], ids=lambda key: key["name"])
def test_keys_made_elsewhere(key: dict[str, Any]) -> None:
    verifier = Cosigner(key["name"], bytes.fromhex(key["seed"])).verifier
    assert verifier.vkey() == key["vkey"]
    assert CosignatureVerifier.parse(key["vkey"]) == verifier


@pytest.mark.parametrize("case", VECTORS["cosignatures"], ids=range(len(VECTORS["cosignatures"])))
def test_cosignatures_made_elsewhere(case: dict[str, Any]) -> None:
    verifier = CosignatureVerifier.parse(case["vkey"])
    parsed = parse_note(case["note"])
    (signature,) = (each for each in parsed.signatures if each.key_id == verifier.key_id)
    assert verifier.verify(signature, parsed.text) == int(case["time"])
    seeds = {key["vkey"]: bytes.fromhex(key["seed"]) for key in VECTORS["keys"]}
    if int(case["time"]) > 0:  # we make none without its time
        assert (
            Cosigner(verifier.name, seeds[case["vkey"]]).cosign(parsed.text, int(case["time"])) == signature
        )


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["why"])
def test_cosignatures_refused_elsewhere(case: dict[str, Any]) -> None:
    with pytest.raises(NoteError):
        open_note(case["note"], [CosignatureVerifier.parse(case["vkey"])])


def test_the_example_of_the_specification_parses() -> None:
    line = (
        "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0"
        "xUe+mbIUBkBIfZ+qnA==\n"
    )
    (signature,) = parse_note("text\n\n" + line).signatures
    assert int.from_bytes(signature.signature[:8]) == 1679315147  # "time 1679315147" in the example
    assert len(signature.signature) == 72


@given(st.integers(1, MAX_TIMESTAMP))
def test_a_cosignature_verifies_and_tells_its_time(time: int) -> None:
    signature = WITNESS.cosign(TEXT, time)
    assert WITNESS.verifier.verify(signature, TEXT) == time
    both = Note(TEXT, (*NOTE.signatures, signature)).encode()
    assert open_note(both, [WITNESS.verifier]).signatures == (signature,)
    assert open_note(both, [LOG.verifier, WITNESS.verifier]).signatures == (*NOTE.signatures, signature)


@given(st.integers(0, 71), st.integers(1, 255))
def test_any_changed_byte_is_noticed(at: int, mask: int) -> None:
    good = WITNESS.cosign(TEXT, 1_700_000_000)
    changed = bytearray(good.signature)
    changed[at] ^= mask
    with pytest.raises(NoteError, match="wrong"):
        WITNESS.verifier.verify(Signature(good.name, good.key_id, bytes(changed)), TEXT)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_cosignature_or_a_note_error(data: bytes) -> None:
    signature = Signature(WITNESS.verifier.name, WITNESS.verifier.key_id, data)
    with pytest.raises(NoteError):
        WITNESS.verifier.verify(signature, TEXT)


def test_another_text_name_or_key_id_is_refused() -> None:
    good = WITNESS.cosign(TEXT, 7)
    other = Checkpoint(LOG.name, 6, bytes(32)).text()
    for signature, text in [
        (good, other),
        (Signature("another", good.key_id, good.signature), TEXT),
        (Signature(good.name, LOG.verifier.key_id, good.signature), TEXT),
        (NOTE.signatures[0], TEXT),
    ]:
        with pytest.raises(NoteError):
            WITNESS.verifier.verify(signature, text)


def test_a_log_key_is_no_witness_key_nor_the_reverse() -> None:
    same_key = Signer(WITNESS.verifier.name, bytes([1] * 32)).verifier
    assert same_key.public_key == WITNESS.verifier.public_key
    assert same_key.key_id != WITNESS.verifier.key_id
    with pytest.raises(NoteError, match="0x04"):
        CosignatureVerifier.parse(same_key.vkey())
    with pytest.raises(NoteError, match="0x01"):
        Verifier.parse(WITNESS.verifier.vkey())
    with pytest.raises(NoteError, match="no known key"):
        open_note(Note(TEXT, (WITNESS.cosign(TEXT, 7),)).encode(), [same_key])


@pytest.mark.parametrize("time", [-1, 0, MAX_TIMESTAMP + 1])
def test_times_that_cannot_be_signed(time: int) -> None:
    with pytest.raises(NoteError):
        WITNESS.cosign(TEXT, time)


def test_a_cosigner_has_a_whole_seed_and_does_not_show_it() -> None:
    assert repr(WITNESS) == f"Cosigner({WITNESS.verifier.vkey()!r})"
    for seed in (b"", bytes(31), bytes(33)):
        with pytest.raises(NoteError):
            Cosigner("name", seed)
