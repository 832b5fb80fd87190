"""A witness made elsewhere cosigns checkpoints made here, and refuses what it must: the ground of the witness tests."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.merkle import leaf_hashes, root_of
from goodstrace.note import Signer, open_note
from goodstrace.tiles import TileEdge, consistency_proof
from tests.litewitness import Litewitness

LOG = Signer("example.com/a1b2/goods/0", bytes(range(32)))
LEAVES = leaf_hashes(b"%d" % number for number in range(9))


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Litewitness]:
    with Litewitness("witness.example/w1", tmp_path) as running:
        running.add_log(LOG.verifier.vkey())
        yield running


def checkpoint(size: int, leaves: list[bytes] = LEAVES) -> str:
    return sign_checkpoint(Checkpoint(LOG.name, size, root_of(leaves[:size])), LOG)


def proof(old: int, new: int) -> list[bytes]:
    return consistency_proof(old, new, TileEdge().append(LEAVES[:new])[1])


def test_it_cosigns_what_grows_over_restarts_and_refuses_the_rest(witness: Litewitness) -> None:
    assert witness.printed_vkey() == witness.verifier.vkey()
    first = witness.ask(0, checkpoint(5))
    assert first.status_code == 200
    cosigned = open_note(checkpoint(5) + first.text, [LOG.verifier, witness.verifier])
    assert [signature.name for signature in cosigned.signatures] == [LOG.name, witness.name]
    witness.kill()
    witness.start()
    assert witness.seen(LOG.name) == (5, root_of(LEAVES[:5]))
    stale = witness.ask(0, checkpoint(9))
    assert (stale.status_code, stale.text) == (409, "5\n")
    assert witness.ask(5, checkpoint(9), proof(5, 9)).status_code == 200
    assert witness.ask(9, checkpoint(8)).status_code == 400
    assert witness.seen(LOG.name)[0] == 9


def test_it_refuses_a_fork_and_a_log_that_it_does_not_know(witness: Litewitness) -> None:
    witness.believe(LOG.name, 5, root_of(leaf_hashes([b"another history"] * 5)))
    assert witness.ask(5, checkpoint(9), proof(5, 9)).status_code == 422
    other = Signer("example.com/a1b2/goods/1", bytes(32))
    note = sign_checkpoint(Checkpoint(other.name, 1, LEAVES[0]), other)
    assert witness.ask(0, note).status_code == 404


def test_a_paused_one_answers_after_it_was_resumed(witness: Litewitness) -> None:
    witness.pause()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{witness.url}/add-checkpoint", content="", timeout=0.2)
    witness.resume()
    assert witness.ask(0, checkpoint(1)).status_code == 200
