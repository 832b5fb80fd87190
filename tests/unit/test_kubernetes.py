"""deploy/kubernetes: what the tables make, held against schemas, the settings of the services, and each other."""

import importlib
import json
import os
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

import services
from deploy.service_processes import SERVICES
from services.runtime.settings import KafkaSettings, load
from services.runtime.topics import declared
from tests.go_programs import KUSTOMIZE
from tests.kubernetes_schemas import FIELDS, Object, Schemas
from tests.unit.test_runbook_commands import fault
from tools.capacity.model import plan
from tools.kubernetes.__main__ import DEPLOY, made
from tools.kubernetes.acls import RIGHTS
from tools.kubernetes.kafka import BROKERS
from tools.kubernetes.processes import EVERYTHING, OPERATOR, PROCESSES, PROVISION, Process
from tools.kubernetes.scaling import BY_PROCESSOR, LAGS
from tools.made_files import ROOT, stale

KUBERNETES = DEPLOY / "kubernetes"
NOT_SETTINGS = {"GOODSTRACE_HOST", "POD_NAME"}
"""Of the image, in the Dockerfile's ENV; and of an argument."""


FILES = made()


@cache
def objects() -> list[Object]:
    """All objects that are created, of all folders and components; no patches."""
    found: list[Object] = []
    for path, text in FILES.items():
        if path.is_relative_to(KUBERNETES) and path.name != "kustomization.yaml":
            told: dict[str, Any] = yaml.safe_load(FILES[path.parent / "kustomization.yaml"])
            if path.name not in {each["path"] for each in told.get("patches", ())}:
                found += yaml.safe_load_all(text)
    return found


def of_kind(*kinds: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in objects() if each["kind"] in kinds}


def templates() -> dict[str, Object]:
    """By process; those of operators' commands by command."""
    found = {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]["template"]
        for each in of_kind("Deployment", "StatefulSet", "Job").values()
    }
    runs = {
        name: each["spec"]["jobTemplate"]["spec"]["template"] for name, each in of_kind("CronJob").items()
    }
    return {**found, **runs}


def pods() -> dict[str, Object]:
    return {name: each["spec"] for name, each in templates().items()}


def pod_of(process: Process) -> Object:
    """A pod of a process; of the operator that which writes most."""
    return pods()["backup" if process is OPERATOR else process.name]


def test_the_committed_files_are_what_the_code_makes() -> None:
    assert not stale(made), "run `python -m tools.kubernetes`"
    kept = {path.relative_to(ROOT) for path in (ROOT / KUBERNETES).rglob("*.yaml")}
    assert kept <= set(FILES), "files that nothing makes"


def test_every_object_is_as_its_schema_has_it(tell: Callable[[str], None]) -> None:
    schemas, kinds = Schemas(), Counter[str]()
    for each in objects():
        schemas.check(each)
        kinds[each["kind"]] += 1
    theirs = kinds.keys() & FIELDS.keys()
    by_crd = (
        f"{len(schemas.crds)} of them by their CRDs"
        if schemas.crds
        else "by the fields that we use: GOODSTRACE_CRDS is not set"
    )
    tell(
        f"Kubernetes: {kinds.total()} objects of {len(kinds)} kinds checked, strictly: {len(kinds) - len(theirs)} kinds by the schemas of 1.37, "
        f"{len(theirs)} of operators {by_crd}; no cluster has seen them"
    )


def test_a_misspelt_field_of_any_object_is_refused() -> None:
    schemas = Schemas()
    for each in {one["kind"]: one for one in objects()}.values():
        part = "spec" if "spec" in each else "metadata"
        wrong = {**each, part: {**each[part], "replicsa": 1}}
        with pytest.raises(Exception, match="replicsa"):
            schemas.check(wrong)


OF_SETTINGS = {"settings", "front", "outgoing", "provision", "tls", "witness_settings"}


def _settings() -> list[type[BaseSettings]]:
    """All classes of settings that a process loads, in whichever order the tests came: others are made by hand from these."""
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if module.name.rpartition(".")[2] in OF_SETTINGS:
            importlib.import_module(module.name)
    found, waiting = [], [BaseSettings]
    while waiting:
        below = waiting.pop().__subclasses__()
        found += [each for each in below if each.__module__.rpartition(".")[2] in OF_SETTINGS]
        waiting += below
    return [each for each in found if each.__module__.startswith("services.")]


def _names(settings: type[BaseSettings]) -> Iterator[str]:
    prefix = str(settings.model_config.get("env_prefix", ""))
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias or prefix + name.upper()]
        yield from map(str, choices)


def environment(process: Process) -> dict[str, str]:
    """What a process is told: the settings of all, and its own."""
    pod = pod_of(process)
    told = dict(of_kind("ConfigMap")["goodstrace-settings"]["data"])
    (container,) = pod["containers"]
    for each in container["env"]:
        told[each["name"]] = each.get("value", f"{process.name}-0")
    return told


def test_every_variable_is_a_setting_and_has_a_value_that_is_taken(
    monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None]
) -> None:
    known = {name: settings for settings in _settings() for name in _names(settings)}
    checked = 0
    for process in EVERYTHING:
        told = environment(process)
        assert told.keys() <= known.keys() | NOT_SETTINGS, (process.name, told.keys() - known.keys())
        with monkeypatch.context() as patched:
            for name, value in told.items():
                patched.setenv(name, value)
            for settings in {known[name] for name in told if name in known}:
                load(settings)  # exits where a name or a value is wrong
        checked += len(told)
    tell(
        f"Kubernetes: {checked} variables of {len(EVERYTHING)} processes are settings, with values that are taken"
    )


def test_a_misspelt_setting_ends_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is worth the while to look for one here."""
    names = {name for settings in _settings() for name in _names(settings)}
    assert "GOODSTRACE_QUERY_NOTICES_S" not in names
    assert {"GOODSTRACE_QUERY_NOTICE_S", "KAFKA_BOOTSTRAP_SERVERS", "MONGODB_URI"} <= names
    monkeypatch.setenv("GOODSTRACE_PARTITIONS", "many")
    with pytest.raises(SystemExit):
        load(KafkaSettings)


def test_topics_are_those_that_provision_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(PROVISION).items():
        monkeypatch.setenv(name, value)
    settings = load(KafkaSettings)
    wanted = declared(
        settings.topic_prefix, settings.partitions, settings.browse_partitions, settings.replication
    )
    found = of_kind("KafkaTopic")
    assert {each["spec"]["topicName"] for each in found.values()} == {topic.name for topic in wanted}
    for topic in wanted:
        assert found[topic.name]["spec"] == {
            "topicName": topic.name,
            "partitions": topic.partitions,
            "replicas": BROKERS,
            "config": topic.config(),
        }
        assert topic.config()["min.insync.replicas"] == str(BROKERS - 1)


def test_it_runs_what_compose_runs() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    modules = {process.module for process in EVERYTHING if process is not OPERATOR}
    assert modules == {service.module for service in SERVICES} | {"services.runtime.provision"}
    assert modules == {
        each["command"][0]
        for each in compose.values()
        if str((each.get("command") or [""])[0]).startswith("services.")
    }
    ports = {service.name: service.default_metrics_port for service in SERVICES}
    for process in PROCESSES:
        assert process.metrics_port == ports[process.job]
        served = {port for service in SERVICES if service.name == process.name for _, port in service.serves}
        assert {port for _, port in process.ports} == served, process.name


def test_the_parts_of_the_collector_are_the_whole_of_it() -> None:
    collectors = [process for process in PROCESSES if process.job == "collector"]
    for part in ("API", "INGRESS", "PROJECTOR", "STATES"):
        on = [each.name for each in collectors if environment(each)[f"GOODSTRACE_COLLECTOR_{part}"] == "true"]
        assert len(on) == 1, part
    with_stages = [
        each.name for each in collectors if "GOODSTRACE_COLLECTOR_FIRST_STAGE" not in environment(each)
    ]
    assert with_stages == ["stages"]


def test_pods_may_do_little() -> None:
    for name, pod in pods().items():
        assert pod["enableServiceLinks"] is False, (
            name
        )  # else GOODSTRACE_QUERY_PORT=tcp://... would end the query service
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        writable = {each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")}
        assert writable == {
            "/tmp",
            *{"watch": ["/watch"], "backup": ["/backup"], "vault-backup": ["/backup"]}.get(name, []),
        }
    assert f"--uid {pods()['query']['securityContext']['runAsUser']}" in (ROOT / "Dockerfile").read_text()


def test_probes_ask_the_port_of_metrics() -> None:
    for process in PROCESSES:
        (container,) = pods()[process.name]["containers"]
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert ports["metrics"] == process.metrics_port
        asked = {
            name: container[f"{name}Probe"]["httpGet"]["path"]
            for name in ("startup", "liveness", "readiness")
        }
        assert asked == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
        stop_s = pods()[process.name]["terminationGracePeriodSeconds"]
        assert stop_s >= process.notice_s + 5 + 10 + 10, (
            "too short for notice, drain and the last transaction"
        )


def test_secrets_are_named_and_never_here() -> None:
    assert not of_kind("Secret")
    for each in objects():
        text = json.dumps(each)
        assert "BEGIN" not in text
        assert "stringData" not in text
    for name, pod in pods().items():
        (container,) = pod["containers"]
        for each in container["env"]:
            secret = any(word in each["name"] for word in ("PASSWORD", "PASSPHRASE", "TOKEN", "SECRET"))
            assert not secret or each["name"].endswith("_FILE"), (name, each["name"])
        assert all(each["secret"]["defaultMode"] == 0o440 for each in pod["volumes"] if "secret" in each)


def test_each_process_has_users_of_its_own() -> None:
    users = of_kind("KafkaUser")
    mongodb = of_kind("PerconaServerMongoDB")["goodstrace-mongodb"]["spec"]
    roles = {each["role"] for each in mongodb["roles"]}
    for process in EVERYTHING:
        told = environment(process)
        name = f"goodstrace-{process.name}"
        assert told["KAFKA_SASL_USERNAME"] == told["MONGODB_USERNAME"] == name
        assert name in users
        (user,) = (each for each in mongodb["users"] if each["name"] == name)
        mine = [each["name"] for each in user["roles"]]
        assert mine[0] == name
        assert mine[1:] in ([], [f"{name}-vault"])
        assert set(mine) <= roles
        secrets = {each["secret"]["secretName"] for each in pod_of(process)["volumes"] if "secret" in each}
        assert {name, user["passwordSecretRef"]["name"]} <= secrets
    assert set(users) == {f"goodstrace-{rights.user}" for rights in RIGHTS}
    assert {each.user for each in RIGHTS} == {process.name for process in EVERYTHING} | {"scaler"}


def test_every_pod_is_in_a_budget_a_policy_and_a_monitor_of_its_own() -> None:
    for kind, named in (
        ("PodDisruptionBudget", PROCESSES),
        ("PodMonitor", PROCESSES),
        ("NetworkPolicy", EVERYTHING),
    ):
        found = of_kind(kind)
        for process in named:
            spec = found[process.name]["spec"]
            chosen = spec.get("podSelector", spec.get("selector"))["matchLabels"]
            mine = [each["metadata"]["labels"] for each in templates().values()]
            assert any(
                chosen.items() <= each.items() and each["goodstrace.io/job"] == process.job for each in mine
            )


def test_all_is_denied_and_every_arrow_has_two_ends() -> None:
    policies = of_kind("NetworkPolicy")
    assert policies["nothing-else"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    arrows: dict[str, set[tuple[str, str, str]]] = {"from": set(), "to": set()}
    for process in EVERYTHING:
        spec = policies[process.name]["spec"]
        for rules, end in ((spec.get("ingress", ()), "from"), (spec["egress"], "to")):
            for rule in rules:
                for peer in rule[end]:
                    other = (
                        peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component")
                    )
                    for port in rule["ports"] if other else ():
                        pair = (other, process.name) if end == "from" else (process.name, other)
                        arrows[end].add((*pair, str(port["port"])))
    assert arrows["from"] == arrows["to"]
    assert ("query", "audit", "grpc") in arrows["to"]
    assert ("operator", "ledger", "metrics") in arrows["to"]


def test_what_is_called_is_there_twice_and_goes_one_after_the_other() -> None:
    """Else a rolling restart, or a machine that goes, loses calls."""
    called = [process for process in PROCESSES if process.ports]
    assert {"collector", "query", "audit"} <= {process.name for process in called}
    for process in called:
        workload = of_kind("Deployment", "StatefulSet")[process.name]["spec"]
        assert workload["replicas"] >= 2, process.name
        assert of_kind("PodDisruptionBudget")[process.name]["spec"]["maxUnavailable"] == 1
        assert process.notice_s > 0
        assert plan(1, 1).pods[process.name] >= 2
        scaler = of_kind("HorizontalPodAutoscaler").get(process.name)
        assert scaler is None or scaler["spec"]["minReplicas"] >= 2


def test_operators_commands_are_commands_and_hold_no_key() -> None:
    for name, each in of_kind("CronJob").items():
        assert each["spec"]["suspend"] == (name == "doctor")
        (container,) = pods()[name]["containers"]
        assert container["command"] == ["goodstrace"]
        said = [argument.replace("$(POD_NAME)", "copy") for argument in container["args"]]
        assert fault(said) == "", said
        mounted = {one.get("secret", {}).get("secretName", "") for one in pods()[name]["volumes"]}
        assert not [one for one in mounted if "keys" in one or "token" in one or "login" in one], mounted
        claims = {
            one["persistentVolumeClaim"]["claimName"]
            for one in pods()[name]["volumes"]
            if "persistentVolumeClaim" in one
        }
        assert claims <= of_kind("PersistentVolumeClaim").keys()
        assert bool(claims) == ("backup" in name)


def test_the_doctor_is_told_of_every_service() -> None:
    (container,) = pods()["doctor"]["containers"]
    told = {each.partition("=")[2] for each in container["args"] if each.startswith("--service=")}
    assert told == {f"{process.name}=http://{process.name}:{process.metrics_port}" for process in PROCESSES}


def test_only_what_keeps_nothing_is_scaled_and_never_over_its_partitions() -> None:
    scaled = {*LAGS, *BY_PROCESSOR}
    assert scaled == {process.name for process in PROCESSES} - {"ledger", "audit"}
    settings = of_kind("ConfigMap")["goodstrace-settings"]["data"]
    for name, each in of_kind("ScaledObject").items():
        (process,) = (one for one in PROCESSES if one.name == name)
        assert each["spec"]["maxReplicaCount"] == int(settings[process.limit])
        for trigger in each["spec"]["triggers"]:
            assert trigger["metadata"]["allowIdleConsumers"] == "false"
    watched = {
        (trigger["metadata"]["consumerGroup"], trigger["metadata"]["topic"])
        for each in of_kind("ScaledObject").values()
        for trigger in each["spec"]["triggers"]
    }
    (scaler,) = (rights for rights in RIGHTS if rights.user == "scaler")
    assert {group for group, _ in watched} == set(scaler.watched_groups)
    assert {topic for _, topic in watched} <= set(scaler.describes)


def test_rules_and_dashboards_are_those_of_this_repository() -> None:
    (rules,) = of_kind("PrometheusRule").values()
    theirs = [
        group
        for path in sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    assert rules["spec"]["groups"] == theirs
    told = yaml.safe_load(FILES[DEPLOY / "grafana/kustomization.yaml"])["configMapGenerator"]
    files = {file for each in told for file in each["files"]}
    assert files == {
        f"dashboards/{path.name}" for path in (ROOT / "deploy/grafana/dashboards").glob("*.json")
    }
    assert max((ROOT / "deploy/grafana" / file).stat().st_size for file in files) < 2**20, (
        "too large for a ConfigMap"
    )


def test_every_file_is_named_by_a_kustomization() -> None:
    for path in FILES:
        if path.is_relative_to(KUBERNETES) and path.name != "kustomization.yaml":
            told: dict[str, Any] = yaml.safe_load(FILES[path.parent / "kustomization.yaml"])
            named = [*told.get("resources", ()), *(each["path"] for each in told.get("patches", ()))]
            assert path.name in named, path


@pytest.mark.skipif(
    not KUSTOMIZE.is_built, reason="Kustomize is not built: make install-go, python -m tests.go_programs"
)
@pytest.mark.parametrize(("folder", "goods", "browse"), [("full", 12, 4), ("example", 32, 8)])
def test_kustomize_renders_it_and_partitions_follow_the_settings(
    folder: str, goods: int, browse: int, tell: Callable[[str], None]
) -> None:
    rendered = list(yaml.safe_load_all(KUSTOMIZE.run(str(ROOT / KUBERNETES / folder))))
    schemas = Schemas()
    for each in rendered:
        schemas.check(each)
    topics = {
        each["metadata"]["name"]: each["spec"]["partitions"]
        for each in rendered
        if each["kind"] == "KafkaTopic"
    }
    assert topics == {topic.name: topic.partitions for topic in declared("", goods, browse, BROKERS)}
    limits = {
        each["metadata"]["name"]: each["spec"]["maxReplicaCount"]
        for each in rendered
        if each["kind"] == "ScaledObject"
    }
    assert limits == {"stages": goods, "keeper": goods, "watch": browse}
    boards = [each for each in rendered if each["metadata"]["name"].startswith("goodstrace-dashboard-")]
    assert all(json.loads(text) for each in boards for text in each["data"].values())
    assert _databases(rendered) == {(False, "goodstrace"), (True, "goodstrace_vault")}
    if folder == "example":
        _assert_components(rendered)
    sharding = [
        each["spec"]["sharding"]["enabled"] for each in rendered if each["kind"] == "PerconaServerMongoDB"
    ]
    assert sharding == [folder == "example"]
    tell(f"Kustomize rendered deploy/kubernetes/{folder}: {len(rendered)} objects, {len(boards)} dashboards")


def _databases(rendered: list[Object]) -> set[tuple[bool, str]]:
    """Whether a role is of the vault, and the database that it names."""
    return {
        (each["role"].endswith("-vault"), privilege["resource"]["db"])
        for cluster in rendered
        if cluster["kind"] == "PerconaServerMongoDB"
        for each in cluster["spec"]["roles"]
        for privilege in each["privileges"]
    }


def _assert_components(rendered: list[Object]) -> None:
    """What components patch has arrived in pods and settings."""
    found = {(each["kind"], each["metadata"]["name"]): each for each in rendered}
    pods = {
        "ledger": found["StatefulSet", "ledger"]["spec"]["template"]["spec"],
        "audit": found["StatefulSet", "audit"]["spec"]["template"]["spec"],
        "query": found["Deployment", "query"]["spec"]["template"]["spec"],
        "fsck": found["CronJob", "fsck"]["spec"]["jobTemplate"]["spec"]["template"]["spec"],
        "collector": found["StatefulSet", "collector"]["spec"]["template"]["spec"],
    }
    for name, pod in pods.items():
        (container,) = pod["containers"]
        told = {each["name"]: each.get("value") for each in container["env"]}
        mounted = {each["mountPath"] for each in container["volumeMounts"]}
        assert told.get("GOODSTRACE_WITNESS_POLICY") == (None if name == "collector" else "/policy/policy")
        assert ("/policy" in mounted) == (name != "collector")
        assert {each["name"] for each in container["volumeMounts"]} == {
            each["name"] for each in pod["volumes"]
        }
        assert told.get("GOODSTRACE_QUERY_WEBHOOKS") == ("https" if name == "query" else None)
    assert found["ConfigMap", "goodstrace-settings"]["data"]["OTEL_EXPORTER_OTLP_ENDPOINT"].endswith(":4317")
    ways = {"witnesses": 443, "webhooks": 443, "oidc": 443, "tracing": 4317}
    for name, port in ways.items():
        (rule,) = found["NetworkPolicy", name]["spec"]["egress"]
        assert [each["port"] for each in rule["ports"]] == [port]


def test_what_components_set_is_a_setting() -> None:
    known = {name for settings in _settings() for name in _names(settings)}
    told: set[str] = set()
    for path, text in FILES.items():
        if "components" in path.parts and path.name in ("policy.yaml", "query.yaml", "runs.yaml"):
            told |= {
                each["value"]["name"] for each in yaml.safe_load(text) if each["path"].endswith("/env/-")
            }
    assert told == {"GOODSTRACE_WITNESS_POLICY", "GOODSTRACE_QUERY_WEBHOOKS"}
    assert {*told, "OTEL_EXPORTER_OTLP_ENDPOINT"} <= known


@pytest.mark.skipif(
    not KUSTOMIZE.is_built, reason="Kustomize is not built: make install-go, python -m tests.go_programs"
)
def test_roles_follow_the_names_of_the_databases(tmp_path: Path) -> None:
    """As after a restore, when the vault has kept its name."""
    ours = ROOT / KUBERNETES
    data = {"GOODSTRACE_DATABASE": "goodstrace2"}
    patch = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "goodstrace-settings", "namespace": "goodstrace"},
        "data": data,
    }
    (tmp_path / "names").mkdir()
    (tmp_path / "names/settings.yaml").write_text(yaml.safe_dump(patch))
    names = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "patches": [{"path": "settings.yaml"}],
    }
    (tmp_path / "names/kustomization.yaml").write_text(yaml.safe_dump(names))
    body = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(ours / "full", tmp_path)],
        "components": ["names", os.path.relpath(ours / "components/from-settings", tmp_path)],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(body))
    rendered = list(yaml.safe_load_all(KUSTOMIZE.run(str(tmp_path))))
    assert _databases(rendered) == {(False, "goodstrace2"), (True, "goodstrace_vault")}
