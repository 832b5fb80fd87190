"""docker-compose.yml: every container is waited for, runs with little, and keeps its data in named volumes."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.service_processes import SERVICES
from services.audit.settings import AuditSettings
from services.collector.settings import CollectorSettings
from services.query.settings import QuerySettings
from services.runtime.access.settings import AccessSettings, LoginSettings
from services.runtime.settings import KafkaSettings, LogSettings, MongoSettings, MonitoringSettings
from services.runtime.vault.settings import VaultSettings
from services.sealing.settings import KeySettings
from services.sealing.witness_settings import WitnessSettings
from tests.go_programs import COMPOSE
from tests.unit.test_every_setting import variable

ROOT = Path(__file__).resolve().parents[2]
UNSET = re.compile(r"\$\{([A-Z_]+):?-([^}]*)\}")
"""A variable with what it is where nobody has set it."""
HERE_ONLY = {"GOODSTRACE_QUERY_SHARE_PORTS"}
"""Of processes of one machine that share their ports: containers have ports of their own."""
READY = ROOT / "deploy" / "goodstrace-ready"
TLS = {
    *(f"GOODSTRACE_TLS_{name}" for name in ("CLIENT_CA_FILE", "METRICS")),
    *(
        str(field.validation_alias)
        for settings in (KafkaSettings, MongoSettings)
        for name, field in settings.model_fields.items()
        if name.startswith(("security_", "sasl_", "ssl_", "username", "password_", "mongo_"))
    ),
}
OURS = {service.name for service in SERVICES} | {"provision"}
ONCE = {"provision", "certificates", "witness-keys"}
WITNESSES = {f"witness-{number}" for number in range(3)}
WITNESSING = WITNESSES | {"witness-keys"}
WATCHING = {"prometheus", "node-exporter", "grafana"}
ALERTING = {"alertmanager"}
OPERATING = {"operator"}
TRACING = {"otel-collector", "jaeger"}
"""Of the profile: their images have no shell, so that nothing in them could say whether they are well."""
PROFILES = {"tracing": TRACING, "witnesses": WITNESSING, "alerting": ALERTING, "operator": OPERATING}
TRACES = {
    "GOODSTRACE_TRACE_PARENTS",
    *(
        f"OTEL_{name}"
        for name in (
            "EXPORTER_OTLP_ENDPOINT", "EXPORTER_OTLP_CERTIFICATE", "EXPORTER_OTLP_HEADERS", "TRACES_SAMPLER", "TRACES_SAMPLER_ARG",
            "RESOURCE_ATTRIBUTES",
        )
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def _compose_command() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            shown = subprocess.run([*command, "version"], capture_output=True, text=True, check=False)
            if shown.returncode == 0 and "version 1." not in shown.stdout:
                return command
    return None


@pytest.mark.parametrize("profiles", [(), *((name,) for name in PROFILES), tuple(PROFILES)])
def test_the_loader_of_compose_accepts_the_file(
    compose: dict[str, Any], profiles: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `docker compose config` does, by the library that it does it with."""
    if not COMPOSE.is_built:
        pytest.skip("the loader of Compose is not built: make install-go, python -m tests.go_programs")
    monkeypatch.setenv("GOODSTRACE_WITNESS_POLICY", "/policy/witnesses")
    wanted = {
        name
        for name, each in compose["services"].items()
        if "profiles" not in each or set(each["profiles"]) & set(profiles)
    }
    assert set(COMPOSE.run(str(ROOT / "docker-compose.yml"), *profiles).split()) == wanted


def test_no_container_takes_the_machine_from_the_others(compose: dict[str, Any]) -> None:
    """Memory, processes and what is kept of its output are bounded for each."""
    for name, service in compose["services"].items():
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name


def test_witnesses_follow_and_are_asked_at_names_that_their_certificate_has(compose: dict[str, Any]) -> None:
    command = compose["services"]["certificates"]["command"]
    assert set(command) >= WITNESSES
    made = compose["services"]["witness-keys"]["command"]
    assert "https://witness-NUMBER:8082" in made[made.index("--url") + 1]
    for name in WITNESSES:
        service = compose["services"][name]
        assert service["environment"]["GOODSTRACE_WITNESS_FOLDER"] == f"/witnesses/{name[-1]}"
        scraped = service["environment"]["GOODSTRACE_WITNESS_METRICS_PORT"]
        assert service["environment"]["READY_PORT"] == scraped
        assert f"port: {scraped}" in (ROOT / "deploy/prometheus/prometheus.yml").read_text()
    policy = Path(made[made.index("--policy") + 1]).parent
    for name in ("ledger", "audit", "query"):
        assert f"policy:{policy}:ro" in compose["services"][name]["volumes"]


def test_compose_itself_accepts_the_file_where_it_is_installed() -> None:
    command = _compose_command()
    if command is not None:
        file = str(ROOT / "docker-compose.yml")
        done = subprocess.run(
            [*command, "-f", file, "config", "-q"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr


def test_it_is_the_whole_system(compose: dict[str, Any]) -> None:
    always = OURS | ONCE | {"kafka", "mongodb", "renewal"} | WATCHING
    assert set(compose["services"]) == always.union(*PROFILES.values())
    profiles = {name: each["profiles"] for name, each in compose["services"].items() if "profiles" in each}
    assert profiles == {name: [profile] for profile, names in PROFILES.items() for name in names}


def test_every_service_has_a_healthcheck_or_is_waited_to_its_end(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name in ONCE | OPERATING:
            assert service["restart"] == "no"
        elif name not in TRACING:
            assert service["healthcheck"]["test"], name


def test_every_dependency_states_its_condition(compose: dict[str, Any]) -> None:
    for name in OURS:
        needs = {other: how["condition"] for other, how in compose["services"][name]["depends_on"].items()}
        stores = {"kafka": "service_healthy", "mongodb": "service_healthy"}
        provisioned = dict.fromkeys(ONCE, "service_completed_successfully")
        if name != "provision":
            assert not compose["services"][name]["depends_on"]["witness-keys"]["required"], name
        assert needs == (stores if name == "provision" else stores | provisioned), name


def test_our_containers_may_do_little(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        if name not in ("kafka", "mongodb"):
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name


def test_ports_are_published_on_this_machine_only(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_each_service_listens_for_metrics_where_it_is_asked(compose: dict[str, Any]) -> None:
    for service in SERVICES:
        container = compose["services"][service.name]
        assert container["command"] == [service.module]
        port = service.default_metrics_port
        assert (
            container["environment"]["READY_PORT"]
            == container["environment"][service.port_variable]
            == str(port)
        )
        assert f"127.0.0.1:{port}:{port}" in container["ports"]


def test_who_seals_is_told_how_keys_are_kept_and_who_witnesses(compose: dict[str, Any]) -> None:
    names = {f"GOODSTRACE_{name.upper()}" for name in KeySettings.model_fields}
    names |= {f"GOODSTRACE_WITNESS_{name.upper()}" for name in WitnessSettings.model_fields}
    for service in ("ledger", "audit"):
        environment = compose["services"][service]["environment"]
        handed_on = {name for name, value in environment.items() if value is None}
        assert handed_on == names | TLS | TRACES, service


def test_every_service_is_told_of_tls_and_the_probe_follows(compose: dict[str, Any]) -> None:
    for name in OURS:
        environment = compose["services"][name]["environment"]
        assert {each for each in TLS if each in environment and environment[each] is None} == TLS, name
    assert "GOODSTRACE_TLS_METRICS" in READY.read_text()


def test_every_service_is_told_where_spans_go(compose: dict[str, Any]) -> None:
    for name in OURS:
        environment = compose["services"][name]["environment"]
        assert {each for each in TRACES if each in environment and environment[each] is None} == TRACES, name


def test_each_service_is_reached_where_the_local_stack_has_it(compose: dict[str, Any]) -> None:
    for service in SERVICES:
        for _, port in service.serves:
            assert f"127.0.0.1:{port}:{port}" in compose["services"][service.name]["ports"]


def test_data_lie_in_named_volumes(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source, _, rest = UNSET.sub(r"\2", volume).partition(":")
            if source.startswith("."):  # configuration out of this repository
                assert (ROOT / source).is_dir(), source
                assert rest.endswith(":ro"), volume
            elif source == "/":
                assert rest.startswith("/host:ro"), volume
            else:
                assert source in compose["volumes"]


def _told(compose: dict[str, Any], service: str) -> dict[str, str]:
    """What a service is told where nobody has set anything: names that are handed on only where they are set are not among it."""
    environment = compose["services"][service]["environment"]
    return {name: UNSET.sub(r"\2", value) for name, value in environment.items() if value is not None}


def _readers(name: str) -> set[str]:
    """Say which containers read a setting, by how its name begins."""
    by_prefix = {
        "GOODSTRACE_COLLECTOR_": {"collector"},
        "GOODSTRACE_QUERY_": {"query"},
        "GOODSTRACE_AUDIT_": {"audit"},
        "GOODSTRACE_LEDGER_": {"ledger"},
        "GOODSTRACE_WATCH_": {"watch"},
        "GOODSTRACE_LOGIN_": {"query"},
        "GOODSTRACE_KEY_": {"ledger", "audit", "operator"},
        "GOODSTRACE_WITNESS_": {"ledger", "audit", "query", "operator"},
    }
    return next((names for prefix, names in by_prefix.items() if name.startswith(prefix)), OURS | OPERATING)


def test_what_runbooks_tell_to_set_is_handed_on(compose: dict[str, Any]) -> None:
    image = re.findall(r"^(?:ENV|   ) (GOODSTRACE_[A-Z_]+)=", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    named = {
        name
        for page in (ROOT / "docs/runbooks").glob("*.md")
        for name in re.findall(r"GOODSTRACE_[A-Z_]*[A-Z](?![A-Z_]|\.\.\.)", page.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    for name in named - HERE_ONLY - set(image):
        for service in _readers(name):
            assert name in compose["services"][service]["environment"], (service, name)
    assert named >= HERE_ONLY, "no runbook names these any more"
    for service in ("collector", "query", "audit"):
        for setting in ("NOTICE_S", "DRAIN_S"):
            assert f"GOODSTRACE_{service.upper()}_{setting}" in compose["services"][service]["environment"]


def test_what_is_not_set_is_as_the_services_have_it(compose: dict[str, Any]) -> None:
    """A default that stands here too is that of the class: empty in `.env` is as if it was not there."""
    defaults = {
        variable(each, name, field): field.default
        for each in (
            KafkaSettings, MongoSettings, LogSettings, MonitoringSettings, AccessSettings, LoginSettings, VaultSettings, CollectorSettings,
            QuerySettings, AuditSettings,
        )
        for name, field in each.model_fields.items()
    }  # fmt: skip
    compared = set()
    for service in OURS | OPERATING:
        for name, value in compose["services"][service]["environment"].items():
            if (found := UNSET.fullmatch(value or "")) and found[1] == name and name in defaults:
                assert found[2] == str(defaults[name]), (service, name)
                compared.add(name)
    assert compared >= {"GOODSTRACE_PARTITIONS", "GOODSTRACE_DATABASE", "GOODSTRACE_COLLECTOR_DRAIN_S"}


def test_containers_are_given_the_time_to_stop_that_pods_are(compose: dict[str, Any]) -> None:
    for service in SERVICES:
        [pods] = [
            each["spec"]["template"]["spec"]
            for each in yaml.safe_load_all(
                (ROOT / f"deploy/kubernetes/services/{service.name}.yaml").read_text()
            )
            if each["kind"] in ("Deployment", "StatefulSet")
        ]
        grace_s = pods["terminationGracePeriodSeconds"]
        assert compose["services"][service.name]["stop_grace_period"] == f"{grace_s}s", service.name
    assert f"give it {grace_s} s" in (ROOT / "docs/operations.md").read_text()


def test_an_operator_has_what_the_services_have(compose: dict[str, Any]) -> None:
    """Every key and secret where a service has it, to write where a command changes it; settings and addresses as theirs."""
    operator = compose["services"]["operator"]
    mounted = dict(each.removesuffix(":ro").split(":") for each in operator["volumes"])
    for name in OURS - {"watch"}:
        assert (
            dict(each.removesuffix(":ro").split(":") for each in compose["services"][name]["volumes"]).items()
            <= mounted.items()
        )
    written = {each.split(":")[0] for each in operator["volumes"] if not each.endswith(":ro")}
    assert written == {"keys", "login", "jwks", "vault", "backups"}
    told, query = _told(compose, "operator"), _told(compose, "query")
    assert told["GOODSTRACE_QUERY_WEB_SERVICES"] == query["GOODSTRACE_QUERY_WEB_SERVICES"]
    for name in ("ledger", "audit"):
        ours = compose["services"][name]["environment"]
        lacking = set(ours) - set(operator["environment"])
        assert not {each for each in lacking if not each.startswith(f"GOODSTRACE_{name.upper()}_")} - {
            "READY_PORT"
        }
    assert not operator["depends_on"], "the doctor is asked when Kafka is down"
    folders = next(
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if "install -d" in line
    ).split()
    assert set(mounted.values()) <= set(folders)


def test_certificates_are_renewed_for_the_names_that_they_were_made_for(compose: dict[str, Any]) -> None:
    renewal = compose["services"]["renewal"]
    assert renewal["command"] == compose["services"]["certificates"]["command"]
    assert "$$@" in renewal["entrypoint"][2], "as they are: Compose takes one $ for a variable of its own"
    assert "docker compose run --rm certificates" in (ROOT / "docs/runbooks/access.md").read_text()


def test_alerts_go_where_a_file_says_and_nowhere_without(compose: dict[str, Any]) -> None:
    manager = compose["services"]["alertmanager"]
    [asked] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["alerting"][
        "alertmanagers"
    ]
    [names] = asked["dns_sd_configs"]
    assert (names["names"], names["port"]) == (["alertmanager"], 9093)
    assert "127.0.0.1:9093:9093" in manager["ports"]
    assert "${GOODSTRACE_ALERTMANAGER_DIR:-./deploy/alertmanager}:/etc/alertmanager:ro" in manager["volumes"]
    routing = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text())
    assert routing["receivers"] == [{"name": "nobody"}], "it sends nowhere, and says so"
    routes = [routing["route"], *routing["route"]["routes"]]
    assert {each["receiver"] for each in routes} == {"nobody"}
    assert {each["matchers"][0] for each in routes[1:]} == {'severity="page"', 'severity="ticket"'}


def test_kafka_is_asked_by_a_small_process(compose: dict[str, Any]) -> None:
    """What asks whether the broker is well is a Java program in the same memory: with the broker's heap it could be what ends it."""
    kafka = compose["services"]["kafka"]
    [how, command] = kafka["healthcheck"]["test"]
    assert how == "CMD-SHELL"
    assert command.startswith("KAFKA_HEAP_OPTS=-Xmx64m ")
    assert (kafka["healthcheck"]["interval"], kafka["healthcheck"]["start_interval"]) == ("30s", "5s")


def test_kafka_keeps_everything_and_makes_no_topic_by_itself(compose: dict[str, Any]) -> None:
    """The container and the local broker are set alike in what the system relies on."""
    container = compose["services"]["kafka"]["environment"]
    local = dict(
        line.split("=", 1)
        for line in (ROOT / "deploy" / "kafka" / "server.properties").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    for setting in (
        "auto.create.topics.enable",
        "log.retention.ms",
        "log.retention.bytes",
        "message.max.bytes",
        "offsets.topic.replication.factor",
        "transaction.state.log.replication.factor",
        "transaction.state.log.min.isr",
    ):
        assert container["KAFKA_" + setting.upper().replace(".", "_")] == local[setting], setting


def test_the_image_has_no_root_and_says_when_it_is_ready() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    final = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM")) :]
    assert "USER 10001" in final
    assert any(line.startswith("HEALTHCHECK") for line in final)
    assert f"COPY --chmod=755 {READY.relative_to(ROOT)} /usr/local/bin/" in final
    assert "/readyz" in READY.read_text()


def test_hadolint_has_nothing_to_say_of_the_dockerfile(tell: Callable[[str], None]) -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout
    tell("hadolint: the Dockerfile passes every rule; it was not built, since there is no engine here")
