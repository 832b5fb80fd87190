"""Who may do what in MongoDB: for each user the collections that its process has to do with, and what it does with them.

Sealed is append-only here, too: nobody may update or delete blocks, and packs may be deleted by who seals alone, since a writer that lost a race
takes back what it had put beside. Only who records looks reads the vault, and who copies it, without the keys that open it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

VAULT: Final = "vault"
OWN: Final = ""
R: Final = ("find",)
RI: Final = ("find", "insert")
RIU: Final = ("find", "insert", "update")
RIUD: Final = ("find", "insert", "remove", "update")
RID: Final = ("find", "insert", "remove")
RU: Final = ("find", "update")
ALL: Final = ""
"""Of a database: all of its collections, but those of MongoDB itself."""
READS_ALL: Final = ("find", "listCollections", "listIndexes")
_MAKES_INDEXES: Final = "createIndex"
Grants = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Role:
    """What a process's user may do. own, vault: by collection of the services' database and of the vault's; indexes: where it makes these."""

    user: str
    own: Grants
    vault: Grants
    indexes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The role's name."""
        return f"goodstrace-{self.user}"

    def privileges(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """List (database, collection, actions), the database as OWN or VAULT."""
        own = {name: set(actions) for name, actions in self.own.items()}
        for name in self.indexes:
            own.setdefault(name, set()).add(_MAKES_INDEXES)
        return [
            *((OWN, name, tuple(sorted(actions))) for name, actions in sorted(own.items())),
            *((VAULT, name, tuple(sorted(actions))) for name, actions in sorted(self.vault.items())),
        ]


_LOG_PARTS: Final = ("blocks", "checkpoints", "heads", "logs", "packs", "pages", "pins", "runs", "tiles")
_READS_LOGS: Final = {**dict.fromkeys(_LOG_PARTS, R), "index_pages": R, "index_runs": R, "instance": R}
_SEALS: Final = {
    "instance": RI,
    "logs": RIU,
    "blocks": RI,
    "packs": RID,
    "tiles": RIU,
    "checkpoints": RIU,
    "heads": RIU,
    "pages": RID,
    "runs": RIU,
    "pins": RI,
}
_WHO_CALLS: Final = {"accounts": R, "api_keys": R, "merchants": R, "sessions": R, "watch_blocks": R}
_RECORDS_LOOKS: Final = {
    "asked_users": RI,
    # A day's pseudonyms are deleted when it is over.
    "pseudonyms": RID,
    "vault_days": RID,
    "vault_keys": RI,
    "vault_names": RI,
}
_COLLECTOR: Final = {**_WHO_CALLS, "instance": RI, "merchant_rates": RIU}
_CAPTURES: Final = {"captures": RIU, "capture_verdicts": RI}
_WAYS_IN: Final = {
    **_COLLECTOR,
    **_CAPTURES,
    **dict.fromkeys(("heads", "packs", "pages", "runs"), R),
    "api_keys": RIU,
    "capture_calendar": RIU,
    # Who registers a merchant anew keeps what is replaced.
    "delegations": RI,
    "idempotency_keys": RIUD,
    "ingress_partitions": RIU,
    "merchant_numbers": RI,
    "merchants": RIU,
    "goods": RIU,
    "places": RIU,
    "registrations_under_way": RIU,
    "rejections": RU,
}
_KEEPS: Final = {
    **_COLLECTOR,
    **_CAPTURES,
    **dict.fromkeys(("goods", "goods_states", "merchants", "places"), RIU),
    "delegations": RI,
    "flagged_events": RI,
    "goods_asking": RI,
    # What is left to derive anew is gone once it is done.
    "goods_renewals": RIUD,
    "rejections": RI,
}
_PROVISIONED: Final = (
    *("accounts", "login_counters", "sessions"),
    *("blocks", "checkpoints", "packs", "pins", "tiles"),
    *("browse_statistics", "watch_activity", "watch_alerts", "watch_blocks"),
)
_VAULT_INDEXES: Final = (
    *("asked_users", "browse_index", "goods_viewers"),
    *("pseudonyms", "vault_days", "vault_keys"),
)

ROLES: Final = (
    Role("provision", {"instance": RI}, dict.fromkeys(_VAULT_INDEXES, (_MAKES_INDEXES,)), _PROVISIONED),
    Role("collector", _WAYS_IN, _RECORDS_LOOKS),
    Role("stages", _COLLECTOR, {}),
    Role(
        "keeper",
        _KEEPS,
        {},
        (
            "api_keys",
            "capture_verdicts",
            "captures",
            "delegations",
            "flagged_events",
            "goods",
            "goods_asking",
            "idempotency_keys",
            "merchants",
            "places",
            "rejections",
        ),
    ),
    Role("ledger", {**_SEALS, "index_pages": RIUD, "index_runs": RIUD}, {}),
    Role(
        "query",
        {
            **_READS_LOGS,
            **_WHO_CALLS,
            **dict.fromkeys(("flagged_events", "goods", "goods_states"), R),
            **dict.fromkeys(
                ("accounts", "epcis_queries", "epcis_subscriptions", "login_counters", "sessions"), RIUD
            ),
        },
        _RECORDS_LOOKS,
        ("epcis_queries", "epcis_subscriptions"),
    ),
    Role(
        "audit",
        {
            **_READS_LOGS,
            **_WHO_CALLS,
            **_SEALS,
            "browse_statistics": RIU,
            "goods_browses": RIUD,
            "goods_states": R,
            "watch_activity": R,
            "watch_alerts": R,
            "watch_blocks": RIU,
        },
        {**_RECORDS_LOOKS, "browse_index": RIU, "goods_viewers": RID},
    ),
    Role("watch", {"watch_activity": RIU, "watch_alerts": RI, "watch_blocks": RIU}, {}),
    # A backup has all collections, also those of which nobody here knows.
    Role("operator", {ALL: (*READS_ALL, "dbStats"), "operations": RIU}, {ALL: READS_ALL}),
)
"""By process. What other commands of operators need (`fsck --repair`, `restore`, `replay`, `audit erase`, `audit vault rotate`, `grow`) is no process's: it is an administrator's."""


def script(roles: Sequence[Role]) -> str:
    """Write the roles for mongosh, where no operator makes them: databases by --eval 'var own="goodstrace", vault="goodstrace_vault"' before it."""
    told = [
        {
            "role": role.name,
            "privileges": [
                {"database": database or "own", "collection": collection, "actions": list(actions)}
                for database, collection, actions in role.privileges()
            ],
        }
        for role in roles
    ]
    return _SCRIPT.replace("ROLES", json.dumps(told, indent=1))


_SCRIPT: Final = """\
// Made by `python -m tools.kubernetes`: change it there. Makes the roles of the services, or brings them up to date:
//   mongosh --eval 'var own = "goodstrace", vault = "goodstrace_vault"' --file roles.js
// A user of each process is then made by db.getSiblingDB("admin").createUser({user, pwd: passwordPrompt(), roles: [role]}).
const roles = ROLES;
const admin = db.getSiblingDB("admin");
for (const each of roles) {
  const privileges = each.privileges.map(one => ({
    resource: {db: one.database === "vault" ? vault : own, collection: one.collection},
    actions: one.actions,
  }));
  if (admin.getRole(each.role)) admin.updateRole(each.role, {privileges, roles: []});
  else admin.createRole({role: each.role, privileges, roles: []});
  print(`${each.role}: ${privileges.length} collections`);
}
"""
