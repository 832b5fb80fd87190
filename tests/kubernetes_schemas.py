"""Schemas of Kubernetes objects: its own from the package kubernetes-validate, those of operators from their CRDs where these are at hand.

Operators publish their CRDs with each release and in no package registry. `GOODSTRACE_CRDS=FOLDER` names a folder with such files (docs/kubernetes.md);
without it their objects are held against the fields that are written down here, so that a misspelt one is seen all the same.
"""

import json
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema_rs import validator_for

VERSION = "1.37"
Object = dict[str, Any]
FIELDS: dict[str, tuple[str, ...]] = {
    "Kafka": ("kafka", "entityOperator"),
    "KafkaNodePool": ("replicas", "roles", "storage", "resources", "template"),
    "KafkaTopic": ("topicName", "partitions", "replicas", "config"),
    "KafkaUser": ("authentication", "authorization"),
    "PerconaServerMongoDB": (
        "backup", "crVersion", "image", "replsets", "roles", "secrets", "sharding", "tls", "updateStrategy", "upgradeOptions", "users",
    ),
    "PodMonitor": ("jobLabel", "selector", "podMetricsEndpoints"),
    "PrometheusRule": ("groups",),
    "ScaledObject": ("cooldownPeriod", "maxReplicaCount", "minReplicaCount", "pollingInterval", "scaleTargetRef", "triggers"),
    "TriggerAuthentication": ("configMapTargetRef", "secretTargetRef"),
}  # fmt: skip
"""By kind of operators: the fields of `spec` that we use."""


class Schemas:
    """Checks objects. `crds` lists the kinds that were checked by an operator's own schema."""

    def __init__(self, folder: str = os.environ.get("GOODSTRACE_CRDS", "")) -> None:
        self._crds = dict(_definitions(sorted(Path(folder).glob("*.yaml")) if folder else ()))
        self.crds: set[str] = set()

    def check(self, each: Object) -> None:
        """Raise an error that says where an object is not as its schema has it."""
        kind = each["kind"]
        if kind not in FIELDS:
            _own(each["apiVersion"], kind).validate(each)
            return
        schema = self._crds.get((each["apiVersion"], kind))
        if schema is not None:
            validator_for(schema).validate(each)
            self.crds.add(kind)
        assert set(each["spec"]) <= set(FIELDS[kind]), (kind, sorted(each["spec"]))


@cache
def _text(name: str) -> Any:
    folder = (
        Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{VERSION}.0-local-strict"
    )
    return json.loads((folder / name).read_text())


@cache
def _own(api: str, kind: str) -> Any:
    """The schema of one of Kubernetes' own kinds, which refuses what it does not name. The package's own way reads a MB of JSON for each object."""
    group, _, version = api.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], version)))
    told = json.dumps(_text(f"{name}.json")).replace("/api/_definitions.json#/", "#/")
    return validator_for({**json.loads(told), "$defs": _text("_definitions.json")["$defs"]})


def _definitions(paths: Iterable[Path]) -> Iterator[tuple[tuple[str, str], Object]]:
    for path in paths:
        for each in yaml.safe_load_all(path.read_text()):
            if each and each["kind"] == "CustomResourceDefinition":
                spec = each["spec"]
                for version in spec["versions"]:
                    schema = _closed(version["schema"]["openAPIV3Schema"], top=True)
                    yield (f"{spec['group']}/{version['name']}", spec["names"]["kind"]), schema


def _closed(schema: Any, *, top: bool = False) -> Any:
    """Refuse fields that a schema does not name: the API server drops them without a word."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {
        name: {key: _closed(value) for key, value in each.items()}
        if name == "properties"
        else (each if name in ("default", "example", "description", "enum") else _closed(each))
        for name, each in schema.items()
        if name != "format"
    }
    opens = "x-kubernetes-preserve-unknown-fields" in schema or "additionalProperties" in schema
    if "properties" in schema and not opens and "type" in schema:
        closed["additionalProperties"] = False
    if top:  # what the API server itself knows
        closed["properties"] = {
            **closed["properties"],
            "metadata": {"type": "object"},
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
        }
    return closed
