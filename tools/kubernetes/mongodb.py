"""MongoDB by Percona's operator, as a replica set; sharded as an option. A user for each process, with the role that roles.py gives it."""

from typing import Any, Final

from tools.kubernetes.objects import MONGODB, MONGODB_NODES, NAMESPACE, REPLICA_SET, SETTINGS, Object, made
from tools.kubernetes.roles import OWN, ROLES, VAULT, Role
from tools.kubernetes.workloads import mongodb_uri

API: Final = "psmdb.percona.com/v1"
OPERATOR: Final = "1.22.0"
IMAGE: Final = "percona/percona-server-mongodb:8.0.19-7"
DATABASE: Final = "goodstrace"
_SHARDS: Final = 3
_OF_VAULT: Final = "-vault"


def database_of(name: str) -> str:
    """Name the database of this installation: its own, or the vault's."""
    return f"{DATABASE}_{VAULT}" if name == VAULT else DATABASE


def role_objects(role: Role) -> list[Object]:
    """Write a role as the operator has it: one of its own database, and one of the vault where it has to do with that.

    Two, so that Kustomize can tell them apart and put the names of both databases into them.
    """
    found = []
    for database, name in ((OWN, role.name), (VAULT, f"{role.name}{_OF_VAULT}")):
        privileges = [
            {"resource": {"db": database_of(of), "collection": collection}, "actions": list(actions)}
            for of, collection, actions in role.privileges()
            if of == database
        ]
        if privileges:
            found.append({"role": name, "db": "admin", "privileges": privileges, "roles": []})
    return found


def database_paths(database: str) -> list[str]:
    """Give where the name of a database stands in the roles, as Kustomize has it."""
    of_vault = database == VAULT
    names = [each["role"] for role in ROLES for each in role_objects(role)]
    return [
        f"spec.roles.[role={name}].privileges.*.resource.db"
        for name in names
        if name.endswith(_OF_VAULT) == of_vault
    ]


def _user(role: Role) -> Object:
    name = f"goodstrace-{role.user}"
    return {
        "name": name,
        "db": "admin",
        "passwordSecretRef": {"name": f"goodstrace-mongodb-{role.user}", "key": "password"},
        "roles": [{"name": each["role"], "db": "admin"} for each in role_objects(role)],
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
        "roles": [each for role in ROLES for each in role_objects(role)],
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
