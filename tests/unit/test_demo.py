"""What the demo tells of a stack that is not on its default ports."""

from pathlib import Path

import pytest

from deploy import demo
from deploy.service_processes import SERVICES
from goodstrace.connections import Tls
from services.doctor import addresses
from services.doctor.looks import SETTINGS
from services.doctor.running import read_settings


def test_the_demo_tells_where_a_stack_on_other_ports_is(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = ("KAFKA_BOOTSTRAP_SERVERS", "MONGODB_URI", "GOODSTRACE_KAFKA_PORT", "GOODSTRACE_MONGO_PORT")
    for name in (*servers, *(each.port_variable for each in SERVICES)):
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


def test_the_doctor_finds_the_services_by_what_the_demo_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = {each.port_variable: str(9201 + number) for number, each in enumerate(SERVICES)}
    for name, port in ports.items():
        monkeypatch.setenv(name, port)
    told = dict(
        line.removeprefix("  export ").replace("'", "").split("=", 1)
        for line in demo.exports().splitlines()
        if "export" in line
    )
    assert told.items() >= ports.items()
    looked_at = {url.rpartition(":")[2] for _, url in addresses.services((), read_settings(SETTINGS)[0])}
    assert looked_at == set(ports.values())


def test_the_demo_tells_the_page_of_its_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "WEB_URL", "https://127.0.0.1:8081")
    monkeypatch.setattr(demo, "QUERY_TARGET", "https://127.0.0.1:50051")
    monkeypatch.setattr(demo, "CREDENTIALS", tmp_path / "credentials.json")
    key, address = (
        "https://id.gs1.org/01/09521234543213/21/1",
        "https://127.0.0.1:8081/01/09521234543213/21/1",
    )
    assert demo.page(key) == address  # accounts are off
    demo.CREDENTIALS.write_text('{"users": {"merchant": {"name": "demo-merchant", "password": "secret"}}}')
    assert demo.page(key) == (
        f"sign in as demo-merchant (password in {demo.CREDENTIALS}) at https://127.0.0.1:8081/sign-in, then open {address}"
    )
