"""The script for people with Docker: what it says, over a Docker that is played. The real one is not to be had here."""

import json
import subprocess
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from deploy import check_compose
from deploy.check_compose import (
    SERVICES,
    WITNESSES,
    CheckFailed,
    check,
    configured,
    drawn,
    examined,
    healthy,
    listed,
    unprivileged,
    used,
    witnessed,
)  # fmt: skip
from tests.unit.test_runbook_commands import fault

FOUND = {"kafka": [], "services": [{"level": "failed", "seen": "the ledger does not answer"}]}
BOARDS = ("overview", "pipeline", "ledger", "query", "audit", "neighbours", "capacity")


class Played:
    """Answers `docker compose` by its first word, `docker compose exec` by the program, or by the command of ours."""

    def __init__(self, **answers: tuple[int, str]) -> None:
        self.answers = {"config": (0, ""), "up": (0, ""), **answers}
        self.asked: list[list[str]] = []

    def __call__(self, arguments: Sequence[str], _: float) -> "subprocess.CompletedProcess[str]":
        self.asked.append(list(arguments))
        name = arguments[0]
        if name == "exec":
            words = list(arguments[2:])
            while words[0] == "-e":
                del words[:2]
            name = words[2] if words[1] == "goodstrace" else words[1]
        status, text = self.answers.get(name, (0, ""))
        return subprocess.CompletedProcess(arguments, status, text, text if status else "")


def using(**answers: tuple[int, str]) -> Played:
    """A system that works, but for these answers."""
    traced = {"events": [{"proof": {"log": "goods/3", "index": 7}}]}
    return Played(
        **{
            "merchants": (0, json.dumps({"merchant": 4, "apiKey": "gst_key"})),
            "simulate": (0, json.dumps({"item": "https://id.gs1.org/01/1/21/S"})),
            "trace": (0, json.dumps(traced)),
            **answers,
        }
    )


def examining(status: int, findings: dict[str, Any]) -> Played:
    checks = [{"check": name, "findings": found} for name, found in findings.items()]
    return Played(run=(status, json.dumps({"checks": checks})))


def rows(health: str) -> str:
    return "\n".join(json.dumps({"Service": name, "Health": health}) for name in (*SERVICES, *WITNESSES))


def test_what_passes_is_said() -> None:
    docker = Played(ps=(0, rows("healthy")), id=(0, "10001\n"), sh=(0, "fixed\n"))
    assert "warning" in configured(docker)
    assert all(name in healthy(docker) for name in SERVICES)
    assert "root" in unprivileged(docker)
    docker = Played(witness=(0, json.dumps({"cosigned": {"trace.example/goods/0": 7}})))
    assert all(name in witnessed(docker) for name in WITNESSES)
    assert "nothing that has failed" in examined(examining(0, {"kafka": [{"level": "warning", "seen": "x"}]}))


def test_events_are_captured_by_a_key_traced_and_verified_by_the_quorum() -> None:
    docker = using()
    assert "entry 7 of goods/3 verified" in used(docker)
    ours = [words[words.index("goodstrace") + 1] for words in docker.asked if "goodstrace" in words]
    assert ours == ["merchants", "merchants", "accounts", "simulate", "trace", "prove", "verify"]
    for words in docker.asked:
        if "goodstrace" in words:
            assert not fault(words[words.index("goodstrace") + 1 :]), words
    [captured] = [words for words in docker.asked if "sh" in words]
    assert captured[-1] == "goodstrace capture /tmp/check/*.jsonld"
    assert "GOODSTRACE_API_KEY=gst_key" in captured
    assert docker.asked[-1][-4:] == ["--vkeys", "/keys", "--policy", "/policy/witnesses"]


@pytest.mark.parametrize(
    ("health", "boards", "said"),
    [
        ("ok", BOARDS, ""),
        ("failing", BOARDS, "database: failing"),
        ("ok", BOARDS[1:], "lacks the dashboards goodstrace-overview$"),
    ],
)
def test_grafana_is_asked_for_every_dashboard(
    health: str, boards: Sequence[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [{"uid": f"goodstrace-{name}"} for name in boards]
    monkeypatch.setattr(
        check_compose, "_fetched", lambda url: {"database": health} if url.endswith("/api/health") else there
    )
    if not said:
        assert "all 7 dashboards" in drawn(Played())
        return
    with pytest.raises(CheckFailed, match=said):
        drawn(Played())


@pytest.mark.parametrize(
    ("docker", "one", "said"),
    [
        (Played(config=(1, "services.query.image is wrong")), configured, "image is wrong"),
        (Played(ps=(0, rows("unhealthy"))), healthy, "collector: unhealthy"),
        (Played(ps=(0, "[]")), healthy, "watch: not there"),
        (
            Played(witness=(0, '{"cosigned": {}}')),
            partial(witnessed, within_s=0),
            "witness-0 has cosigned nothing",
        ),
        (using(merchants=(1, "no such token")), used, "no such token"),
        (using(simulate=(0, "Traceback")), used, "no JSON document: Traceback"),
        (using(sh=(1, "refused   0001-farm.jsonld")), used, "refused"),
        (using(trace=(0, '{"events": []}')), partial(used, within_s=0), "nothing sealed names it"),
        (using(trace=(1, "no checkpoint")), partial(used, within_s=0), "within 0 s: no checkpoint"),
        (using(verify=(1, "not cosigned")), used, "not cosigned"),
        (examining(1, FOUND), examined, "services: the ledger does not answer"),
        (Played(run=(0, "")), examined, "says nothing"),
        (Played(id=(0, "0\n")), unprivileged, "as root"),
        (Played(id=(0, "10001\n"), sh=(0, "writable\n")), unprivileged, "can write"),
    ],
)
def test_what_does_not_is_said_too(docker: Played, one: object, said: str) -> None:
    with pytest.raises(CheckFailed, match=said):
        one(docker)  # type: ignore[operator]


def test_it_stops_at_the_first_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(Played(ps=(0, "[]"))) == 2
    told = capsys.readouterr().out
    assert "FAILED: healthy" in told
    assert "2 of 10 passed; 7 were not tried" in told


def test_both_ways_to_list_containers_are_read() -> None:
    one = {"Service": "query", "Health": "healthy"}
    assert listed(json.dumps([one])) == listed(json.dumps(one)) == [one]


def test_where_there_is_no_docker_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def nothing(*_: object) -> "subprocess.CompletedProcess[str]":
        raise FileNotFoundError

    assert check(nothing) == 0
    assert "there is no `docker` here" in capsys.readouterr().out


def test_what_takes_too_long_is_told() -> None:
    def hanging(arguments: Sequence[str], timeout_s: float) -> "subprocess.CompletedProcess[str]":
        raise subprocess.TimeoutExpired(list(arguments), timeout_s)

    with pytest.raises(CheckFailed, match="config: not within"):
        configured(hanging)
