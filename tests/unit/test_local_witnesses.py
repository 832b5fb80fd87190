"""The witnesses of the local stack: how many, and the policy that is made for them."""

import pytest

from deploy.processes import StackError
from deploy.witnesses import policy_text, wanted
from goodstrace.policy import Policy
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
    policy = Policy.parse(policy_text(vkeys))
    names = [witness.name for witness in policy.witnesses]
    assert len({witness.url for witness in policy.witnesses}) == count
    assert policy.is_satisfied(names[:enough])
    assert not policy.is_satisfied(names[: enough - 1])
