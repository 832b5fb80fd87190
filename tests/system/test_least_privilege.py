"""The processes of Kubernetes, each as its own user of a Kafka with an authorizer: the system works, and none of them asks MongoDB for more than its role has.

SecantusDB knows no roles, and no mongod can be had here: so what each process sends is written down by the driver's own events, and held against the
roles. That MongoDB refuses what a role does not have is MongoDB's, and was not run.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from deploy.credentials import make_credentials
from deploy.processes import Daemon, free_port, silent
from deploy.service_processes import ROOT, not_ready
from deploy.stack import Stack
from services.runtime import kafka
from services.runtime.topics import declared
from tests.kafka_users import make_users
from tests.system.harness import System, eventually
from tests.unit.collector_builders import document, object_event
from tools.kubernetes.processes import EVERYTHING, PROCESSES, Process
from tools.kubernetes.roles import ALL, OWN, ROLES, VAULT

ITEM = "urn:epc:id:sgtin:0614141.107346.2017"
RECORDING = ROOT / "tests" / "store_commands"
ACTIONS = {
    "aggregate": "find",
    "count": "find",
    "createIndexes": "createIndex",
    "delete": "remove",
    "distinct": "find",
    "find": "find",
    "findAndModify": "update",
    "getMore": "find",
    "insert": "insert",
    "listIndexes": "listIndexes",
    "update": "update",
}


class Apart(System):
    """A system whose processes are those of Kubernetes, each as its own user of Kafka."""

    def begin(self, commands: Path) -> None:
        """Make topics and users as an administrator, then provision and start everything."""
        with pytest.MonkeyPatch.context() as patched:
            for name, value in self.stack.environment.items():
                patched.setenv(name, value)
            bootstrap = self.stack.kafka_bootstrap_servers
            kafka.create_topics(bootstrap, declared(self.topic_prefix, 2, 1, 1))
            users = make_users(kafka.admin_client(bootstrap), self.run_dir, self.topic_prefix)
        ports = {process.name: free_port() for process in PROCESSES}
        # What the harness asks is who does it here.
        self.metrics_ports = {name: ports[name] for name in ("ledger", "audit", "collector", "query")}
        told = {each.name: self._told(each, users[each.name], ports, commands) for each in EVERYTHING}
        self.told = told
        done = self.run([sys.executable, "-m", "services.runtime.provision"], told["provision"])
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"topics: {len(declared('', 1, 1, 1))} (0 made now)" in done.stdout
        self.daemons = {
            each.name: Daemon(
                name=each.name,
                command=[sys.executable, "-m", each.module],
                run_dir=self.run_dir,
                ports=(ports[each.name],),
                environment={**self.environment, **told[each.name]},
                cwd=ROOT,
            )
            for each in PROCESSES
        }
        for daemon in self.daemons.values():
            daemon.start()
        for name, daemon in self.daemons.items():
            daemon.wait_ready(partial(not_ready, f"http://127.0.0.1:{ports[name]}/readyz"), 120)

    def operate(self) -> None:
        """Run what the CronJobs run, as the operator's user: all of it has what it needs."""
        command = [sys.executable, "-c", "from goodstrace.cli import main; main()"]
        told = {**self.told["operator"], "GOODSTRACE_LOG_KEYS": ""}
        for words in (
            ["fsck", "--kafka", "--jobs=2"],
            ["backup", "create", f"--out={self.run_dir / 'copy'}"],
            ["backup", "vault", f"--out={self.run_dir / 'vault-copy'}"],
        ):
            done = self.run([*command, *words], told)
            assert done.returncode == 0, done.stdout + done.stderr
        looks = ("kafka", "mongodb", "topics", "indexes", "clocks", "lag", "logs", "fsck", "backup", "disk")
        done = self.run([*command, "doctor", "--all", *(f"--only={name}" for name in looks)], told)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "authoriz" not in (done.stdout + done.stderr).lower()

    def _told(
        self, process: Process, user: dict[str, str], ports: dict[str, int], commands: Path
    ) -> dict[str, str]:
        # Paths and addresses are those of a pod.
        parts = {name: value for name, value in process.settings if name.startswith("GOODSTRACE_COLLECTOR_")}
        port = {process.port_setting: str(ports[process.name])} if process.metrics_port else {}
        return {
            **user,
            **parts,
            **port,
            **dict.fromkeys(process.instance, f"{process.name}-0"),
            "GOODSTRACE_WATCH_DATA_DIR": str(self.run_dir / "watch"),
            "PYTHONPATH": os.pathsep.join((str(RECORDING), str(ROOT))),
            "STORE_COMMANDS": str(commands / process.name),
        }


def test_each_process_works_as_its_own_user_and_asks_for_no_more_than_its_role(
    secured: Stack, tmp_path_factory: pytest.TempPathFactory, tell: Callable[[str], None]
) -> None:
    commands = tmp_path_factory.mktemp("commands")
    system = Apart(secured, tmp_path_factory.mktemp("apart"), {"GOODSTRACE_ACCOUNTS": "required"})
    try:
        system.begin(commands)
        system.api_key = make_credentials(
            system.run_dir,
            system.capture_url,
            system.operator_token_file,
            silent,
            query_target=system.query_target,
        )
        eventually(lambda: system.sealed_count() > 0, what="the merchant's registration is sealed")
        jobs = system.capture_sealed([document(object_event())])
        assert all(job.counts["accepted"] for job in jobs)
        with system.client() as client:
            assert client.trace(ITEM).events
        eventually(lambda: system.sealed_count("browse/") > 3, what="the looks are sealed")
        system.operate()
    except AssertionError as fault:
        raise AssertionError(f"{fault}\n{system.tails()}") from fault
    finally:
        system.stop()
    asked = {each.name: _asked(commands / each.name, system.database_name) for each in EVERYTHING}
    allowed = {
        role.user: {
            (database, name, action) for database, name, actions in role.privileges() for action in actions
        }
        for role in ROLES
    }
    over = {
        name: sorted(
            (database, collection, action)
            for database, collection, action in said
            if not {(database, collection, action), (database, ALL, action)} & allowed[name]
        )
        for name, said in asked.items()
    }
    assert not any(over.values()), over
    assert ("", "blocks", "insert") in asked["ledger"]
    assert ("", "operations", "update") in asked["operator"]
    tell(
        "least privilege: captured, sealed and looked at with a user of Kafka for each process; MongoDB was asked "
        + ", ".join(
            f"{len(asked[name])} of {len(allowed[name])} things by {name}"
            for name in asked
            if name != "operator"
        )
        + f", {len(asked['operator'])} by the operator, who may read all"
        + "; no mongod with roles was run"
    )


def _asked(path: Path, database: str) -> set[tuple[str, str, str]]:
    if not path.exists():
        return set()
    databases = {database: OWN, f"{database}_vault": VAULT}
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    return {(databases[own], collection, ACTIONS[command]) for own, collection, command in lines}
