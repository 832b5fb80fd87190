"""The local stack: `python -m deploy.stack up [--stores-only] | down | status | run COMMAND...`.

As a library, `Stack(run_dir, kafka_port, mongo_port)` starts a broker and a store of its own on the ports given; any
number of them run side by side. Where they take part in the real system is said by `KAFKA_BOOTSTRAP_SERVERS` and
`MONGODB_URI`: when one of these is set, `up` uses what it names and starts nothing in its place.
"""

import argparse
import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deploy.broker import Broker
from deploy.credentials import TOKEN_FILE, make_credentials
from deploy.document_store import DocumentStore
from deploy.local_tls import client_side, tls_environment
from deploy.processes import HOST, Report, StackError, free_port, port_from, silent
from deploy.securing import secure
from deploy.service_processes import ROOT, SERVICES, daemons, not_ready, start_services, stop_services
from deploy.witnesses import start_witnesses, stop_witnesses

DEFAULT_KAFKA_PORT = 9092
DEFAULT_MONGO_PORT = 27017


class Stack:
    """Kafka and a document store, ready to use after `start()`.

    Args:
        run_dir: folder for data, logs and pid files; the same folder again means the same data.
        kafka_port, mongo_port: TCP ports of 127.0.0.1 to listen on.
        controller_port: the broker's second port, by default the one after `kafka_port`.
        kafka_bootstrap_servers, mongodb_uri: servers that are there already; in their place nothing is started.
        report: takes one line of progress at a time.
        secured: whether what is started speaks TLS and asks who calls, by certificates and a password made in `run_dir`.
    """

    def __init__(
        self,
        run_dir: Path,
        kafka_port: int = DEFAULT_KAFKA_PORT,
        mongo_port: int = DEFAULT_MONGO_PORT,
        *,
        controller_port: int | None = None,
        kafka_bootstrap_servers: str | None = None,
        mongodb_uri: str | None = None,
        report: Report = silent,
        secured: bool = False,
    ) -> None:
        run_dir = run_dir.resolve()
        self.run_dir = run_dir
        self.kafka: Broker | None = None
        self.store: DocumentStore | None = None
        self._security = secure(run_dir / "stores-tls") if secured else None
        if kafka_bootstrap_servers is None:
            self.kafka = Broker(
                run_dir,
                kafka_port,
                controller_port or kafka_port + 1,
                report,
                security=self._security[0] if self._security else None,
            )
            kafka_bootstrap_servers = self.kafka.bootstrap_servers
        if mongodb_uri is None:
            self.store = DocumentStore(
                run_dir, mongo_port, report, security=self._security[1] if self._security else None
            )
            mongodb_uri = self.store.uri
        self.kafka_bootstrap_servers = kafka_bootstrap_servers
        self.mongodb_uri = mongodb_uri

    @classmethod
    def on_free_ports(cls, run_dir: Path, report: Report = silent, *, secured: bool = False) -> "Stack":
        """Return a stack of its own on ports where nothing listens now."""
        return cls(
            run_dir, free_port(), free_port(), controller_port=free_port(), report=report, secured=secured
        )

    @classmethod
    def from_environment(
        cls, report: Report = silent, environment: Mapping[str, str] = os.environ
    ) -> "Stack":
        """Return the stack that the environment describes (the variables are listed by `make help`).

        Raises: StackError when a port is no number from 1 to 65535.
        """
        kafka_port = port_from(environment, "GOODSTRACE_KAFKA_PORT", DEFAULT_KAFKA_PORT)
        return cls(
            Path(environment.get("GOODSTRACE_RUN_DIR") or ROOT / "run"),
            kafka_port,
            port_from(environment, "GOODSTRACE_MONGO_PORT", DEFAULT_MONGO_PORT),
            controller_port=port_from(environment, "GOODSTRACE_KAFKA_CONTROLLER_PORT", kafka_port + 1),
            kafka_bootstrap_servers=environment.get("KAFKA_BOOTSTRAP_SERVERS") or None,
            mongodb_uri=environment.get("MONGODB_URI") or None,
            report=report,
        )

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which every part of the system finds this stack."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap_servers,
            "MONGODB_URI": self.mongodb_uri,
            "GOODSTRACE_RUN_DIR": str(self.run_dir),
            "GOODSTRACE_KEY_DIR": str(self.run_dir / "keys"),
            "GOODSTRACE_INDEX_SECRET_FILE": str(self.run_dir / "keys" / "index-secret"),
            "GOODSTRACE_VAULT_KEY_FILE": str(self.run_dir / "keys" / "vault-keys"),
            "GOODSTRACE_LOGIN_KEY_DIR": str(self.run_dir / "keys" / "login"),
            "GOODSTRACE_LOGIN_SECRET_FILE": str(self.run_dir / "keys" / "login-secret"),
            "GOODSTRACE_ACCOUNTS_JWKS": str(self.run_dir / "keys" / "login" / "jwks.json"),
            "GOODSTRACE_OPERATOR_TOKEN_FILE": str(self.operator_token_file),
            **{name: value for each in self._security or () for name, value in each.environment().items()},
        }

    @property
    def operator_token_file(self) -> Path:
        """Where the token lies by which merchants are registered."""
        return self.run_dir / "keys" / TOKEN_FILE

    def start(self) -> None:
        """Start what is ours and does not run yet; return when it is ready.

        Raises: StackError; what was started by then stays up, so that its logs and state can be looked at.
        """
        for part in self._parts():
            part.start()
        for part in self._parts():
            part.wait_ready()

    def stop(self) -> None:
        """Stop what is ours, in order."""
        for part in reversed(self._parts()):
            part.stop()

    def kill(self) -> None:
        """End what is ours as a crash would (SIGKILL), leaving data, locks and pid files as they are."""
        for part in self._parts():
            part.kill()

    def foreign(self) -> list[tuple[str, str]]:
        """Give the name of each server that is not ours to start or stop, and why."""
        servers = (
            ("kafka", self.kafka, "KAFKA_BOOTSTRAP_SERVERS"),
            ("store", self.store, "MONGODB_URI"),
        )
        return [(name, f"not ours ({variable} is set)") for name, ours, variable in servers if ours is None]

    def _parts(self) -> list[Broker | DocumentStore]:
        return [part for part in (self.kafka, self.store) if part is not None]


def up(stack: Stack, *, stores_only: bool, report: Report) -> None:
    """Start the stores, make topics and indexes, start the services. Raises StackError."""
    with _alone(stack.run_dir, report):
        stack.start()
        report(f"kafka at {stack.kafka_bootstrap_servers}, store at {_without_password(stack.mongodb_uri)}")
        if stores_only:
            return
        tls = tls_environment(stack.run_dir, os.environ, report)
        environment = {**stack.environment, **tls}
        report("making topics and indexes")
        command = [sys.executable, "-m", "services.runtime.provision"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **stack.environment}, check=False)
        if done.returncode != 0:
            raise StackError(f"topics and indexes could not be made (exit {done.returncode})")
        witnesses = start_witnesses(stack.run_dir, {**os.environ, **tls}, report)
        start_services(stack.run_dir, {**environment, **witnesses}, report)
        scheme, believed = client_side(stack.run_dir, os.environ)
        if os.environ.get("GOODSTRACE_ACCOUNTS") != "off":
            url = f"{scheme}://{HOST}:{port_from(os.environ, 'GOODSTRACE_COLLECTOR_PORT', 8080)}"
            port = port_from(os.environ, "GOODSTRACE_QUERY_GRPC_PORT", 50051)
            query = f"{scheme}://{HOST}:{port}"
            make_credentials(
                stack.run_dir, url, stack.operator_token_file, report, believed, query_target=query
            )


def down(stack: Stack, *, report: Report) -> None:
    """Stop the services, then the stores; servers that were named to us go on, which is said."""
    with _alone(stack.run_dir, report):
        stop_services(stack.run_dir, report)
        stop_witnesses(stack.run_dir, report)
        stack.stop()
        for name, reason in stack.foreign():
            report(f"{name}: {reason}")


def status(stack: Stack, *, report: Report) -> bool:
    """Report what runs; True when everything does and every service is ready."""
    servers = [part.daemon for part in (stack.kafka, stack.store) if part is not None]
    services = daemons(stack.run_dir, stack.environment, report)
    rows = [(daemon, "") for daemon in servers]
    rows += [(daemon, not_ready(service.ready_url)) for service, daemon in services]
    well = True
    for daemon, reason in rows:
        process = daemon.process
        state = f"running (pid {process.pid})" if process else "not running"
        report(f"{daemon.name:<12}{state}" + (f", not ready: {reason}" if process and reason else ""))
        well = well and process is not None and not reason
    for name, reason in stack.foreign():
        report(f"{name:<12}{reason}")
    return well


def run(command: Sequence[str], *, report: Report) -> int:
    """Run a command with a stack of its own that is gone afterwards; return the command's exit code."""
    with tempfile.TemporaryDirectory(prefix="goodstrace-") as folder:
        stack = Stack.on_free_ports(Path(folder), report)
        try:
            stack.start()
            return subprocess.run(command, env={**os.environ, **stack.environment}, check=False).returncode
        finally:
            stack.stop()


@contextlib.contextmanager
def _alone(run_dir: Path, report: Report) -> Iterator[None]:
    """Let one `up` or `down` at a time work on a run folder."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "stack.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waiting for another `up` or `down` on {run_dir}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _without_password(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _say(line: str) -> None:
    print(line, flush=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.stack", description="The local stack.")
    commands = parser.add_subparsers(dest="action", required=True)
    names = ", ".join(service.name for service in SERVICES)
    start = commands.add_parser("up", help=f"start Kafka, the store and the services ({names})")
    start.add_argument("--stores-only", action="store_true", help="start Kafka and the store only")
    commands.add_parser("down", help="stop everything, the services first")
    commands.add_parser("status", help="say what runs; exit 0 only if all of it does")
    throwaway = commands.add_parser(
        "run", help="run a command with Kafka and a store of its own, then drop them"
    )
    throwaway.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args(argv)
    if arguments.action == "run":
        arguments.command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
        if not arguments.command:
            throwaway.error("name a command to run")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0 only on success."""
    arguments = _arguments(argv)
    try:
        if arguments.action == "run":
            return run(arguments.command, report=_say)
        stack = Stack.from_environment(_say)
        if arguments.action == "up":
            up(stack, stores_only=arguments.stores_only, report=_say)
        elif arguments.action == "down":
            down(stack, report=_say)
        elif not status(stack, report=_say):
            return 1
    except StackError as error:
        print(f"deploy.stack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("deploy.stack: interrupted; what was started stays up until `make down`", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
