"""MongoDB by Percona's operator, as a replica set; sharded as an option. A user for each process, with the role that roles.py gives it."""

from typing import Any, Final

from tools.kubernetes.objects import MONGODB, MONGODB_NODES, NAMESPACE, REPLICA_SET, SETTINGS, Object, made
from tools.kubernetes.roles import ROLES, VAULT, Role
from tools.kubernetes.workloads import mongodb_uri

API: Final = "psmdb.percona.com/v1"
OPERATOR: Final = "1.22.0"
IMAGE: Final = "percona/percona-server-mongodb:8.0.19-7"
DATABASE: Final = "goodstrace"
_SHARDS: Final = 3


def database_of(name: str) -> str:
    """Name the database of this installation: its own, or the vault's."""
    return f"{DATABASE}_{VAULT}" if name == VAULT else DATABASE


def role_object(role: Role) -> Object:
    """Write a role as the operator has it."""
    privileges = [
        {"resource": {"db": database_of(database), "collection": collection}, "actions": list(actions)}
        for database, collection, actions in role.privileges()
    ]
    return {"role": role.name, "db": "admin", "privileges": privileges, "roles": []}


def _user(role: Role) -> Object:
    name = f"goodstrace-{role.user}"
    return {
        "name": name,
        "db": "admin",
        "passwordSecretRef": {"name": f"goodstrace-mongodb-{role.user}", "key": "password"},
        "roles": [{"name": role.name, "db": "admin"}],
    }


def _machine(disk: str, memory: str) -> dict[str, Any]:
    return {
        "affinity": {"antiAffinityTopologyKey": "kubernetes.io/hostname"},
        "podDisruptionBudget": {"maxUnavailable": 1},
        "resources": {"requests": {"cpu": "1", "memory": memory}, "limits": {"memory": memory}},
        "volumeSpec": {"persistentVolumeClaim": {"resources": {"requests": {"storage": disk}}}},
    }


def replica_set(name: str = REPLICA_SET) -> Object:
    """Give one replica set: what is acknowledged by a majority is on two of three machines."""
    return {"name": name, "size": MONGODB_NODES, **_machine("1Ti", "8Gi")}


def cluster() -> Object:
    """Make the replica set. TLS alone; backups are for you to set (docs/kubernetes.md)."""
    spec = {
        "crVersion": OPERATOR,
        "image": IMAGE,
        "updateStrategy": "SmartUpdate",
        "upgradeOptions": {"apply": "disabled"},
        "secrets": {"users": f"{MONGODB}-system-users", "ssl": f"{MONGODB}-ssl"},
        "tls": {"mode": "requireTLS"},
        "replsets": [replica_set()],
        "sharding": {"enabled": False},
        "backup": {"enabled": False, "image": "percona/percona-backup-mongodb:2.12.0"},
        "roles": [role_object(role) for role in ROLES],
        "users": [_user(role) for role in ROLES],
    }
    return made(API, "PerconaServerMongoDB", MONGODB, {"spec": spec})


def sharded() -> list[Object]:
    """Give the patches by which it is sharded: three replica sets, three routers, and the address of the routers."""
    spec = {
        "replsets": [replica_set(f"rs{number}") for number in range(_SHARDS)],
        "sharding": {
            "enabled": True,
            "configsvrReplSet": {"size": 3, **_machine("20Gi", "2Gi")},
            "mongos": {
                "size": 3,
                "affinity": {"antiAffinityTopologyKey": "kubernetes.io/hostname"},
                "podDisruptionBudget": {"maxUnavailable": 1},
                "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
            },
        },
    }
    host = f"{MONGODB}-mongos.{NAMESPACE}.svc.cluster.local"
    return [
        _patch(API, "PerconaServerMongoDB", MONGODB, {"spec": spec}),
        _patch("v1", "ConfigMap", SETTINGS, {"data": {"MONGODB_URI": mongodb_uri([host])}}),
    ]


def _patch(api: str, kind: str, name: str, body: Object) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **body}


def by_file() -> dict[str, tuple[list[Object], str]]:
    """Give the file of the replica set."""
    return {
        "cluster": (
            [cluster()],
            "Three nodes, one of which may be away. Users may do what their role says and nothing else; disks: docs/capacity.md.",
        )
    }
