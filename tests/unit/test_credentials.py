"""As whom the command line calls, and to whom it never shows what."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from goodstrace.cli.identity import operator_for, sessions, source_for
from goodstrace.credentials import host_of
from goodstrace.errors import CredentialsError, SignedOutError
from goodstrace.session_store import Session
from tests.fake_login import OPERATOR_TOKEN, FakeLogin, serving

LOCAL = "http://127.0.0.1:8080"
REMOTE = "query.example:443"
VARIABLES = (
    "GOODSTRACE_API_KEY",
    "GOODSTRACE_CLIENT_ID",
    "GOODSTRACE_CLIENT_SECRET_FILE",
    "GOODSTRACE_OPERATOR_TOKEN",
    "GOODSTRACE_QUERY_TARGET",
)
OPEN = Session("ann", "her token", 4e9, 4e9, "refresh")


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "credentials.json"
    monkeypatch.setenv("GOODSTRACE_CREDENTIALS", str(path))
    monkeypatch.setenv("GOODSTRACE_SESSIONS", str(tmp_path / "sessions"))
    monkeypatch.setenv("GOODSTRACE_KEYRING", "off")
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return path


def test_the_demo_merchants_key_stays_on_this_machine(credentials: Path) -> None:
    assert source_for(LOCAL).token() == ""
    credentials.write_text('{"merchant": {"api_key": "gst_demo"}}')
    for place in (LOCAL, "http://localhost", "http://[::1]:8080", "127.0.0.1:50051", "unix:/a/socket"):
        assert source_for(place).token() == "gst_demo"
    for place in (
        "https://collector.example",
        "http://127.0.0.1.example",
        "http://127.0.0.1@evil.example",
        "x",
        REMOTE,
        "dns:///query.example:443",
    ):
        assert source_for(place).token() == ""


def test_a_file_goes_before_the_environment_before_a_session_before_the_local_stack(
    credentials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials.write_text('{"merchant": {"api_key": "gst_demo"}}')
    assert source_for(LOCAL).token() == "gst_demo"
    sessions().put("127.0.0.1:50051", OPEN)
    assert source_for(LOCAL).token() == "her token"
    monkeypatch.setenv("GOODSTRACE_API_KEY", "gst_environment")
    assert source_for("https://collector.example").token() == "gst_environment"
    (tmp_path / "key").write_text("gst_file\n")
    assert source_for(LOCAL, tmp_path / "key").token() == "gst_file"


def test_a_session_is_shown_where_it_began_and_where_its_user_said(credentials: Path) -> None:
    sessions().put(REMOTE, Session("ann", "her token", 4e9, 4e9, "refresh", "", ("collector.example",)))
    for place, shown in (
        (REMOTE, True),
        ("https://query.example", True),
        ("https://QUERY.example:8443/x", True),
        ("https://collector.example", True),
        ("https://evil.example", False),
        ("https://query.example@evil.example", False),
        ("https://query.example.evil.example", False),
        (LOCAL, False),
    ):
        assert source_for(place, query_target=REMOTE).token() == ("her token" if shown else ""), place
    assert source_for("https://collector.example").token() == ""  # it is another service's


def test_who_was_signed_out_by_the_service_is_told_until_they_sign_in_or_out(credentials: Path) -> None:
    credentials.write_text('{"merchant": {"api_key": "gst_demo"}}')
    sessions().put("127.0.0.1:50051", OPEN.ended(lost=True))
    with pytest.raises(SignedOutError, match=r"sign in again: goodstrace login\Z"):
        source_for(LOCAL).token()
    sessions().put("127.0.0.1:50051", OPEN.ended())
    assert source_for(LOCAL).token() == "gst_demo"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"merchant": 1}', '{"users": 1, "merchant": {"api_key": "x"}}', "\ud800"]
)
def test_a_file_that_is_no_credentials_is_told(credentials: Path, text: str) -> None:
    credentials.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(CredentialsError):
        source_for(LOCAL, role="auditor" if "users" in text else "merchant")
    with pytest.raises(CredentialsError):
        source_for(LOCAL, credentials.parent).token()


@pytest.mark.parametrize(
    ("place", "host"),
    [
        ("[::1]:50051", "::1"),
        ("unix:///a/b", "localhost"),
        ("dns:///Q.example:1", "q.example"),
        ("a:1", "a"),
        ("https://u@h.example:1/p", "h.example"),
    ],
)
def test_the_host_of_a_place(place: str, host: str) -> None:
    assert host_of(place) == host


# -- the users of the local stack ----------------------------------------------------------------------------------


@pytest.fixture
def world(credentials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLogin]:
    credentials.write_text(
        '{"merchant": {"api_key": "gst_demo"}, "users": {"auditor": {"name": "demo-auditor", "password": "pa"},'
        ' "operator": {"name": "demo-operator", "password": "po"}}}'
    )
    with serving(f"unix:{tmp_path}/s") as made:
        made.add("demo-auditor", "pa", "auditor")
        made.add("demo-operator", "po", "operator")
        monkeypatch.setenv("GOODSTRACE_QUERY_TARGET", made.target)
        yield made


def test_a_user_of_the_local_stack_signs_in_once_and_again_where_the_store_was_emptied(
    world: FakeLogin,
) -> None:
    first = source_for(world.target, role="auditor").token()
    assert first == source_for("127.0.0.1:50052", role="auditor").token()
    assert [each.account for each in world.sessions.values()] == ["demo-auditor"]
    world.end_sessions()
    again = source_for(world.target, role="auditor").renewed(first)
    assert again != first
    assert source_for(world.target, role="auditor").token() == again
    assert source_for(world.target, role="shopper").token() == ""
    assert source_for("audit.example:1", role="auditor").token() == ""


def test_the_operator_is_a_person_for_accounts_and_a_token_for_merchants(
    world: FakeLogin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert operator_for(LOCAL).token().startswith("access-")
    (tmp_path / "run" / "keys").mkdir(parents=True)
    (tmp_path / "run" / "keys" / "operator-token").write_text(OPERATOR_TOKEN)
    assert operator_for(LOCAL).token() == OPERATOR_TOKEN
    assert operator_for(world.target, as_person=True).token().startswith("access-")
    assert operator_for("https://collector.example").token() == ""
    sessions().put(world.target, OPEN)
    assert operator_for(LOCAL).token() == "her token"
    (tmp_path / "token").write_text("told")
    assert operator_for(LOCAL, tmp_path / "token").token() == "told"
    monkeypatch.setenv("GOODSTRACE_OPERATOR_TOKEN", "of the environment")
    assert operator_for(LOCAL).token() == "of the environment"
    assert operator_for(LOCAL, tmp_path / "token").token() == "told"  # what is named here comes first


def test_a_service_account_of_the_environment(
    world: FakeLogin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("shop-web", "its secret", "platform", kind="service")
    (tmp_path / "secret").write_text("its secret\n")
    monkeypatch.setenv("GOODSTRACE_CLIENT_ID", "shop-web")
    monkeypatch.setenv("GOODSTRACE_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    assert source_for(LOCAL).token().startswith("issued-")
