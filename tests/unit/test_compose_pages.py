"""docker-compose.yml: after a plain start the pages can ask everybody whom they need, by TLS, and lead to where browsers reach."""

import re
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from click.testing import CliRunner

from deploy.service_processes import SERVICES
from goodstrace.cli.main import cli
from goodstrace.connections import target_of
from services.query.settings import QuerySettings
from services.query.web.setting_up import web_settings
from services.query.web.settings import WebSettings
from services.runtime.tls import TlsSettings, read_material
from tests.fake_witness import FakeWitness

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CERTIFICATES = COMPOSE["services"]["certificates"]
TELLS_CREDENTIALS = {"GOODSTRACE_QUERY_WEB_AUDIT", "GOODSTRACE_QUERY_WEB_COLLECTOR"}
_DEFAULT = re.compile(r"\$\{([A-Z0-9_]+)(:?)-([^{}]*)\}")


def environment_of(service: str, **host: str) -> dict[str, str]:
    """Give what a container is told where compose is started with `host`: the part of compose's interpolation that the file uses."""

    def value(found: re.Match[str]) -> str:
        name, or_empty, default = found.groups()
        return default if name not in host or (or_empty and not host[name]) else host[name]

    told = {}
    for name, text in COMPOSE["services"][service]["environment"].items():
        if text is not None:
            told[name] = _DEFAULT.sub(value, text)
            assert "${" not in told[name], name
        elif name in host:
            told[name] = host[name]
    return told


def told(monkeypatch: pytest.MonkeyPatch, service: str = "query", **host: str) -> None:
    for name, value in environment_of(service, **host).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the service `certificates` makes, by its own command."""
    folder = tmp_path_factory.mktemp("made") / "certificates"
    assert CERTIFICATES["entrypoint"] == ["goodstrace"]
    command = [str(folder) if each == "/certificates" else each for each in CERTIFICATES["command"]]
    for _ in range(2):  # as at each start
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
    return folder


def handshake(material: ssl.SSLContext, ca: Path, host: str) -> None:
    """Let a client that believes `ca` connect to `host`, without a network. Raises: ssl.SSLError where it refuses."""
    ways = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cafile=ca).wrap_bio(*ways, server_hostname=host)
    server = material.wrap_bio(ways[1], ways[0], server_side=True)
    waiting = [client, server]
    for _ in range(20):
        for each in tuple(waiting):
            try:
                each.do_handshake()
                waiting.remove(each)
            except ssl.SSLWantReadError:
                pass
    assert not waiting


def test_pages_ask_by_tls_whom_they_need_and_certificates_are_for_these_names(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    told(monkeypatch, GOODSTRACE_CA_FILE=str(folder / "ca.pem"))
    web = web_settings()  # ends the test where it would end the service
    material = read_material(TlsSettings(cert_file=folder / "server.pem", key_file=folder / "server.key"))
    served = {each.name: {port for _, port in each.serves} for each in SERVICES}
    for text, service in ((web.audit, "audit"), (web.collector, "collector")):
        target = target_of(text)
        assert target.secure, text
        assert target.host == service
        assert int(target.address.rpartition(":")[2]) in served[service]
    for host in (*(each.name for each in SERVICES), "localhost", "127.0.0.1"):
        handshake(material.context, folder / "ca.pem", host)
    with pytest.raises(ssl.SSLError):
        handshake(material.context, folder / "ca.pem", "mongodb")


def test_who_is_asked_shows_that_certificate_and_who_asks_believes_its_ca() -> None:
    assert CERTIFICATES["command"][-1] == "/certificates"
    assert CERTIFICATES["volumes"] == ["certificates:/certificates"]
    assert CERTIFICATES["depends_on"] == {}
    for service in (each.name for each in SERVICES):
        environment = environment_of(service)
        assert environment["GOODSTRACE_TLS_CERT_FILE"] == "/certificates/server.pem"
        assert environment["GOODSTRACE_TLS_KEY_FILE"] == "/certificates/server.key"
        assert environment["GOODSTRACE_CA_FILE"] == "/certificates/ca.pem"
        assert "certificates:/certificates:ro" in COMPOSE["services"][service]["volumes"]
        for name in ("GOODSTRACE_CAPTURE_URL", "GOODSTRACE_QUERY_TARGET", "GOODSTRACE_AUDIT_TARGET"):
            assert target_of(environment[name]).secure  # the commands inside
    assert " /certificates" in (ROOT / "Dockerfile").read_text()  # so that the volume is the service's user's


def test_tls_may_be_off_and_then_nothing_is_asked_with_a_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"GOODSTRACE_{name}": "" for name in ("TLS_CERT_FILE", "TLS_KEY_FILE", "CA_FILE")}
    told(monkeypatch, **files, **dict.fromkeys(TELLS_CREDENTIALS, ""))
    assert TlsSettings().cert_file is None
    web = web_settings()
    assert (web.audit, web.collector) == ("", "")
    for name in TELLS_CREDENTIALS:
        told(monkeypatch, **files, **{name: "http://audit:50052"})
        with pytest.raises(SystemExit):  # at the start, and not on a page
            web_settings()


def test_browsers_are_led_to_where_the_ports_are_published(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, GOODSTRACE_CA_FILE="")
    web = web_settings()
    for (_, link, _), service in zip(web.dashboards(), ("grafana", "prometheus"), strict=True):
        parts = urlsplit(link)
        published = f"{parts.hostname}:{parts.port}:"
        assert any(port.startswith(published) for port in COMPOSE["services"][service]["ports"]), link
    assert urlsplit(web.prometheus).hostname == "prometheus"
    ports = {each.name: f"http://{each.name}:{each.default_metrics_port}" for each in SERVICES}
    assert dict(web.ready_urls()) == ports


def test_every_setting_of_the_pages_is_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = {f"GOODSTRACE_QUERY_WEB_{name.upper()}" for name in WebSettings.model_fields}
    assert names | {"GOODSTRACE_QUERY_PUBLIC_URL"} <= set(COMPOSE["services"]["query"]["environment"])
    policy = tmp_path / "policy"
    policy.write_text(f"{FakeWitness('one').line('http://w.example')}quorum one\n")
    told(
        monkeypatch,
        GOODSTRACE_CA_FILE="",
        GOODSTRACE_WITNESS_POLICY=str(policy),
        GOODSTRACE_QUERY_PUBLIC_URL="https://trace.example",
        GOODSTRACE_QUERY_WEB_PUBLIC_TRACE="true",
    )
    web = web_settings()
    assert web.public_trace
    assert len(web.witnesses()) == 1  # those by whom the ledger publishes
    assert QuerySettings().public_url == "https://trace.example"


def test_completeness_is_for_who_is_signed_in_as_long_as_the_port_is_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told(monkeypatch, GOODSTRACE_CA_FILE="")
    assert web_settings().complete == "signed-in"
    assert "127.0.0.1:8081:8081" in COMPOSE["services"]["query"]["ports"]
    told(monkeypatch, GOODSTRACE_CA_FILE="", GOODSTRACE_QUERY_WEB_COMPLETE="off")
    assert web_settings().complete == "off"
