import base64
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.errors import NoteError
from goodstrace.note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Note,
    Signature,
    Signer,
    Verifier,
    open_note,
    parse_note,
    sign_note,
)
from tests.vector_files import vectors

VECTORS = vectors("notes")
LOG = Signer("example.com/log", bytes(32))
WITNESS = Signer("witness.example", bytes([1] * 32))
GOOD = sign_note("text\n", [LOG]).encode()

texts = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]) | st.just("\n")).map(
    lambda t: t + "\n"
)


@pytest.mark.parametrize("key", VECTORS["keys"], ids=lambda key: key["name"])
def test_keys_made_elsewhere(key: dict[str, Any]) -> None:
    seed = bytes.fromhex(key["seed"])
    assert seed == sha256(key["name"].encode()).digest()
    verifier = Signer(key["name"], seed).verifier
    assert verifier.vkey() == key["vkey"]
    assert Verifier.parse(key["vkey"]) == verifier


@pytest.mark.parametrize("case", VECTORS["notes"], ids=range(len(VECTORS["notes"])))
def test_notes_made_elsewhere(case: dict[str, Any]) -> None:
    keys = {key["vkey"]: Signer(key["name"], bytes.fromhex(key["seed"])) for key in VECTORS["keys"]}
    signers = [keys[vkey] for vkey in case["vkeys"]]
    assert sign_note(case["text"], signers).encode() == case["note"]
    opened = open_note(case["note"].encode(), [signer.verifier for signer in signers])
    assert opened == parse_note(case["note"])
    assert opened.text == case["text"]
    known = open_note(case["note"], [Verifier.parse(vkey) for vkey in case["known"]])
    assert [signature.name for signature in known.signatures] == [VECTORS["keys"][0]["name"]]


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["why"])
def test_notes_refused_elsewhere(case: dict[str, Any]) -> None:
    with pytest.raises(NoteError):
        open_note(case["note"], [Verifier.parse(vkey) for vkey in case["vkeys"]])


def test_the_example_of_the_specification_parses() -> None:
    note = (
        "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
        "— quasimodo.example/salvatore "
        "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    )
    parsed = parse_note(note)
    assert parsed.text.endswith("\n\ned è subito sera.\n")
    assert parsed.signatures[0].key_id.hex() == "367ba04b"


@given(texts)
def test_signing_and_opening(text: str) -> None:
    note = sign_note(text, [LOG, WITNESS])
    assert open_note(note.encode(), [LOG.verifier, WITNESS.verifier]) == note
    assert open_note(note.encode().encode(), [WITNESS.verifier]).signatures == note.signatures[1:]


@given(st.binary() | st.builds(lambda *parts: b"\n".join(parts), *[st.binary(max_size=9)] * 4))
def test_any_bytes_are_a_note_or_a_note_error(data: bytes) -> None:
    try:
        note = parse_note(data)
    except NoteError:
        return
    assert note.encode().encode() == data


@given(st.integers(0, len(GOOD.encode()) - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed(at: int, mask: int) -> None:
    data = bytearray(GOOD.encode())
    data[at] ^= mask
    with pytest.raises(NoteError):
        open_note(bytes(data), [LOG.verifier])


@given(st.text() | st.from_regex(r"\w+\+[0-9a-f]{8}\+AQ[A-Za-z0-9+/]{42}==?", fullmatch=True))
def test_any_text_is_a_vkey_or_a_note_error(vkey: str) -> None:
    try:
        verifier = Verifier.parse(vkey)
    except NoteError:
        return
    assert verifier.vkey() == vkey


def test_malformed_keys() -> None:
    good = LOG.verifier.vkey()
    name, key_id, key = good.split("+", 2)
    ecdsa = base64.b64encode(b"\x02" + LOG.verifier.public_key).decode()
    for vkey in [
        "", name, f"{name}+{key_id}", f"{name}+00000000+{key}", f"other+{key_id}+{key}", f"{name}+{key_id}+{ecdsa}",
        f"{name}+{key_id.upper()}+{key}", f"{good}\n", f" {good}", good[:-4], f"{name}+{key_id}+{key[:-1]}", f"+{key_id}+{key}",
    ]:  # fmt: skip
        with pytest.raises(NoteError):
            Verifier.parse(vkey)
    for seed in (b"", bytes(31), bytes(33)):
        with pytest.raises(NoteError):
            Signer("name", seed)
    for name in ("", "a b", "a+b", "a\u00a0b", "a\nb", "a\x00b", "\udc80", "x" * 1025):
        with pytest.raises(NoteError):
            Signer(name, bytes(32))


def test_a_signer_does_not_show_its_secret() -> None:
    assert repr(LOG) == f"Signer({LOG.verifier.vkey()!r})"


@pytest.mark.parametrize(
    "text", ["", "no newline", "control \x00\n", "tab\t\n", "return\r\n", "surrogate \ud800\n"]
)
def test_texts_that_cannot_be_signed(text: str) -> None:
    with pytest.raises(NoteError):
        sign_note(text, [LOG])


def test_a_note_has_a_signature_and_limits() -> None:
    with pytest.raises(NoteError):
        sign_note("text\n", [])
    line = GOOD.removeprefix("text\n\n")
    assert len(open_note("text\n\n" + line * MAX_SIGNATURES, [LOG.verifier]).signatures) == 1
    with pytest.raises(NoteError, match="signatures"):
        parse_note("text\n\n" + line * (MAX_SIGNATURES + 1))
    most = "x" * (MAX_NOTE_BYTES - len(line.encode()) - 2) + "\n"
    assert open_note(sign_note(most, [LOG]).encode(), [LOG.verifier]).text == most
    with pytest.raises(NoteError, match="bytes"):
        parse_note("x" + most + "\n" + line)


def test_signatures_of_unknown_keys_are_ignored_and_wrong_ones_of_known_keys_are_not() -> None:
    good = sign_note("text\n", [LOG]).signatures[0]
    same_name = Signature(LOG.name, b"\xff\xff\xff\xff", b"x" * 5000)
    same_id = Signature("other", good.key_id, b"x")
    with pytest.raises(NoteError, match="no signature"):
        parse_note(Note("text\n", (Signature(LOG.name, good.key_id, b""),)).encode())
    note = Note("text\n", (same_name, same_id, good)).encode()
    assert open_note(note, [LOG.verifier]).signatures == (good,)
    wrong = Signature(LOG.name, good.key_id, bytes(64))
    for signatures in [(wrong,), (wrong, good), (good, wrong), (Signature(LOG.name, good.key_id, b"short"),)]:
        with pytest.raises(NoteError, match="wrong"):
            open_note(Note("text\n", signatures).encode(), [LOG.verifier])
    with pytest.raises(NoteError, match="no known key"):
        open_note(note, [WITNESS.verifier])
    with pytest.raises(NoteError, match="no known key"):
        open_note(note, [])


def test_base64_that_is_not_canonical_is_refused() -> None:
    # The last character before the padding carries bits that no byte holds: a lax decoder drops them.
    assert GOOD.endswith("=\n")
    last = GOOD[-3]
    other = GOOD[:-3] + chr(ord(last) + 1) + GOOD[-2:]
    with pytest.raises(NoteError):
        parse_note(other)


def test_two_known_keys_with_one_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Verifier, "key_id", b"same")
    with pytest.raises(NoteError, match="same key ID"):
        open_note(GOOD, [LOG.verifier, Verifier(LOG.name, WITNESS.verifier.public_key)])
