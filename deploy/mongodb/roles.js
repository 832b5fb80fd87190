// Made by `python -m tools.kubernetes`: change it there. Makes the roles of the services, or brings them up to date:
//   mongosh --eval 'var own = "goodstrace", vault = "goodstrace_vault"' --file roles.js
// A user of each process is then made by db.getSiblingDB("admin").createUser({user, pwd: passwordPrompt(), roles: [role]}).
const roles = [
 {
  "role": "goodstrace-provision",
  "privileges": [
   {
    "database": "own",
    "collection": "accounts",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "own",
    "collection": "blocks",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "own",
    "collection": "browse_statistics",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "own",
    "collection": "checkpoints",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "own",
    "collection": "instance",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "login_counters",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "own",
    "collection": "packs",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "own",
    "collection": "pins",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "own",
    "collection": "sessions",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "own",
    "collection": "tiles",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "own",
    "collection": "watch_activity",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "own",
    "collection": "watch_alerts",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "own",
    "collection": "watch_blocks",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "vault",
    "collection": "asked_users",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "vault",
    "collection": "browse_index",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "vault",
    "collection": "goods_viewers",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "vault",
    "collection": "pseudonyms",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "vault",
    "collection": "vault_days",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "vault",
    "collection": "vault_keys",
    "actions": [
     "createIndex"
    ]
   }
  ]
 },
 {
  "role": "goodstrace-collector",
  "privileges": [
   {
    "database": "own",
    "collection": "accounts",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "api_keys",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "capture_calendar",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "capture_verdicts",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "captures",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "delegations",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "goods",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "heads",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "idempotency_keys",
    "actions": [
     "find",
     "insert",
     "remove",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "ingress_partitions",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "instance",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "merchant_numbers",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "merchant_rates",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "merchants",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "packs",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "pages",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "places",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "registrations_under_way",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "rejections",
    "actions": [
     "find",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "runs",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "sessions",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "watch_blocks",
    "actions": [
     "find"
    ]
   },
   {
    "database": "vault",
    "collection": "asked_users",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "vault",
    "collection": "pseudonyms",
    "actions": [
     "find",
     "insert",
     "remove"
    ]
   },
   {
    "database": "vault",
    "collection": "vault_days",
    "actions": [
     "find",
     "insert",
     "remove"
    ]
   },
   {
    "database": "vault",
    "collection": "vault_keys",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "vault",
    "collection": "vault_names",
    "actions": [
     "find",
     "insert"
    ]
   }
  ]
 },
 {
  "role": "goodstrace-stages",
  "privileges": [
   {
    "database": "own",
    "collection": "accounts",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "api_keys",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "instance",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "merchant_rates",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "merchants",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "sessions",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "watch_blocks",
    "actions": [
     "find"
    ]
   }
  ]
 },
 {
  "role": "goodstrace-keeper",
  "privileges": [
   {
    "database": "own",
    "collection": "accounts",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "api_keys",
    "actions": [
     "createIndex",
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "capture_verdicts",
    "actions": [
     "createIndex",
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "captures",
    "actions": [
     "createIndex",
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "delegations",
    "actions": [
     "createIndex",
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "flagged_events",
    "actions": [
     "createIndex",
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "goods",
    "actions": [
     "createIndex",
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "goods_asking",
    "actions": [
     "createIndex",
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "goods_renewals",
    "actions": [
     "find",
     "insert",
     "remove",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "goods_states",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "idempotency_keys",
    "actions": [
     "createIndex"
    ]
   },
   {
    "database": "own",
    "collection": "instance",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "merchant_rates",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "merchants",
    "actions": [
     "createIndex",
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "places",
    "actions": [
     "createIndex",
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "rejections",
    "actions": [
     "createIndex",
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "sessions",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "watch_blocks",
    "actions": [
     "find"
    ]
   }
  ]
 },
 {
  "role": "goodstrace-ledger",
  "privileges": [
   {
    "database": "own",
    "collection": "blocks",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "checkpoints",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "heads",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "index_pages",
    "actions": [
     "find",
     "insert",
     "remove",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "index_runs",
    "actions": [
     "find",
     "insert",
     "remove",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "instance",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "logs",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "packs",
    "actions": [
     "find",
     "insert",
     "remove"
    ]
   },
   {
    "database": "own",
    "collection": "pages",
    "actions": [
     "find",
     "insert",
     "remove"
    ]
   },
   {
    "database": "own",
    "collection": "pins",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "runs",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "tiles",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   }
  ]
 },
 {
  "role": "goodstrace-query",
  "privileges": [
   {
    "database": "own",
    "collection": "accounts",
    "actions": [
     "find",
     "insert",
     "remove",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "api_keys",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "blocks",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "checkpoints",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "epcis_queries",
    "actions": [
     "createIndex",
     "find",
     "insert",
     "remove",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "epcis_subscriptions",
    "actions": [
     "createIndex",
     "find",
     "insert",
     "remove",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "flagged_events",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "goods",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "goods_states",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "heads",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "index_pages",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "index_runs",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "instance",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "login_counters",
    "actions": [
     "find",
     "insert",
     "remove",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "logs",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "merchants",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "packs",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "pages",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "pins",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "runs",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "sessions",
    "actions": [
     "find",
     "insert",
     "remove",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "tiles",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "watch_blocks",
    "actions": [
     "find"
    ]
   },
   {
    "database": "vault",
    "collection": "asked_users",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "vault",
    "collection": "pseudonyms",
    "actions": [
     "find",
     "insert",
     "remove"
    ]
   },
   {
    "database": "vault",
    "collection": "vault_days",
    "actions": [
     "find",
     "insert",
     "remove"
    ]
   },
   {
    "database": "vault",
    "collection": "vault_keys",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "vault",
    "collection": "vault_names",
    "actions": [
     "find",
     "insert"
    ]
   }
  ]
 },
 {
  "role": "goodstrace-audit",
  "privileges": [
   {
    "database": "own",
    "collection": "accounts",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "api_keys",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "blocks",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "browse_statistics",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "checkpoints",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "goods_browses",
    "actions": [
     "find",
     "insert",
     "remove",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "goods_states",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "heads",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "index_pages",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "index_runs",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "instance",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "logs",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "merchants",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "packs",
    "actions": [
     "find",
     "insert",
     "remove"
    ]
   },
   {
    "database": "own",
    "collection": "pages",
    "actions": [
     "find",
     "insert",
     "remove"
    ]
   },
   {
    "database": "own",
    "collection": "pins",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "runs",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "sessions",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "tiles",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "watch_activity",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "watch_alerts",
    "actions": [
     "find"
    ]
   },
   {
    "database": "own",
    "collection": "watch_blocks",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "vault",
    "collection": "asked_users",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "vault",
    "collection": "browse_index",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "vault",
    "collection": "goods_viewers",
    "actions": [
     "find",
     "insert",
     "remove"
    ]
   },
   {
    "database": "vault",
    "collection": "pseudonyms",
    "actions": [
     "find",
     "insert",
     "remove"
    ]
   },
   {
    "database": "vault",
    "collection": "vault_days",
    "actions": [
     "find",
     "insert",
     "remove"
    ]
   },
   {
    "database": "vault",
    "collection": "vault_keys",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "vault",
    "collection": "vault_names",
    "actions": [
     "find",
     "insert"
    ]
   }
  ]
 },
 {
  "role": "goodstrace-watch",
  "privileges": [
   {
    "database": "own",
    "collection": "watch_activity",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "own",
    "collection": "watch_alerts",
    "actions": [
     "find",
     "insert"
    ]
   },
   {
    "database": "own",
    "collection": "watch_blocks",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   }
  ]
 },
 {
  "role": "goodstrace-operator",
  "privileges": [
   {
    "database": "own",
    "collection": "",
    "actions": [
     "dbStats",
     "find",
     "listCollections",
     "listIndexes"
    ]
   },
   {
    "database": "own",
    "collection": "operations",
    "actions": [
     "find",
     "insert",
     "update"
    ]
   },
   {
    "database": "vault",
    "collection": "",
    "actions": [
     "find",
     "listCollections",
     "listIndexes"
    ]
   }
  ]
 }
];
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
