"""A command that reads Kafka and finds nobody there says so once, and its library nothing."""

import pytest

from services.replay import reading
from services.runtime.errors import UnavailableError


def test_a_kafka_that_is_away_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "TIMEOUT_S", 1.5)
    with pytest.raises(UnavailableError, match="Kafka: "):
        reading.TopicReader("127.0.0.1:1", "goods.stored")
    told = capfd.readouterr()
    assert told.err == told.out == ""
