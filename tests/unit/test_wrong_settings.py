"""What is set wrong is said in one line, and is no traceback."""

import socket

import pytest
from prometheus_client import CollectorRegistry

from services.collector.settings import CollectorSettings
from services.query.settings import QuerySettings
from services.runtime.errors import SettingsError
from services.runtime.mongo import Mongo
from services.runtime.monitoring import Monitoring
from services.runtime.settings import EXIT_BAD_SETTINGS, MongoSettings, load


def test_a_metrics_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}"):
            Monitoring("test", "127.0.0.1", port, CollectorRegistry())


@pytest.mark.parametrize(
    "uri",
    ["nonsense://x", "mongodb://user:hunter2@host:99999", "mongodb://"],
)
def test_a_store_address_that_is_none(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", uri)
    with pytest.raises(SettingsError, match="MONGODB_URI") as refused:
        Mongo(MongoSettings())  # type: ignore[call-arg]  # read from the environment
    assert "hunter2" not in str(refused.value)


def test_what_the_command_line_is_told_is_no_unknown_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOODSTRACE_QUERY_TARGET", "127.0.0.1:50051")
    load(QuerySettings)
    monkeypatch.setenv("GOODSTRACE_QUERY_TARGETS", "127.0.0.1:50051")
    with pytest.raises(SystemExit) as ended:
        load(QuerySettings)
    assert ended.value.code == EXIT_BAD_SETTINGS


@pytest.mark.parametrize("name", ["FIRST_STAGE", "LAST_STAGE"])
def test_collect_is_in_no_span_of_stages(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"GOODSTRACE_COLLECTOR_{name}", "collect")
    with pytest.raises(SystemExit) as ended:
        load(CollectorSettings)
    assert ended.value.code == EXIT_BAD_SETTINGS
    told = capsys.readouterr().err
    assert f"GOODSTRACE_COLLECTOR_{name}" in told
    assert "summarise, record, classify, store" in told


@pytest.mark.parametrize(
    "settings",
    [
        {"JWT_ISSUER": "https://idp.example"},
        {"JWT_ISSUER": "https://idp.example", "JWT_AUDIENCE": "goodstrace"},
        {"JWT_ISSUER": "i", "JWT_AUDIENCE": "a", "JWT_JWKS": "http://idp.example/jwks"},
        {"AUTH": "perhaps"},
        {"SPEAKS_FOR": "nobody"},
    ],
    ids=" ".join,
)
def test_who_may_capture_is_set_whole_or_not_at_all(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"GOODSTRACE_COLLECTOR_{name}", value)
    with pytest.raises(SystemExit) as ended:
        load(CollectorSettings)
    assert ended.value.code == EXIT_BAD_SETTINGS


def test_tokens_are_taken_where_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(CollectorSettings).token_rules() is None
    for name, value in {"ISSUER": "i", "AUDIENCE": "a", "JWKS": "http://127.0.0.1:9/jwks"}.items():
        monkeypatch.setenv(f"GOODSTRACE_COLLECTOR_JWT_{name}", value)
    assert load(CollectorSettings).token_rules() is not None
