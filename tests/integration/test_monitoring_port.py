"""The port of `/metrics`, `/healthz` and `/readyz` ends when its service does."""

import socketserver
import urllib.request

import pytest
from prometheus_client import CollectorRegistry

from deploy.processes import is_listening
from services.runtime.monitoring import Monitoring


def test_it_answers_until_it_is_stopped_and_looks_often_whether_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve, pauses_s = socketserver.BaseServer.serve_forever, list[float]()

    def noted(server: socketserver.BaseServer, poll_interval: float = 0.5) -> None:
        pauses_s.append(poll_interval)
        serve(server, poll_interval)

    monkeypatch.setattr(socketserver.BaseServer, "serve_forever", noted)
    for _ in range(10):
        monitoring = Monitoring("test", "127.0.0.1", 0, CollectorRegistry())
        with urllib.request.urlopen(f"http://127.0.0.1:{monitoring.port}/healthz") as answer:
            assert answer.read() == b"alive\n"
        monitoring.stop()
        assert not is_listening(monitoring.port)
    assert max(pauses_s) <= 0.1, "with the library's own half a second each service would end that much later"
