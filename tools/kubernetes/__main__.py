"""`python -m tools.kubernetes`: write deploy/kubernetes, deploy/mongodb and deploy/kafka/acls.json from the tables beside this file.

With `--check` nothing is written, and the status is 1 where a file is not what would be.
"""

import json
from pathlib import Path
from typing import Any, Final

from tools.kubernetes import components, kafka, mongodb, monitoring, network, scaling, workloads
from tools.kubernetes.acls import RIGHTS
from tools.kubernetes.kustomizations import by_path
from tools.kubernetes.objects import NAMESPACE, SETTINGS, Object, written
from tools.kubernetes.roles import ROLES, script
from tools.made_files import ROOT, write_or_check

DEPLOY: Final = Path("deploy")
FOLDERS: Final = {
    "services": {**workloads.by_file(), **network.by_file()},
    "kafka": kafka.by_file(),
    "mongodb": mongodb.by_file(),
    "monitoring": monitoring.by_file(),
}
_EXAMPLE: Final = {"GOODSTRACE_PARTITIONS": "32", "GOODSTRACE_BROWSE_PARTITIONS": "8"}


def _acls() -> str:
    told = {
        f"goodstrace-{rights.user}": [
            {
                "resource": rule.resource,
                "name": rule.name,
                "pattern": rule.pattern,
                "operations": list(rule.operations),
            }
            for rule in rights.rules()
        ]
        for rights in RIGHTS
    }
    return json.dumps(told, indent=1) + "\n"


def _components() -> dict[str, str]:
    patch, address = mongodb.sharded()
    sizes: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": SETTINGS, "namespace": NAMESPACE},
        "data": _EXAMPLE,
    }
    files: dict[str, tuple[list[Any], str]] = {
        "components/sharded/mongodb": (
            [patch],
            "Which collections to shard, and by what: docs/kubernetes.md.",
        ),
        "components/sharded/settings": ([address], ""),
        **{f"components/{name}": each for name, each in components.files().items()},
        "example/sizes/settings": ([sizes], "Some 60,000 events a second by docs/capacity.md begin here."),
        **{f"components/autoscaling/{name}": each for name, each in scaling.by_file().items()},
    }
    return {f"kubernetes/{name}.yaml": written(*each) for name, each in files.items()}


def made() -> dict[Path, str]:
    """Give all files with their content, by path from the root of the repository."""
    files = {
        f"kubernetes/{folder}/{name}.yaml": written(*each)
        for folder, group in FOLDERS.items()
        for name, each in group.items()
    }
    boards = sorted(path.name for path in (ROOT / "deploy/grafana/dashboards").glob("*.json"))
    for path, each in by_path({folder: list(group) for folder, group in FOLDERS.items()}, boards).items():
        files[path] = written([each])
    files |= _components()
    files["kafka/acls.json"] = _acls()
    files["mongodb/roles.js"] = script(ROLES)
    return {DEPLOY / path: text for path, text in files.items()}


if __name__ == "__main__":
    write_or_check("tools.kubernetes", made)
