"""Names of settings: a variable that nobody knows is refused, and a part of a service judges its own."""

import pytest
from pydantic_settings import BaseSettings

from services.collector.settings import CollectorSettings
from services.query.settings import QuerySettings
from services.query.web.settings import WebSettings
from services.runtime.settings import MonitoringSettings, load


def test_a_setting_of_a_part_is_no_unknown_one_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOODSTRACE_QUERY_WEB_LOOKS_PER_MIN", "7")
    load(QuerySettings)
    assert load(WebSettings).looks_per_min == 7


def test_the_level_of_logs_is_told_alike_to_every_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOODSTRACE_LOG_LEVEL", "debug")
    assert load(MonitoringSettings).log_level == load(CollectorSettings).log_level == "debug"


@pytest.mark.parametrize(
    ("settings", "name"),
    [(QuerySettings, "GOODSTRACE_QUERY_TYPO"), (WebSettings, "GOODSTRACE_QUERY_WEB_TYPO")],
)
def test_an_unknown_setting_is_refused_by_its_name(
    settings: type[BaseSettings],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(SystemExit, match="2"):
        load(settings)
    assert name in capsys.readouterr().err
