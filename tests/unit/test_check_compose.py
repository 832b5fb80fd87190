"""The script for people with Docker: what it says, over a Docker that is played. The real one is not to be had here."""

import json
import subprocess
from collections.abc import Sequence
from functools import partial

import pytest

from deploy.check_compose import (
    SERVICES,
    WITNESSES,
    CheckFailed,
    check,
    configured,
    healthy,
    listed,
    unprivileged,
    witnessed,
)  # fmt: skip


class Played:
    """Answers `docker compose` by its first words."""

    def __init__(self, **answers: tuple[int, str]) -> None:
        self.answers = {"config": (0, ""), "up": (0, ""), **answers}

    def __call__(self, arguments: Sequence[str], _: float) -> "subprocess.CompletedProcess[str]":
        name = arguments[0] if arguments[0] != "exec" else arguments[3]
        status, text = self.answers.get(name, (0, ""))
        return subprocess.CompletedProcess(arguments, status, text, text if status else "")


def rows(health: str) -> str:
    return "\n".join(json.dumps({"Service": name, "Health": health}) for name in (*SERVICES, *WITNESSES))


def test_what_passes_is_said() -> None:
    docker = Played(ps=(0, rows("healthy")), id=(0, "10001\n"), touch=(1, "Read-only file system"))
    assert "warning" in configured(docker)
    assert all(name in healthy(docker) for name in SERVICES)
    assert "root" in unprivileged(docker)
    docker = Played(goodstrace=(0, json.dumps({"cosigned": {"trace.example/goods/0": 7}})))
    assert all(name in witnessed(docker) for name in WITNESSES)


@pytest.mark.parametrize(
    ("docker", "one", "said"),
    [
        (Played(config=(1, "services.query.image is wrong")), configured, "image is wrong"),
        (Played(ps=(0, rows("unhealthy"))), healthy, "collector: unhealthy"),
        (Played(ps=(0, "[]")), healthy, "watch: not there"),
        (
            Played(goodstrace=(0, '{"cosigned": {}}')),
            partial(witnessed, within_s=0),
            "witness-0 has cosigned nothing",
        ),
        (Played(id=(0, "0\n")), unprivileged, "as root"),
        (Played(id=(0, "10001\n"), touch=(0, "")), unprivileged, "can write"),
    ],
)
def test_what_does_not_is_said_too(docker: Played, one: object, said: str) -> None:
    with pytest.raises(CheckFailed, match=said):
        one(docker)  # type: ignore[operator]


def test_it_stops_at_the_first_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(Played(ps=(0, "[]"))) == 2
    told = capsys.readouterr().out
    assert "FAILED: healthy" in told
    assert "2 of 7 passed; 4 were not tried" in told


def test_both_ways_to_list_containers_are_read() -> None:
    one = {"Service": "query", "Health": "healthy"}
    assert listed(json.dumps([one])) == listed(json.dumps(one)) == [one]


def test_where_there_is_no_docker_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def nothing(*_: object) -> "subprocess.CompletedProcess[str]":
        raise FileNotFoundError

    assert check(nothing) == 0
    assert "there is no `docker` here" in capsys.readouterr().out
