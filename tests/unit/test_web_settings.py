"""Settings of the pages that cannot work end the service at its start, with the setting's name."""

import datetime as dt
from pathlib import Path

import pytest

from goodstrace.certificate_files import CA, certificate_path, ensure
from services.query.web.setting_up import web_settings
from services.runtime.settings import EXIT_BAD_SETTINGS
from tests.fake_witness import FakeWitness

WEB = "GOODSTRACE_QUERY_WEB_"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        f"{WEB}AUDIT",
        f"{WEB}COLLECTOR",
        f"{WEB}POLICY",
        "GOODSTRACE_WITNESS_POLICY",
        "GOODSTRACE_CA_FILE",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("AUDIT", "http://audit:50052", "not sent to audit in clear text"),
        ("AUDIT", "ftp://audit", "a target is"),
        ("COLLECTOR", "http://collector:8080", "not sent to collector in clear text"),
        ("POLICY", "/nowhere", "cannot read"),
    ],
)
def test_what_cannot_be_asked_ends_the_start(
    name: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"{WEB}{name}", value)
    with pytest.raises(SystemExit) as ended:
        web_settings()
    assert ended.value.code == EXIT_BAD_SETTINGS
    told = capsys.readouterr().err
    assert f"{WEB}{name}" in told
    assert problem in told


@pytest.mark.parametrize(("audit", "collector"), [("127.0.0.1:50052", "http://127.0.0.1:8080"), ("https://audit:50052", "https://collector:8080"), ("", "")])  # fmt: skip
def test_tls_and_this_machine_are_taken(
    audit: str, collector: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(f"{WEB}AUDIT", audit)
    monkeypatch.setenv(f"{WEB}COLLECTOR", collector)
    assert (web_settings().audit, web_settings().collector) == (audit, collector)
    monkeypatch.setenv("GOODSTRACE_CA_FILE", str(tmp_path / "ca.pem"))
    if audit:
        with pytest.raises(SystemExit):  # there is no such file
            web_settings()
    ensure(tmp_path, dt.datetime.now(dt.UTC))
    assert certificate_path(tmp_path, CA) == tmp_path / "ca.pem"
    assert web_settings().audit == audit


def test_without_a_policy_of_their_own_it_is_that_of_the_witnesses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert web_settings().witnesses() == ()
    policies = {name: tmp_path / name for name in ("one", "two")}
    for name, path in policies.items():
        path.write_text(f"{FakeWitness(name).line('http://w.example')}quorum {name}\n")
    monkeypatch.setenv("GOODSTRACE_WITNESS_POLICY", str(policies["one"]))
    assert web_settings().policy == policies["one"]
    assert len(web_settings().witnesses()) == 1
    monkeypatch.setenv(f"{WEB}POLICY", str(policies["two"]))
    assert web_settings().policy == policies["two"]
    monkeypatch.setenv(f"{WEB}POLICY", "")
    assert web_settings().policy is None
