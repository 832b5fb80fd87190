"""A client that asks for witnesses believes no checkpoint without their quorum; one that does not, is not disturbed by them."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from goodstrace.cli import main
from goodstrace.cosignature import Cosigner
from goodstrace.errors import QuorumError
from goodstrace.memory import VolatileMemory
from goodstrace.note import parse_note
from goodstrace.policy import Policy
from tests.fake_witness import UNIX_S, FakeWitness, policy_of
from tests.unit.fake_services import ClientOf, FakeLog, FakeServices

WITNESSES = [FakeWitness(name) for name in ("one", "two", "three")]
MOST = policy_of(WITNESSES, 2)


def cosigning(*cosigners: Cosigner, text_of: Callable[[str], str] = str) -> Callable[[Any], None]:
    """Add the cosignatures of these to each checkpoint of an answer."""

    def alter(answer: Any) -> None:
        for checkpoint in getattr(answer, "checkpoints", ()):
            text = text_of(parse_note(checkpoint.note).text)
            checkpoint.note += "".join(each.cosign(text, UNIX_S).line() for each in cosigners)

    return alter


def keys(witnesses: Sequence[FakeWitness]) -> list[Cosigner]:
    return [each.cosigner for each in witnesses]


def test_a_quorum_of_witnesses_is_enough(services: FakeServices, client_of: ClientOf) -> None:
    services.altered = cosigning(*keys(WITNESSES[1:]))
    found = client_of(policy=MOST).checkpoints()
    assert {log: MOST.cosigners(each.note) for log, each in found.items()} == {
        "goods/0": {"two", "three"},
        "browse/0": {"two", "three"},
    }


@pytest.mark.parametrize(
    ("altered", "said"),
    [
        (cosigning(), "cosigned by no witness of the policy"),
        (cosigning(*keys(WITNESSES[:1])), "cosigned by one$"),
        (cosigning(*keys(WITNESSES[:1] * 2)), "cosigned by one$"),
        (cosigning(WITNESSES[0].cosigner, Cosigner("witness.example/other", b"o" * 32)), "cosigned by one$"),
        (cosigning(*keys(WITNESSES), text_of=lambda text: text + "more\n"), "the cosignature of .* is wrong"),
    ],
)
def test_without_the_quorum_nothing_is_believed_nor_remembered(
    services: FakeServices, client_of: ClientOf, altered: Callable[[Any], None], said: str
) -> None:
    services.altered, memory = altered, VolatileMemory()
    client = client_of(policy=MOST, memory=memory)
    for ask in (client.checkpoints, lambda: client.browses(key="urn:test:goods")):
        with pytest.raises(QuorumError, match=said):
            ask()
    assert all(memory.get(log.origin) is None for log in services.logs.values())


def test_a_policy_that_lists_logs_wants_one_of_them(services: FakeServices, client_of: ClientOf) -> None:
    services.altered = cosigning(*keys(WITNESSES))
    line = f"log {services.logs['goods/0'].signer.verifier.vkey()}\n"
    group = "group most 2 one two three\nquorum most\n"
    policy = Policy.parse(line + "".join(each.line() for each in WITNESSES) + group)
    with pytest.raises(QuorumError, match="browse/0 at size 5"):
        client_of(policy=policy).checkpoints()
    del services.logs["browse/0"]
    assert set(client_of(policy=policy).checkpoints()) == {"goods/0"}


def test_cosignatures_are_no_matter_to_a_client_without_a_policy(
    services: FakeServices, client_of: ClientOf
) -> None:
    services.altered = cosigning(*keys(WITNESSES), Cosigner("witness.example/other", b"o" * 32))
    assert set(client_of().checkpoints()) == {"goods/0", "browse/0"}


def test_a_cosignature_that_comes_between_two_pages_is_no_other_checkpoint(
    services: FakeServices, client_of: ClientOf
) -> None:
    services.logs["browse/0"].append_browses(60)
    answers: list[Any] = []

    def alter(answer: Any) -> None:
        answers.append(answer)
        cosigning(*keys(WITNESSES[: 2 if len(answers) == 1 else 3]))(answer)

    services.altered = alter
    found = client_of(policy=MOST).browses(key="urn:test:goods")
    assert (len(found.entries), len(answers)) == (65, 2)


def test_the_command_line_takes_a_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy"
    policy.write_text("quorum none\nnonsense\n")
    (tmp_path / "goods-0.vkey").write_text(FakeLog("goods/0").signer.verifier.vkey() + "\n")
    options = ["--policy", str(policy), "--log-keys", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["goodstrace", "trace", "urn:test:goods", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code not in (0, None)
    assert f"{policy}: line 2" in capsys.readouterr().err
