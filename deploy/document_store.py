"""The MongoDB-compatible store on this machine: a `mongod` on PATH, else SecantusDB as a process of its own.

SecantusDB is GPL-2.0: it lives in an environment of its own (`.stack/secantus`) and is only ever talked to over its
port. See docs/decisions/0007-local-stack.md.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from deploy.processes import HOST, Daemon, Report, is_listening, silent
from deploy.securing import StoreSecurity

SECANTUS = Path(__file__).resolve().parent.parent / ".stack" / "secantus" / "bin" / "secantusd-py"
READY_TIMEOUT_S = 120.0
# WiredTiger makes the threads of callers evict pages once a fifth of its cache is written to, or a tenth of it holds updates. SecantusDB has a thread
# wait for that that holds its one lock, or an open transaction that keeps the pages: then nobody goes on any more (decision 7). Its own
# threads begin early instead, and callers' only where the cache is nearly full, which is larger.
_EVICTION = (
    "eviction_dirty_target=5,eviction_dirty_trigger=80,eviction_updates_target=5,eviction_updates_trigger=80"
)
_LEAST_CACHE_MIB, _MOST_CACHE_MIB = 1024, 4096
_ALREADY_INITIALIZED = 23
_NOT_YET_INITIALIZED = 94


class DocumentStore:
    """A document store of our own; every acknowledged write survives a crash of the process.

    Args:
        run_dir: its data goes to `mongod/` or `secantus/` in it, its log and pid file to `logs/` and `pids/`.
        port: TCP port of 127.0.0.1.
        security: certificate and user, of SecantusDB alone; without, it answers whoever reaches its port.
    """

    def __init__(
        self, run_dir: Path, port: int, report: Report = silent, *, security: StoreSecurity | None = None
    ) -> None:
        self.port = port
        self._security = security
        self.engine = "secantus" if security else self._choose(run_dir, report)
        self._data = run_dir / self.engine
        command = self._mongod() if self.engine == "mongod" else self._secantus(run_dir)
        self._open, self.daemon = (
            Daemon(name=self.engine, command=each, run_dir=run_dir, ports=(port,), report=report)
            for each in (command, [*command, "--auth"] if security else command)
        )

    @property
    def uri(self) -> str:
        """The address for clients: one server, addressed directly, whatever its replica set is called."""
        return f"mongodb://{HOST}:{self.port}/?directConnection=true"

    def start(self) -> None:
        """Start the server; `wait_ready` tells when it serves. Raises StackError."""
        is_new = not self._data.exists()
        self._data.mkdir(parents=True, exist_ok=True)
        if self.engine == "secantus":
            (self._data / "WiredTiger.config").write_text(f"{_EVICTION}\n")
        if self._security and is_new:
            self._make_user(self._security)
        self.daemon.start()

    def wait_ready(self) -> None:
        """Return when a write was acknowledged by a primary; raises DidNotStart."""
        self.daemon.wait_ready(self._not_ready, READY_TIMEOUT_S)

    def stop(self) -> None:
        """Stop in order."""
        self.daemon.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        self.daemon.kill()

    @staticmethod
    def _choose(run_dir: Path, report: Report) -> str:
        # Data stay with the engine that wrote them, also when a mongod was installed since.
        for engine in ("mongod", "secantus"):
            if (run_dir / engine).is_dir():
                if engine == "secantus" and shutil.which("mongod"):
                    report(
                        "secantus: going on with its data, although there is a mongod (`make clean` drops them)"
                    )
                return engine
        return "mongod" if shutil.which("mongod") else "secantus"

    def _mongod(self) -> list[str]:
        address = ["--bind_ip", HOST, "--port", str(self.port)]
        return ["mongod", *address, "--dbpath", str(self._data), "--replSet", "rs0", "--quiet"]

    def _secantus(self, run_dir: Path) -> list[str]:
        # A configuration file of our own, even if empty: otherwise it looks for one in the user's home and in /etc.
        config = run_dir / "secantus.toml"
        run_dir.mkdir(parents=True, exist_ok=True)
        config.touch()
        address = ["--host", HOST, "--port", str(self.port), "--storage-path", str(self._data)]
        return [
            str(SECANTUS),
            "--config",
            str(config),
            *address,
            "--sync-on-commit",
            "--cache-size",
            f"{_cache_mib()}M",
            "--log-level",
            "WARNING",
            *(self._security.options() if self._security else ()),
        ]

    def _not_ready(self) -> str:
        if not is_listening(self.port):
            return f"{HOST}:{self.port} does not listen yet"
        client = self._client(login=True)
        try:
            if self.engine == "mongod":
                self._initiate(client)
            if not client.admin.command("hello").get("isWritablePrimary"):
                return "it is no primary yet"
            ready = client.get_database("goodstrace_stack").get_collection("ready")
            ready.replace_one({"_id": "ready"}, {"_id": "ready"}, upsert=True)
        except PyMongoError as error:
            return f"it answers {type(error).__name__}"
        finally:
            client.close()
        return ""

    def _client(self, *, login: bool) -> "MongoClient[dict[str, object]]":
        more: dict[str, Any] = self._security.client(login=login) if self._security else {}
        return MongoClient(self.uri, serverSelectionTimeoutMS=2000, **more)

    def _make_user(self, security: StoreSecurity) -> None:
        """Make the user while nobody is asked who calls: SecantusDB has no other way."""

        def not_made() -> str:
            client = self._client(login=False)
            try:
                client.admin.command("createUser", security.user, pwd=security.password(), roles=["root"])
            except PyMongoError as error:
                return f"it answers {type(error).__name__}"
            finally:
                client.close()
            return ""

        self._open.start()
        self._open.wait_ready(not_made, READY_TIMEOUT_S)
        self._open.stop()

    def _initiate(self, client: "MongoClient[dict[str, object]]") -> None:
        """Make the single node a replica set, which transactions and change streams need; once per data folder."""
        try:
            client.admin.command("replSetGetStatus")
        except OperationFailure as error:
            if error.code != _NOT_YET_INITIALIZED:
                raise
            member = {"_id": 0, "host": f"{HOST}:{self.port}"}
            try:
                client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
            except OperationFailure as raced:
                if raced.code != _ALREADY_INITIALIZED:
                    raise


def _cache_mib() -> int:
    """Bound the store's cache by an eighth of the machine's memory, in MiB; it takes what it holds and no more."""
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return min(max(memory_mib // 8, _LEAST_CACHE_MIB), _MOST_CACHE_MIB)
