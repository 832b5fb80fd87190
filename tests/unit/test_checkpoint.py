from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from goodstrace.errors import CheckpointError, NoteError
from goodstrace.merkle import EMPTY_ROOT, MAX_SIZE
from goodstrace.note import Signer, Verifier, sign_note
from tests.vector_files import vectors

VECTORS = vectors("notes")
LOG = Signer("example.com/7f3a/goods/0", bytes(32))
OTHER = Signer("example.com/7f3a/goods/1", bytes([1] * 32))
ROOT = bytes(range(32))
ROOT64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.mark.parametrize("case", VECTORS["checkpoints"], ids=lambda case: case["size"])
def test_checkpoints_made_elsewhere(case: dict[str, Any]) -> None:
    checkpoint = Checkpoint(case["origin"], int(case["size"]), bytes.fromhex(case["root"]))
    assert open_checkpoint(case["note"], [Verifier.parse(case["vkey"])]) == checkpoint
    signer = Signer(VECTORS["keys"][0]["name"], bytes.fromhex(VECTORS["keys"][0]["seed"]))
    assert sign_checkpoint(checkpoint, signer) == case["note"]


@given(st.integers(1, MAX_SIZE), st.binary(min_size=32, max_size=32))
def test_signing_and_opening(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(LOG.name, size, root)
    note = sign_checkpoint(checkpoint, LOG)
    assert open_checkpoint(note, [OTHER.verifier, LOG.verifier]) == checkpoint
    assert open_checkpoint(note.encode(), [LOG.verifier]) == checkpoint
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


@given(st.text() | st.lists(st.text(max_size=50), min_size=3, max_size=4).map("\n".join))
def test_any_text_is_a_checkpoint_or_a_checkpoint_error(text: str) -> None:
    try:
        checkpoint = Checkpoint.parse(text)
    except CheckpointError:
        return
    assert checkpoint.text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"\n1\n{ROOT64}\n",
        f"{LOG.name}\n1\n{ROOT64}",
        f"{LOG.name}\n1\n{ROOT64}\nextension\n",
        f"{LOG.name}\n1\n{ROOT64}\n\n",
        f"{LOG.name}\n01\n{ROOT64}\n",
        f"{LOG.name}\n+1\n{ROOT64}\n",
        f"{LOG.name}\n-1\n{ROOT64}\n",
        f"{LOG.name}\n 1\n{ROOT64}\n",
        f"{LOG.name}\n1_0\n{ROOT64}\n",
        f"{LOG.name}\n\n{ROOT64}\n",
        f"{LOG.name}\n\u0661\n{ROOT64}\n",
        f"{LOG.name}\n\u00b2\n{ROOT64}\n",
        f"{LOG.name}\n{MAX_SIZE + 1}\n{ROOT64}\n",
        f"{LOG.name}\n{'9' * 5000}\n{ROOT64}\n",
        f"{LOG.name}\n0\n{ROOT64}\n",
        f"{LOG.name}\n1\n{ROOT64[:-1]}\n",
        f"{LOG.name}\n1\n{ROOT64[:-2]}9=\n",
        f"{LOG.name}\n1\n{ROOT64[:-4]}\n",
        f"{LOG.name}\n1\n\n",
        f"{LOG.name}\n1\né\n",
        f"{LOG.name}\r\n1\r\n{ROOT64}\r\n",
    ],
)
def test_texts_that_are_no_checkpoint(text: str) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.parse(text)


def test_signed_texts_that_are_no_checkpoint() -> None:
    with pytest.raises(CheckpointError):
        open_checkpoint(sign_note(f"{LOG.name}\n01\n{ROOT64}\n", [LOG]).encode(), [LOG.verifier])


def test_values_that_are_no_checkpoint() -> None:
    for origin, size, root in [
        ("", 1, ROOT),
        ("a\nb", 1, ROOT),
        ("a", -1, ROOT),
        ("a", 2**63, ROOT),
        ("a", 1, b""),
    ]:
        with pytest.raises(CheckpointError):
            Checkpoint(origin, size, root)
    with pytest.raises(CheckpointError):
        Checkpoint("a", 0, ROOT)
    assert Checkpoint("a", 0, EMPTY_ROOT).size == 0


def test_only_the_key_named_after_the_origin_counts() -> None:
    checkpoint = Checkpoint(LOG.name, 1, ROOT)
    with pytest.raises(CheckpointError):
        sign_checkpoint(checkpoint, OTHER)
    signed_by_other = sign_note(checkpoint.text(), [OTHER]).encode()
    with pytest.raises(CheckpointError):
        open_checkpoint(signed_by_other, [LOG.verifier, OTHER.verifier])
    with pytest.raises(NoteError):
        open_checkpoint(signed_by_other, [LOG.verifier])
    with pytest.raises(NoteError):
        open_checkpoint(sign_checkpoint(checkpoint, LOG).replace("\n1\n", "\n2\n"), [LOG.verifier])
