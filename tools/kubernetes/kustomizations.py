"""The kustomization files: what belongs together, and how numbers of partitions and names of databases get from the settings to topics, scalers and roles."""

from pathlib import Path
from typing import Any, Final

from tools.kubernetes import components, mongodb
from tools.kubernetes.objects import NAMESPACE, PART_OF, SETTINGS, Object
from tools.kubernetes.processes import BROWSE_PARTITIONS, DATABASE, PARTITIONS, VAULT_DATABASE
from tools.kubernetes.roles import OWN, VAULT

_API: Final = "kustomize.config.k8s.io"


def kustomization(**body: Any) -> Object:
    """Make one."""
    return {"apiVersion": f"{_API}/v1beta1", "kind": "Kustomization", **body}


def component(**body: Any) -> Object:
    """Make one that changes what others have made."""
    return {"apiVersion": f"{_API}/v1alpha1", "kind": "Component", **body}


def _number(setting: str, kind: str) -> Object:
    """Take a number from the settings to the topics and the limits of scalers that go by it."""
    return {
        "source": {"kind": "ConfigMap", "name": SETTINGS, "fieldPath": f"data.{setting}"},
        "targets": [
            {
                "select": {"kind": "KafkaTopic", "labelSelector": f"goodstrace.io/partitions={kind}"},
                "fieldPaths": ["spec.partitions"],
            },
            {
                "select": {"kind": "ScaledObject", "labelSelector": f"goodstrace.io/limit={kind}"},
                "fieldPaths": ["spec.maxReplicaCount"],
            },
        ],
    }


def _database(setting: str, database: str) -> Object:
    """Take the name of a database from the settings to the roles of MongoDB's users."""
    return {
        "source": {"kind": "ConfigMap", "name": SETTINGS, "fieldPath": f"data.{setting}"},
        "targets": [
            {"select": {"kind": "PerconaServerMongoDB"}, "fieldPaths": mongodb.database_paths(database)}
        ],
    }


def dashboards(names: list[str]) -> Object:
    """Put each dashboard into a ConfigMap that Grafana's sidecar finds by its label."""
    return kustomization(
        namespace=NAMESPACE,
        generatorOptions={
            "disableNameSuffixHash": True,
            "labels": {"grafana_dashboard": "1", PART_OF: "goodstrace"},
            "annotations": {"grafana_folder": "Goodstrace"},
        },
        configMapGenerator=[
            {"name": f"goodstrace-dashboard-{Path(name).stem}", "files": [f"dashboards/{name}"]}
            for name in names
        ],
    )


def by_path(names: dict[str, list[str]], boards: list[str]) -> dict[str, Object]:
    """Give the kustomizations by path below deploy/. names: the files of each folder of resources."""
    folders = {
        f"kubernetes/{folder}/kustomization.yaml": kustomization(
            resources=[f"{name}.yaml" for name in sorted(files)]
            + (["../../grafana"] if folder == "monitoring" else [])
        )
        for folder, files in names.items()
    }
    return {
        **folders,
        "grafana/kustomization.yaml": dashboards(boards),
        "kubernetes/components/from-settings/kustomization.yaml": component(
            replacements=[
                _number(PARTITIONS, "goods"),
                _number(BROWSE_PARTITIONS, "browse"),
                _database(DATABASE, OWN),
                _database(VAULT_DATABASE, VAULT),
            ]
        ),
        "kubernetes/components/autoscaling/kustomization.yaml": component(
            resources=["lag.yaml", "processor.yaml"]
        ),
        **{
            f"kubernetes/components/{name}/kustomization.yaml": component(**body)
            for name, body in components.by_name().items()
        },
        "kubernetes/components/sharded/kustomization.yaml": component(
            patches=[{"path": "mongodb.yaml"}, {"path": "settings.yaml"}]
        ),
        "kubernetes/full/kustomization.yaml": kustomization(
            resources=[f"../{folder}" for folder in ("services", "kafka", "mongodb", "monitoring")],
            components=["../components/autoscaling", "../components/from-settings"],
        ),
        "kubernetes/example/kustomization.yaml": kustomization(
            resources=["../full"],
            components=[
                "../components/sharded",
                *(f"../components/{name}" for name in sorted(components.by_name())),
                "sizes",
                "../components/from-settings",
            ],
            images=[{"name": "goodstrace", "newName": "registry.example/goodstrace", "newTag": "0.1.0"}],
        ),
        "kubernetes/example/sizes/kustomization.yaml": component(patches=[{"path": "settings.yaml"}]),
    }
