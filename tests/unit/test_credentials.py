"""Where the command line finds its API key, and to whom it never sends it."""

from pathlib import Path

import pytest

from goodstrace.credentials import api_key_for
from goodstrace.errors import CredentialsError

LOCAL = "http://127.0.0.1:8080"


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "credentials.json"
    monkeypatch.setenv("GOODSTRACE_CREDENTIALS", str(path))
    monkeypatch.delenv("GOODSTRACE_API_KEY", raising=False)
    return path


def test_the_demo_merchants_key_stays_on_this_machine(credentials: Path) -> None:
    assert api_key_for(LOCAL) is None
    credentials.write_text('{"merchant": {"api_key": "gst_demo"}}')
    for url in (LOCAL, "http://localhost", "http://[::1]:8080"):
        assert api_key_for(url) == "gst_demo"
    for url in (
        "https://collector.example",
        "http://127.0.0.1.example",
        "http://127.0.0.1@evil.example",
        "x",
    ):
        assert api_key_for(url) is None


def test_a_file_goes_before_the_environment_before_the_local_stack(
    credentials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials.write_text('{"merchant": {"api_key": "gst_demo"}}')
    monkeypatch.setenv("GOODSTRACE_API_KEY", "gst_environment")
    assert api_key_for("https://collector.example") == "gst_environment"
    (tmp_path / "key").write_text("gst_file\n")
    assert api_key_for(LOCAL, tmp_path / "key") == "gst_file"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"merchant": 1}', "\ud800"])
def test_a_file_that_is_no_credentials_is_told(credentials: Path, text: str) -> None:
    credentials.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(CredentialsError):
        api_key_for(LOCAL)
    with pytest.raises(CredentialsError):
        api_key_for(LOCAL, credentials.parent)
