"""What all objects share: names, labels, and how they are written as YAML."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

NAMESPACE: Final = "goodstrace"
CLUSTER: Final = "goodstrace"
"""Of Kafka: Strimzi names its pods, services and secrets after it."""
MONGODB: Final = "goodstrace-mongodb"
REPLICA_SET: Final = "rs0"
MONGODB_NODES: Final = 3
KAFKA_PORT: Final = 9093
MONGODB_PORT: Final = 27017
PART_OF: Final = "app.kubernetes.io/part-of"
COMPONENT: Final = "app.kubernetes.io/component"
JOB: Final = "goodstrace.io/job"
"""The service whose process it is: what rules and dashboards call `job`."""
SETTINGS: Final = "goodstrace-settings"
IMAGE: Final = "goodstrace"
TAG: Final = "0.1.0"
USER: Final = 10001
"""Of the image, as the Dockerfile makes it."""
Object = dict[str, Any]
_NOTE: Final = (
    "# Made by `python -m tools.kubernetes`: change it there, or patch it from an overlay of yours.\n"
)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they read, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def written(objects: Iterable[Object], why: str = "") -> str:
    """Write objects as one file of YAML, under a line or more that say what they are for."""
    about = "".join(f"# {line}\n" for line in why.splitlines())
    return (
        _NOTE
        + about
        + yaml.dump_all(
            list(objects),
            Dumper=_Dumper,
            sort_keys=False,
            width=140,
            allow_unicode=True,
            explicit_start=True,
        )
    )


def made(
    api: str,
    kind: str,
    name: str,
    body: Mapping[str, Any],
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """Make an object of this system."""
    told: Object = {"name": name, "namespace": NAMESPACE, "labels": {PART_OF: "goodstrace", **(labels or {})}}
    if annotations:
        told["annotations"] = dict(annotations)
    return {"apiVersion": api, "kind": kind, "metadata": told, **body}


def chosen(component: str) -> dict[str, str]:
    """Give the labels by which a component's pods are chosen."""
    return {PART_OF: "goodstrace", COMPONENT: component}
