"""An index that leaves an entry out: the client proves it wrong to anybody, and a right one cannot be proved wrong."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from goodstrace import key_changes
from goodstrace.cli.verify import verify
from goodstrace.completeness import wrong_index
from goodstrace.completeness.proof import RunPages
from goodstrace.completeness.wrong_index import WrongIndex
from goodstrace.errors import AnswerError, ProofError, VerificationError, WrongIndexError
from goodstrace.facts import decode
from goodstrace.log_keys import LogKeys
from goodstrace.proof_file import ProofFile
from tests.unit.completeness_builders import pieces as pieces_of
from tests.unit.completeness_world import CompleteWorld
from tests.unit.fake_services import FakeLog


def test_an_index_that_leaves_one_out_is_proved_wrong_to_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = CompleteWorld()
    item = world.known.item
    assert item is not None
    with world.served(tmp_path) as client:
        places = world.places_of(client.trace(item, complete=True).events)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys").write_text(
        "\n".join(log.signer.verifier.vkey() for log in world.reader.logs.values())
    )
    other = CompleteWorld(seed=8, events=30)
    (tmp_path / "others").write_text(
        "\n".join(log.signer.verifier.vkey() for log in other.reader.logs.values())
    )
    for place in places[:3]:
        world.index(4, left_out=place)
        with world.served(tmp_path) as client, pytest.raises(WrongIndexError) as raised:
            client.trace(item)
        file = tmp_path / "proof.wrong-index"
        file.write_bytes(raised.value.proof)
        done = CliRunner().invoke(verify, [str(file), "--vkeys", str(tmp_path / "keys"), "--json"])
        assert done.exit_code == 0, done.output
        [said] = json.loads(done.output)["files"]
        assert (said["wrong_index"]["log"], said["wrong_index"]["index"]) == place
        assert CliRunner().invoke(verify, [str(file), "--vkeys", str(tmp_path / "keys")]).exit_code == 0
        keys = LogKeys.load(tmp_path / "keys")
        proof = wrong_index.decode(raised.value.proof)
        for wrong in _altered(proof):
            with pytest.raises(VerificationError):
                wrong_index.verify_wrong_index(wrong, keys)
        for number in range(0, len(raised.value.proof), 97):
            data = bytearray(raised.value.proof)
            data[number] ^= 1
            try:
                altered = wrong_index.decode(bytes(data))
            except ProofError:
                continue
            with pytest.raises(VerificationError):
                wrong_index.verify_wrong_index(altered, keys)


def _altered(proof: WrongIndex) -> Iterator[WrongIndex]:
    replace = msgspec.structs.replace
    yield replace(proof, tag=bytes(16))
    yield replace(proof, tag_number=proof.tag_number + 1)
    yield replace(proof, pieces=proof.pieces[1:])
    yield replace(proof, index=proof.entry)
    yield replace(proof, entry=proof.index)
    yield replace(proof, leaf=proof.leaf.replace(b'"since":0', b'"since":1'))


def test_it_is_proved_after_changes_of_the_keys_also_beside_a_policy_of_before(tmp_path: Path) -> None:
    world = CompleteWorld()
    item = world.known.item
    assert item is not None
    with world.served(tmp_path) as client:
        place = world.places_of(client.trace(item, complete=True).events)[0]
    world.index(4, left_out=place)
    with world.served(tmp_path) as client, pytest.raises(WrongIndexError) as raised:
        client.trace(item)
    file, keys, policy = tmp_path / "proof.wrong-index", tmp_path / "keys", tmp_path / "policy"
    file.write_bytes(raised.value.proof)
    vkeys = [log.signer.verifier.vkey() for log in world.reader.logs.values()]
    policy.write_text("".join(f"log {each}\n" for each in vkeys) + "quorum none\n")
    keys.mkdir()
    for name, log in world.reader.logs.items():
        log.change_key()
        path = keys / name.replace("/", "-")
        path.with_suffix(".vkey").write_text(log.signer.verifier.vkey() + "\n")
        path.with_suffix(".changes").write_bytes(key_changes.statement(log.changes[0]) + b"\n")
    beside = FakeLog("goods/9").signer.verifier.vkey()
    for more in ((), ("--vkey", beside), ("--policy", str(policy))):
        done = CliRunner().invoke(verify, [str(file), "--vkeys", str(keys), *more])
        assert done.exit_code == 0, done.output
        assert "signed by a retired key" in done.output
    [said] = json.loads(CliRunner().invoke(verify, [str(file), "--vkeys", str(keys), "--json"]).output)[
        "files"
    ]
    assert said["wrong_index"]["by_retired_key"]
    done = CliRunner().invoke(
        verify, [str(file), "--policy", str(policy)]
    )  # whose keys are in force for all it knows
    assert "retired" not in done.output


def test_a_right_index_cannot_be_proved_wrong(tmp_path: Path) -> None:
    world = CompleteWorld()
    item = world.known.item
    assert item is not None
    world.index(4, left_out=("goods/0", 5))
    with world.served(tmp_path) as client:
        keys = [
            facts.keys for r in world.reader.sealed["goods/0"][5:6] for facts in [decode(r.parts[1].content)]
        ]
        key = next(key for of_role in keys for those in of_role.values() for key in those)
        with pytest.raises(VerificationError) as raised:
            client.trace(key)
    assert isinstance(raised.value, WrongIndexError), raised.value
    proof = wrong_index.decode(raised.value.proof)
    world.index(4)
    shown: list[RunPages] = asyncio.run(pieces_of(world.store, world.leaf, proof.tag))
    index = world.reader.logs["index"]
    right = msgspec.structs.replace(
        proof,
        index=ProofFile(
            2, tuple(index.sealed(2).inclusion_proof), index.checkpoint().note, index.sealed(2).entry
        ).encode(),
        leaf=world.reader.sealed["index"][2].parts[0].content,
        pieces=tuple(wrong_index.Piece(p.first_page, p.hashes, p.pages) for p in shown),
    )
    with pytest.raises(AnswerError, match="the index is right"):
        wrong_index.verify_wrong_index(right, world.keys())
