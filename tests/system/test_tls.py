"""The whole system on TLS: every port that clients use, Kafka by SASL_SSL, the document store by TLS and password."""

import datetime as dt
import json
import os
import re
import signal
import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from goodstrace.capture import CaptureClient
from goodstrace.client import Client
from goodstrace.connections import Tls, ssl_context
from goodstrace.dev_certificates import LOCAL_NAMES, Pair, make_server
from goodstrace.errors import CallError
from goodstrace.log_keys import LogKeys
from tests.certificates import Files, World
from tests.deadlines import DEADLINE_S
from tests.system.harness import eventually
from tests.system.local_stack import Local
from tests.system.test_web_pages import Browser

TO_CHECK = 'class="seal" data-place="goods/'
"""What a page has for each event that the browser checks."""


def test_the_demo_runs_on_tls_from_capture_to_the_verified_trace(local: Local) -> None:
    said = local.module("deploy.demo")
    assert "recorded" in said
    told = re.search(r"sign in as (\S+) \(password in (\S+)\) at (\S+)/sign-in, then open (\S+)", said)
    assert told is not None, said
    name, credentials, url, address = told.groups()
    password = json.loads(Path(credentials).read_text())["users"]["merchant"]["password"]
    browser = Browser(url, ssl_context(Tls(local.run_dir / "tls" / "ca.pem")))
    try:
        assert TO_CHECK not in browser.get(address)
        browser.sign_in(name, password)
        assert TO_CHECK in browser.get(address)
    finally:
        browser.close()


def test_the_command_line_finds_the_local_ca_for_this_machine(local: Local, tmp_path: Path) -> None:
    keys = ("--log-keys", str(local.run_dir / "keys"), "--memory", str(tmp_path / "memory.json"))
    port = local.port("QUERY_GRPC_PORT")
    item = json.loads((local.run_dir / "demo" / "index.json").read_text())["item"]
    found = local.cli("trace", item, *keys, "--json", "--query", f"https://127.0.0.1:{port}")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["events"]
    # Clear text is asked for by nobody, and is not fallen back to.
    plain = local.cli("trace", item, *keys, "--query", f"http://127.0.0.1:{port}")
    assert (plain.returncode, plain.stdout) == (1, "")
    listed = local.cli(
        "merchants",
        "list",
        "--json",
        "--url",
        f"https://localhost:{local.port('COLLECTOR_PORT')}",
        "--operator-token-file",
        str(local.run_dir / "keys" / "operator-token"),
    )
    assert listed.returncode == 0, listed.stderr


def test_who_trusts_another_ca_sends_nothing(local: Local, tmp_path: Path) -> None:
    theirs = World(tmp_path / "theirs")
    tls, keys = Tls(theirs.ca), LogKeys.load(local.run_dir / "keys")
    target = f"https://127.0.0.1:{local.port('QUERY_GRPC_PORT')}"
    with Client(target, keys, tls=tls, token="gst_secret") as client, pytest.raises(CallError):
        client.checkpoints()
    with (
        CaptureClient(f"https://127.0.0.1:{local.port('COLLECTOR_PORT')}", token="x", tls=tls) as capture,
        pytest.raises(CallError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        capture.send(b"{}")


def test_the_mtls_port_answers_who_shows_a_certificate_of_an_account(local: Local) -> None:
    ca, server = local.run_dir / "tls" / "ca.pem", local.run_dir / "tls" / "server"
    keys = LogKeys.load(local.run_dir / "keys")
    target = f"https://127.0.0.1:{local.port('QUERY_MTLS_PORT')}"
    shown = Tls(ca, server.with_suffix(".pem"), server.with_suffix(".key"))
    with Client(target, keys, tls=shown) as client, pytest.raises(CallError) as nobody:
        client.checkpoints()
    assert nobody.value.code == "UNAUTHENTICATED"
    query = f"https://127.0.0.1:{local.port('QUERY_GRPC_PORT')}"
    made = local.cli(
        *("accounts", "add", "backend", "--service", "--role", "platform", "--certificate", "localhost"),
        *("--query", query, "--operator-token-file", str(local.run_dir / "keys" / "operator-token")),
    )
    assert made.returncode == 0, made.stderr

    def known() -> bool:
        with Client(target, keys, tls=shown) as client, suppress(CallError):
            return bool(client.checkpoints())
        return False

    eventually(known, what="the certificate is the account's")
    with Client(target, keys, tls=Tls(ca)) as client, pytest.raises(CallError):
        client.checkpoints()


def test_plain_http_on_this_machine_is_served_as_before(local: Local) -> None:
    trusted = ssl_context(Tls(local.run_dir / "tls" / "ca.pem"))
    for name, path in (("COLLECTOR_PORT", "/openapi.json"), ("QUERY_HTTP_PORT", "/logs")):
        plain = httpx.get(f"http://127.0.0.1:{local.port(name)}{path}", timeout=DEADLINE_S)
        assert plain.status_code == 200
        with httpx.Client(verify=trusted) as client:
            assert (
                client.get(f"https://127.0.0.1:{local.port(name)}{path}", timeout=DEADLINE_S).status_code
                == 200
            )


def shows_certificate(port: int, wanted: Pair) -> bool:
    """Connect anew, and compare what is shown."""
    return ssl.get_server_certificate(("127.0.0.1", port)).split() == wanted.certificate.decode().split()


@pytest.mark.parametrize("told", [False, True])
def test_a_renewed_certificate_is_shown_without_a_restart(local: Local, told: bool) -> None:
    folder = local.run_dir / "tls"
    ca = Pair((folder / "ca.pem").read_bytes(), (folder / "ca.key").read_bytes())
    new = make_server(ca, dt.datetime.now(dt.UTC), LOCAL_NAMES)
    Files(folder / "server.pem", folder / "server.key").put(new)
    pids = {
        name: json.loads((local.run_dir / "pids" / f"{name}.json").read_text())["pid"]
        for name in ("collector", "query", "audit")
    }
    for pid in pids.values() if told else ():
        os.kill(pid, signal.SIGHUP)
    for name in (
        "COLLECTOR_PORT",
        "COLLECTOR_GRPC_PORT",
        "QUERY_GRPC_PORT",
        "QUERY_HTTP_PORT",
        "AUDIT_GRPC_PORT",
    ):
        shows = partial(shows_certificate, int(local.port(name)), new)
        eventually(shows, what=f"{name} shows the new certificate")
    for name, pid in pids.items():
        assert json.loads((local.run_dir / "pids" / f"{name}.json").read_text())["pid"] == pid
        assert Path(f"/proc/{pid}").exists(), f"{name} has ended"
    text = httpx.get(f"http://127.0.0.1:{local.port('QUERY_METRICS_PORT')}/metrics", timeout=DEADLINE_S).text
    (line,) = (line for line in text.splitlines() if line.startswith("goodstrace_tls_certificate_expires_"))
    assert float(line.split()[1]) == new.expires.timestamp()


def test_no_password_is_in_any_log(local: Local) -> None:
    password = Path(local.environment["KAFKA_SASL_PASSWORD_FILE"]).read_text()
    logs = list((local.run_dir / "logs").glob("*.log"))
    assert logs
    assert not [path for path in logs if password in path.read_text(errors="replace")]
