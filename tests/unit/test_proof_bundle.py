"""Proof bundles: what is changed in one is refused, by whoever verifies; `goodstrace verify` takes them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import proof_bundle
from goodstrace.cli.main import cli
from goodstrace.errors import UnknownLogError, VerificationError
from goodstrace.log_keys import LogKeys
from tests.vector_files import vectors

VECTORS = vectors("proof_bundles")
KEYS = LogKeys.parse(VECTORS["vkeys"])
GOOD = VECTORS["bundle"].encode()


def changed(told: dict[str, Any]) -> str:
    whole: str = VECTORS["bundle"]
    return whole[: told["at"]] + told["put"] + whole[told["at"] + told["cut"] :]


def test_a_bundle_verifies_whole() -> None:
    bundle = proof_bundle.parse(GOOD)
    found = proof_bundle.verify(bundle, KEYS)
    assert bundle.encode() == GOOD
    assert [(each.proof.log, each.proof.index) for each in found] == [
        tuple(each) for each in VECTORS["places"]
    ]
    assert {name for each in found for name in each.parts} == {"event", "facts"}


@pytest.mark.parametrize("told", VECTORS["refused"], ids=[each["why"] for each in VECTORS["refused"]])
def test_what_is_wrong_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        proof_bundle.verify(proof_bundle.parse(changed(told).encode()), KEYS)


def test_other_keys_are_not_trusted() -> None:
    with pytest.raises(UnknownLogError):
        proof_bundle.verify(proof_bundle.parse(GOOD), LogKeys([]))


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed_but_the_key_asked_for(place: int, by: int) -> None:
    altered = GOOD[:place] + bytes([GOOD[place] ^ by]) + GOOD[place + 1 :]
    try:
        bundle = proof_bundle.parse(altered)
        proof_bundle.verify(bundle, KEYS)
    except VerificationError:
        return
    assert bundle.key != VECTORS["key"]


@given(st.binary(max_size=200))
def test_whatever_the_bytes_nothing_else_is_raised(data: bytes) -> None:
    with pytest.raises(VerificationError):
        proof_bundle.parse(data)


def run(tmp_path: Path, text: str, *options: str) -> tuple[int, dict[str, Any]]:
    file, keys = tmp_path / "proof.goodstrace-proof", tmp_path / "vkeys"
    file.write_text(text)
    keys.write_text("\n".join(VECTORS["vkeys"]))
    done = CliRunner().invoke(cli, ["verify", str(file), "--vkeys", str(keys), "--json", *options])
    return done.exit_code, json.loads(done.stdout) if done.stdout.startswith("{") else {}


def test_the_command_checks_bundles_offline(tmp_path: Path) -> None:
    code, told = run(tmp_path, VECTORS["bundle"])
    assert (code, told["verified"]) == (0, True)
    assert len(told["files"][0]["entries"]) == len(VECTORS["places"])
    code, told = run(tmp_path, changed(VECTORS["refused"][0]))
    assert (code, told["verified"]) == (1, False)
    assert run(tmp_path, VECTORS["bundle"], "--entry", __file__)[0] == 2
    file = tmp_path / "proof.goodstrace-proof"
    file.write_text(VECTORS["bundle"])
    shown = CliRunner().invoke(cli, ["verify", str(file), "--vkeys", str(tmp_path / "vkeys")])
    assert "entries of https://id.gs1.org/01/" in shown.output
