"""The witnesses of the local stack: how many, and the policy that is made for them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.processes import StackError
from deploy.witnesses import wanted
from goodstrace.policy import Policy
from services.witness.own import policy_text
from services.witness.own_command import dev_witnesses
from tests.fake_witness import FakeWitness


def test_none_unless_asked_for() -> None:
    assert [wanted({}), wanted({"GOODSTRACE_LOCAL_WITNESSES": ""})] == [0, 0]
    assert wanted({"GOODSTRACE_LOCAL_WITNESSES": "3"}) == 3


@pytest.mark.parametrize("text", ["-1", "10", "three", "1.5"])
def test_another_number_is_told(text: str) -> None:
    with pytest.raises(StackError, match="GOODSTRACE_LOCAL_WITNESSES"):
        wanted({"GOODSTRACE_LOCAL_WITNESSES": text})


@pytest.mark.parametrize(("count", "enough"), [(1, 1), (2, 2), (3, 2), (9, 5)])
def test_more_than_half_of_them_must_cosign(count: int, enough: int) -> None:
    vkeys = [FakeWitness(f"w{number}").cosigner.verifier.vkey() for number in range(count)]
    policy = Policy.parse(policy_text(vkeys, [f"http://w{number}" for number in range(count)]))
    names = [witness.name for witness in policy.witnesses]
    assert len({witness.url for witness in policy.witnesses}) == count
    assert policy.is_satisfied(names[:enough])
    assert not policy.is_satisfied(names[: enough - 1])


def test_keys_are_made_once_and_the_policy_names_each_witness_at_its_address(tmp_path: Path) -> None:
    policy = tmp_path / "policy" / "witnesses.policy"
    policy.parent.mkdir()
    command = ["--policy", str(policy), str(tmp_path / "witnesses")]
    first = CliRunner().invoke(dev_witnesses, command)
    again = CliRunner().invoke(dev_witnesses, command)
    assert (first.exit_code, again.exit_code) == (0, 0), first.output + again.output
    assert first.output == again.output == policy.read_text()
    read = Policy.parse(policy.read_text())
    assert [each.url for each in read.witnesses] == [f"http://witness-{number}:8082" for number in range(3)]
    assert all((tmp_path / "witnesses" / str(number) / "witness.key").exists() for number in range(3))


def test_an_address_for_all_of_them_and_a_folder_that_cannot_be_are_told(tmp_path: Path) -> None:
    policy = ["--policy", str(tmp_path / "nowhere" / "policy")]
    one = CliRunner().invoke(dev_witnesses, [*policy, "--url", "http://witness:8082", str(tmp_path / "w")])
    assert one.exit_code == 2
    assert "NUMBER" in one.output
    nowhere = CliRunner().invoke(dev_witnesses, [*policy, str(tmp_path / "w")])
    assert nowhere.exit_code == 1
    assert "nowhere" in nowhere.output
    (tmp_path / "file").write_text("")
    refused = CliRunner().invoke(dev_witnesses, [*policy, str(tmp_path / "file")])
    assert refused.exit_code != 0
    assert "Traceback" not in refused.output
