"""The port of `/metrics`, `/healthz` and `/readyz` ends when its service does."""

import time
import urllib.request

from prometheus_client import CollectorRegistry

from deploy.processes import is_listening
from services.runtime.monitoring import Monitoring


def test_it_answers_until_it_is_stopped_and_nobody_waits_for_its_end() -> None:
    stopping_s = 0.0
    for _ in range(10):
        monitoring = Monitoring("test", "127.0.0.1", 0, CollectorRegistry())
        with urllib.request.urlopen(f"http://127.0.0.1:{monitoring.port}/healthz") as answer:
            assert answer.read() == b"alive\n"
        began_s = time.monotonic()
        monitoring.stop()
        stopping_s += time.monotonic() - began_s
        assert not is_listening(monitoring.port)
    assert stopping_s < 2.5, "the library's own pause alone makes five seconds"
