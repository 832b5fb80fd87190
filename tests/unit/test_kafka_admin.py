"""Admin clients: one that is at hand is used, and one that nobody has any more is gone, with its threads and connections."""

import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from services.runtime import kafka

NOWHERE = "127.0.0.1:1"


class Answered:
    """A future that is there."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def result(self, _timeout_s: float) -> Any:
        return self._value


class IdleAdmin:
    """A client in which nothing waits: empty, as the library's own is, and so false."""

    def __len__(self) -> int:
        return 0

    def describe_cluster(self, **_: Any) -> Answered:
        return Answered(SimpleNamespace(cluster_id="cluster"))

    def describe_topics(self, _topics: Any, **_named: Any) -> dict[str, Answered]:
        return {"topic": Answered(SimpleNamespace(topic_id="id"))}


def test_the_client_that_is_given_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "admin_client", lambda *_: pytest.fail("another client was made"))
    idle: Any = IdleAdmin()
    assert kafka.cluster_and_topic_id(NOWHERE, "topic", admin=idle) == ("cluster", "id")


def test_a_client_is_not_kept_by_its_own_callback() -> None:
    client = kafka.admin_client(NOWHERE, log_level=0)
    gone = weakref.ref(client)
    del client
    assert gone() is None
