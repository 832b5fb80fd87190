"""The commands by which people sign in, and operators keep accounts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from goodstrace.cli import asking
from goodstrace.cli.main import cli
from goodstrace.errors import CallError, CredentialsError, SignedOutError
from tests.fake_login import CODE, OPERATOR_TOKEN, FakeLogin, serving

PASSWORD = "a long password of ann"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLogin]:
    for name in ("GOODSTRACE_API_KEY", "GOODSTRACE_OPERATOR_TOKEN", "GOODSTRACE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOODSTRACE_SESSIONS", str(tmp_path / "sessions"))
    monkeypatch.setenv("GOODSTRACE_KEYRING", "off")
    monkeypatch.setenv("GOODSTRACE_CREDENTIALS", str(tmp_path / "none.json"))
    monkeypatch.chdir(tmp_path)
    with serving(f"unix:{tmp_path}/s") as made:
        monkeypatch.setenv("GOODSTRACE_QUERY_TARGET", made.target)
        made.add("ann", PASSWORD, "auditor", "operator")
        yield made


def run(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(cli, arguments, input=typed, catch_exceptions=True)


def done(*arguments: str, typed: str = "") -> Any:
    result = run(*arguments, "--json", typed=typed)
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def signed_in(*more: str) -> Any:
    return done("login", "--name", "Ann", *more, typed=PASSWORD + "\n")


def test_signing_in_and_out(world: FakeLogin) -> None:
    assert signed_in()["name"] == "ann"
    assert done("whoami")["roles"] == ["auditor", "operator"]
    assert PASSWORD not in str(list(Path("sessions").iterdir()))
    assert not any(PASSWORD in path.read_text() for path in Path("sessions").iterdir())
    [listed] = done("sessions")["sessions"]
    assert (listed["current"], listed["network"]) == (True, "192.0.2.0/24")
    token = run("token")
    assert token.stdout.strip() == done("token")["token"]
    assert any(token.stdout.strip() in each.access for each in world.sessions.values())
    assert done("logout") == {"ended": 1}
    assert not world.sessions
    again = run("logout")
    assert isinstance(again.exception, SignedOutError)
    assert isinstance(run("token").exception, SignedOutError)
    assert "device-" in next(Path("sessions").glob("*.json")).read_text()  # which is known again


def test_text_for_people(world: FakeLogin) -> None:
    world.must_change.add("ann")
    said = run("login", "--name", "ann", typed=PASSWORD + "\n").stdout
    assert said.startswith(f"ann at {world.target}: auditor, operator (by token)\n")
    assert "goodstrace passwd" in said
    assert "192.0.2.0/24" in run("sessions").stdout
    assert "signed out (1 session ended)" in run("logout").stdout


def test_a_password_from_a_file_or_from_standard_input_and_never_from_nothing(
    world: FakeLogin, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\r\nmore\n")
    assert done("login", "--name", "ann", "--password-file", str(tmp_path / "password"))["name"] == "ann"
    assert done("login", "--name", "ann", "--password-file", "-", typed=PASSWORD)["name"] == "ann"
    assert isinstance(run("login", "--name", "ann").exception, CredentialsError)
    assert isinstance(run("login", "--name", "ann", "--password-file", "absent").exception, CredentialsError)


def test_a_wrong_password_is_refused_and_the_session_of_before_stays(world: FakeLogin) -> None:
    signed_in()
    refused = run("login", "--name", "ann", typed="wrong\n")
    assert isinstance(refused.exception, CallError)
    assert "UNAUTHENTICATED" in str(refused.exception)
    assert done("whoami")["name"] == "ann"


def test_work_before_a_sign_in(world: FakeLogin) -> None:
    world.zero_bits = 8
    assert signed_in()["name"] == "ann"


def test_a_code_is_asked_for_where_somebody_is_there(
    world: FakeLogin, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.totp.add("ann")
    assert isinstance(run("login", "--name", "ann", typed=PASSWORD + "\n").exception, CallError)
    assert signed_in("--code", CODE)["totp"] is True
    monkeypatch.setattr(asking, "at_terminal", lambda: True)
    result = run("login", "--name", "ann", typed=f"{PASSWORD}\n{CODE}\n")
    assert result.exit_code == 0, result.exception
    assert "One-time code, if the account uses them" in result.stderr
    assert PASSWORD not in result.output
    assert isinstance(run("login", "--name", "ann", typed=f"{PASSWORD}\n\n").exception, CallError)


def test_a_session_that_has_ended_says_to_sign_in_again(world: FakeLogin) -> None:
    signed_in()
    world.end_sessions()
    for command in (["whoami"], ["sessions"], ["accounts", "list"]):
        ended = run(*command)
        assert isinstance(ended.exception, SignedOutError)
        assert f"sign in again: goodstrace login --query {world.target}" in str(ended.exception)
    assert done("logout") == {"ended": 0}
    signed_in()
    assert done("whoami")["name"] == "ann"


def test_tokens_are_renewed_between_commands(world: FakeLogin) -> None:
    signed_in()
    world.refuse_access_tokens()
    assert done("whoami")["name"] == "ann"
    assert done("whoami")["name"] == "ann"
    assert (world.refreshes, world.reused) == (1, 0)


def test_signing_out_everywhere_or_of_one_session(world: FakeLogin) -> None:
    world.begin("ann")
    other = next(iter(world.sessions))
    signed_in()
    assert done("logout", "--session", other) == {"ended": 1}
    assert done("whoami")["name"] == "ann"
    world.begin("ann")
    assert done("logout", "--everywhere") == {"ended": 2}
    assert isinstance(run("token").exception, SignedOutError)


def test_a_sign_out_that_the_service_does_not_hear_of_is_forgotten_here_and_fails(world: FakeLogin) -> None:
    signed_in()
    world.away = True
    world.refuse_access_tokens()
    failed = run("logout")
    assert isinstance(failed.exception, CredentialsError)
    assert "forgotten here" in str(failed.exception)
    assert isinstance(run("token").exception, SignedOutError)


def test_changing_the_password(world: FakeLogin, tmp_path: Path) -> None:
    signed_in()
    new = "another long password"
    assert done("passwd", typed=f"{PASSWORD}\n{new}\n") == {"changed": True}
    assert done("whoami")["name"] == "ann"
    assert len(world.sessions) == 1
    (tmp_path / "old").write_text(new)
    (tmp_path / "new").write_text("short")
    files = ("--password-file", str(tmp_path / "old"), "--new-password-file", str(tmp_path / "new"))
    assert "INVALID_ARGUMENT" in str(run("passwd", *files).exception)
    world.calls.clear()
    assert isinstance(run("passwd", typed=f"wrong\n{PASSWORD}\n").exception, CallError)
    assert world.calls == ["ChangePassword"]
    assert done("whoami")["name"] == "ann"


def test_two_new_passwords_that_differ_change_nothing(
    world: FakeLogin, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in()
    monkeypatch.setattr(asking, "at_terminal", lambda: True)
    monkeypatch.setattr("goodstrace.cli.passwords.at_terminal", lambda: True)
    result = run("passwd", typed=f"{PASSWORD}\none long password\nanother long one\n")
    assert isinstance(result.exception, CredentialsError)
    assert world.passwords["ann"] == PASSWORD


def test_one_time_codes_on_and_off(world: FakeLogin) -> None:
    signed_in()
    said = run("totp", "on", typed=f"{PASSWORD}\n{CODE}\n")
    assert said.exit_code == 0, said.exception
    assert said.stdout.startswith("otpauth://totp/")
    assert "recover-1" in said.stdout
    assert done("whoami")["totp"] is True
    assert done("totp", "off", "--code", CODE, typed=PASSWORD) == {"totp": False}
    assert done("totp", "on", typed=PASSWORD)["secret"]
    assert not world.totp
    assert done("totp", "on", "--code", CODE) == {"recovery_codes": ["recover-1", "recover-2"]}


def test_accounts_are_kept_by_operators(world: FakeLogin) -> None:
    signed_in()
    made = done("accounts", "add", "shop-web", "--service", "--role", "platform", "--merchant", "7")
    assert made["credential"] == world.passwords["shop-web"]
    assert (made["kind"], made["roles"], made["merchant"]) == ("service", ["platform"], 7)
    assert "password, to be changed: made-" in run("accounts", "add", "bob", "--role", "shopper").stdout
    listed = done("accounts", "list")["accounts"]
    assert [each["name"] for each in listed] == ["ann", "bob", "shop-web"]  # over pages
    assert "shop-web" in run("accounts", "list").stdout
    assert done("accounts", "show", "bob")["roles"] == ["shopper"]
    changed = done("accounts", "set", "bob", "--role", "auditor", "--disable")
    assert (changed["roles"], changed["status"]) == (["auditor"], "disabled")
    assert "bob (user, active): auditor" in run("accounts", "set", "bob", "--enable").stdout
    assert run("accounts", "set", "bob").exit_code == 2
    assert done("accounts", "reset", "bob")["credential"] == world.passwords["bob"]
    assert run("accounts", "remove", "bob", typed="n\n").exit_code == 1
    assert "bob" in world.accounts
    assert done("accounts", "remove", "bob", "--yes") == {"removed": "bob"}
    assert "NOT_FOUND" in str(run("accounts", "show", "bob").exception)


def test_accounts_by_the_operators_token_and_by_nobody(
    world: FakeLogin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nobody = run("accounts", "list")
    assert isinstance(nobody.exception, CredentialsError)
    assert "goodstrace login" in str(nobody.exception)
    (tmp_path / "token").write_text(OPERATOR_TOKEN)
    assert done("accounts", "list", "--operator-token-file", str(tmp_path / "token"))["accounts"]
    world.add("eve", PASSWORD, "shopper")
    done("login", "--name", "eve", typed=PASSWORD)
    assert "PERMISSION_DENIED" in str(run("accounts", "list").exception)
    monkeypatch.setenv("GOODSTRACE_OPERATOR_TOKEN", OPERATOR_TOKEN)
    assert done("accounts", "list")["accounts"]


def test_a_session_file_that_others_may_read_is_refused_in_one_line(world: FakeLogin) -> None:
    signed_in()
    next(Path("sessions").glob("*.json")).chmod(0o644)
    refused = run("whoami")
    assert isinstance(refused.exception, CredentialsError)
    assert "chmod 600" in str(refused.exception)
