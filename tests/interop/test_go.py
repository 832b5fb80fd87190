"""The Merkle core against implementations made elsewhere, in both directions.

What the Go program makes is committed as tests/vectors/*.json, which tests/unit uses. To make it anew, in
tests/interop/go: `go run . merkle > ../../vectors/merkle.json`, and so for notes and cosignatures.
"""

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.cosignature import Cosigner
from goodstrace.merkle import leaf_hashes, root_of
from goodstrace.note import Note, Signer, parse_note, sign_note
from goodstrace.tiles import TileEdge, consistency_proof, inclusion_proof, tile_path
from tests.go_programs import INTEROP
from tests.vector_files import VECTORS_DIR

SIZES = [1, 2, 3, 7, 8, 13, 255, 256, 257, 1023, 66_000]


@pytest.fixture(scope="module")
def program() -> Path:
    return INTEROP.build()


def run(program: Path, command: str, cases: Any = None) -> Any:
    done = subprocess.run(
        [program, command], input=json.dumps(cases).encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["merkle", "notes", "cosignatures"])
def test_the_committed_vectors_are_what_the_program_makes(program: Path, name: str) -> None:
    assert run(program, name) == json.loads((VECTORS_DIR / f"{name}.json").read_text())


def test_trees_proofs_and_tiles_made_here_hold_there(program: Path) -> None:
    report = run(program, "check", {"Trees": [tree_of(size) for size in SIZES]})
    assert report["failures"] == []
    assert report["checked"] > 300


def tree_of(size: int) -> dict[str, Any]:
    draw = random.Random(size)
    leaves = [draw.randbytes(draw.randrange(40)) for _ in range(size)]
    hashes = leaf_hashes(leaves)
    edge, tiles = TileEdge(), {}
    while edge.frontier.size < size:
        at = edge.frontier.size
        edge, changed = edge.append(hashes[at : at + draw.randrange(1, 700)])
        tiles.update(changed)
    inclusion, consistency = [], []
    for at in {0, size - 1, *(draw.randrange(size) for _ in range(10))}:
        proof = inclusion_proof(at, size, tiles)
        inclusion.append({"index": at, "leaf": hashes[at].hex(), "proof": hexes(proof)})
        inclusion.append(
            {"index": at, "leaf": hashes[at].hex(), "proof": hexes([*proof, bytes(32)]), "bad": True}
        )
        old = {"old_size": at + 1, "old_root": root_of(hashes[: at + 1]).hex()}
        consistency.append({**old, "proof": hexes(consistency_proof(at + 1, size, tiles))})
        consistency.append(
            {**old, "old_root": bytes(32).hex(), "proof": consistency[-1]["proof"], "bad": True}
        )
    return {
        "leaves": hexes(leaves),
        "root": edge.frontier.root().hex(),
        "inclusion": inclusion,
        "consistency": consistency,
        "tiles": every_width(tiles, size),
    }


def every_width(tiles: dict[tuple[int, int], bytes], size: int) -> dict[str, str]:
    """The tiles by path; the program counts them, so that none too many are written either."""
    assert all(
        len(data) // 32 == min(256, (size >> 8 * level) - n * 256) for (level, n), data in tiles.items()
    )
    return {tile_path(level, n, len(data) // 32): data.hex() for (level, n), data in tiles.items()}


def hexes(hashes: list[bytes]) -> list[str]:
    return [hash_.hex() for hash_ in hashes]


def test_notes_and_checkpoints_signed_here_open_there(program: Path) -> None:
    log = Signer("example.com/a1b2/browse/3", b"a seed of thirty-two bytes, test")
    witness = Signer("witness.example/größe", bytes(32))
    notes = [
        {
            "note": sign_note(text, signers).encode(),
            "text": text,
            "vkeys": [signer.verifier.vkey() for signer in signers],
        }
        for text in ("text\n", "\n", "a\n\n\nb\n\n", "— größe\u2028\n")
        for signers in ([log], [log, witness])
    ]
    checkpoints = []
    for size in (1, 255, 10**12, 2**63 - 1):
        checkpoint = Checkpoint(log.name, size, leaf_hashes([b"%d" % size])[0])
        note = sign_checkpoint(checkpoint, log)
        expected = {"origin": log.name, "size": size, "root": checkpoint.root.hex()}
        checkpoints.append({"note": note, "vkey": log.verifier.vkey(), **expected})
    report = run(program, "check", {"Notes": notes, "Checkpoints": checkpoints})
    assert report == {"checked": len(notes) + len(checkpoints), "failures": []}


def test_checkpoints_cosigned_here_open_there(program: Path) -> None:
    log, witness = (
        Signer("example.com/a1b2/browse/3", bytes(32)),
        Cosigner("witness.example/größe", bytes([1] * 32)),
    )
    cosigned = []
    for time in (1, 1_700_000_000, 2**63 - 1):
        note = parse_note(sign_checkpoint(Checkpoint(log.name, time, leaf_hashes([b""])[0]), log))
        both = Note(note.text, (*note.signatures, witness.cosign(note.text, time))).encode()
        cosigned.append({"note": both, "vkey": witness.verifier.vkey(), "time": time})
    report = run(program, "check", {"Cosigned": cosigned})
    assert report == {"checked": 2 * len(cosigned), "failures": []}
