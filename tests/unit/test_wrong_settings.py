"""What is set wrong is said in one line, and is no traceback."""

import socket
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from services.collector.settings import CollectorSettings
from services.query.settings import QuerySettings
from services.query.web.settings import WebSettings
from services.runtime.access.opening import open_access
from services.runtime.errors import SettingsError
from services.runtime.mongo import Mongo
from services.runtime.monitoring import Monitoring
from services.runtime.settings import DROPPED, EXIT_BAD_SETTINGS, KafkaSettings, MongoSettings, load


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


def test_what_the_web_pages_are_told_is_theirs_to_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOODSTRACE_QUERY_WEB_AUDIT", "127.0.0.1:50052")
    load(QuerySettings)
    assert load(WebSettings).audit == "127.0.0.1:50052"
    monkeypatch.setenv("GOODSTRACE_QUERY_WEB_AUDITS", "127.0.0.1:50052")
    with pytest.raises(SystemExit):
        load(WebSettings)
    assert "unknown setting GOODSTRACE_QUERY_WEB_AUDITS" in capsys.readouterr().err


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


def test_a_collector_without_stages_is_told_so_by_two_empty_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_STAGE", "LAST_STAGE"):
        monkeypatch.setenv(f"GOODSTRACE_COLLECTOR_{name}", "")
    assert load(CollectorSettings).span() is None


def test_a_policy_is_one_of_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOODSTRACE_COLLECTOR_SPEAKS_FOR", "nobody")
    with pytest.raises(SystemExit) as ended:
        load(CollectorSettings)
    assert ended.value.code == EXIT_BAD_SETTINGS


@pytest.mark.parametrize("name", DROPPED)
def test_a_setting_that_is_no_more_says_which_it_is_now(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "none")
    for settings in (CollectorSettings, QuerySettings, KafkaSettings):
        with pytest.raises(SystemExit) as ended:
            load(settings)
        assert ended.value.code == EXIT_BAD_SETTINGS
        told = capsys.readouterr().err
        assert name in told
        assert "it is GOODSTRACE_" in told


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "goods.example"])
def test_accounts_are_off_on_this_machine_only(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing: Any = None
    monkeypatch.setenv("GOODSTRACE_ACCOUNTS", "off")
    with pytest.raises(SystemExit) as ended:
        open_access(host, nothing, nothing, structlog.get_logger())
    assert ended.value.code == EXIT_BAD_SETTINGS
    told = capsys.readouterr().err
    assert host in told
    assert "GOODSTRACE_ACCOUNTS=required" in told
    for local in ("127.0.0.1", "::1", "localhost"):
        with capture_logs() as logs:
            assert open_access(local, nothing, nothing, structlog.get_logger()).is_open
        assert [each["log_level"] for each in logs] == ["warning"]


def test_the_cas_of_our_own_clients_are_not_those_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOODSTRACE_CA_FILE", "run/tls/ca.pem")
    monkeypatch.setenv("GOODSTRACE_CLIENT_CERT_FILE", "run/tls/client.pem")
    assert MongoSettings().connection() == {}
    assert "ssl.ca.location" not in KafkaSettings().connection()
