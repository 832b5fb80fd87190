"""What the demo tells of a stack that is not on its default ports."""

import pytest

from deploy import demo
from goodstrace.connections import Tls


def test_the_demo_tells_where_a_stack_on_other_ports_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "MONGODB_URI", "GOODSTRACE_KAFKA_PORT", "GOODSTRACE_MONGO_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(demo, "QUERY_TARGET", "http://127.0.0.1:50051")
    monkeypatch.setattr(demo, "AUDIT_TARGET", "http://127.0.0.1:50052")
    monkeypatch.setattr(demo, "CAPTURE_URL", "http://127.0.0.1:8080")
    monkeypatch.setattr(demo, "RUN_DIR", "run")
    monkeypatch.setattr(demo, "SCHEME", "http")
    monkeypatch.setattr(demo, "TLS", Tls())
    assert not demo.exports()
    monkeypatch.setattr(demo, "QUERY_TARGET", "http://127.0.0.1:7")
    monkeypatch.setenv("GOODSTRACE_MONGO_PORT", "3")
    assert "  export GOODSTRACE_QUERY_TARGET='http://127.0.0.1:7'\n" in demo.exports()
    assert "  export MONGODB_URI='mongodb://127.0.0.1:3/?directConnection=true'\n" in demo.exports()
